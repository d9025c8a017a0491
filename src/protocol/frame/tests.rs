use super::*;
use proptest::prelude::*;

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

/// A masked frame with any first byte, as a client could send it.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, Opcode::Text, payload, MASK);
    bytes[0] = first;
    bytes
}

fn server() -> Decoder {
    Decoder::new(Role::Server, 1_000)
}

/// Everything `bytes` decode to, with owned payloads, fed `step` bytes at a time.
fn decode(bytes: &[u8], step: usize) -> Result<Vec<String>, FrameError> {
    let mut decoder = server();
    let mut found = Vec::new();
    for chunk in bytes.chunks(step) {
        decoder.buffer(Vec::new).extend_from_slice(chunk);
        while let Some(message) = decoder.next()? {
            found.push(match message {
                Message::Text(text) => format!("text {}", text.len()),
                other => format!("{other:?}"),
            });
        }
    }
    assert!(decoder.take_empty_buffer().is_none_or(|b| b.is_empty()));
    Ok(found)
}

#[test]
fn messages_of_every_length_encoding_survive_any_chunking() {
    let mut bytes = Vec::new();
    for len in [0, 1, 125, 126, 127, 1_000] {
        encode(&mut bytes, Opcode::Text, "x".repeat(len).as_bytes(), MASK);
    }
    encode(&mut bytes, Opcode::Ping, b"hi", MASK);
    encode_close(&mut bytes, Some(4000), "bye", MASK);
    for step in [1, 3, 7, 64, 10_000] {
        assert_eq!(
            decode(&bytes, step).unwrap(),
            [
                "text 0",
                "text 1",
                "text 125",
                "text 126",
                "text 127",
                "text 1000",
                "Ping([104, 105])",
                "Close(Some(4000), \"bye\")"
            ]
        );
    }
}

#[test]
fn fragments_make_one_message_and_control_frames_may_stand_between() {
    let bytes = [raw(0x01, "h€".as_bytes()), raw(0x89, b"p"), raw(0x00, b"l"), raw(0x80, b"o")];
    let mut decoder = server();
    decoder.buffer(Vec::new).extend_from_slice(&bytes.concat());
    assert_eq!(decoder.next(), Ok(Some(Message::Ping(b"p"))));
    assert_eq!(decoder.next(), Ok(Some(Message::Text("h€lo"))));
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.take_empty_buffer().is_some());
}

#[test]
fn too_long_messages_are_thrown_away_and_the_next_one_is_read() {
    let long = raw(0x81, &[b'x'; 1_001]);
    let in_parts = [raw(0x01, &[b'x'; 600]), raw(0x89, b""), raw(0x00, &[b'x'; 600])].concat();
    let bytes = [long, in_parts, raw(0x80, &[b'x'; 5]), raw(0x81, b"next")].concat();
    for step in [1, 100, 10_000] {
        assert_eq!(
            decode(&bytes, step).unwrap(),
            ["TooLong(1001)", "Ping([])", "TooLong(1205)", "text 4"]
        );
    }
}

#[test]
fn a_length_that_is_only_claimed_reserves_nothing() {
    let mut decoder = server();
    let claim = [&[0x82, 0xff][..], &(i64::MAX as u64).to_be_bytes(), &[0; 4]].concat();
    decoder.buffer(Vec::new).extend_from_slice(&claim);
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.take_empty_buffer().unwrap().capacity() < 100);
}

#[test]
fn what_breaks_the_protocol_is_an_error() {
    let mut unmasked = Vec::new();
    encode(&mut unmasked, Opcode::Text, b"x", None);
    for (bytes, code) in [
        (unmasked, 1002),
        (raw(0xc1, b"reserved bit"), 1002),
        (raw(0x83, b"unknown opcode"), 1002),
        (raw(0x80, b"continuation of nothing"), 1002),
        ([raw(0x01, b"a"), raw(0x81, b"b")].concat(), 1002),
        (raw(0x09, b"fragmented ping"), 1002),
        (raw(0x89, &[0; 126]), 1002),
        (raw(0x88, &[3]), 1002),
        (vec![0x81, 0xfe, 0, 125, 0, 0, 0, 0], 1002),
        (vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], 1002),
        (raw(0x88, &1005u16.to_be_bytes()), 1002),
        (raw(0x88, &[0x03, 0xe8, 0xff]), 1007),
        (raw(0x81, &[0xc3, 0x28]), 1007),
        (vec![0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002),
    ] {
        assert_eq!(decode(&bytes, 10_000).unwrap_err().close_code(), code, "{bytes:?}");
    }
}

#[test]
fn a_client_takes_no_masked_frames() {
    let mut decoder = Decoder::new(Role::Client, 10);
    decoder.buffer(Vec::new).extend_from_slice(&raw(0x81, b"x"));
    assert!(decoder.next().is_err());
}

#[test]
fn a_close_reason_is_cut_between_characters() {
    let mut bytes = Vec::new();
    encode_close(&mut bytes, Some(1001), &"é".repeat(100), None);
    assert_eq!(bytes.len(), 2 + 2 + 122);
}

proptest! {
    /// No bytes make the decoder panic, however they are cut.
    #[test]
    fn garbage_never_panics(bytes: Vec<u8>, step in 1usize..20) {
        let _ = decode(&bytes, step);
    }

    /// Masking twice gives the payload back.
    #[test]
    fn masks_undo_themselves(payload: Vec<u8>, mask: [u8; 4]) {
        let mut twice = payload.clone();
        apply_mask(&mut twice, mask);
        apply_mask(&mut twice, mask);
        prop_assert_eq!(twice, payload);
    }
}
