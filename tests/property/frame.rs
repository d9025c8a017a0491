//! The edge reads WebSocket frames as tungstenite does.

use pinfold::protocol::frame::{Opcode, encode};
use proptest::collection::vec;
use proptest::prelude::*;

use super::bodies::frame::run;
use super::cases;
use super::mutation::{Bytes, mutated};

/// What mutations put in: heads of frames, and payloads that matter.
const DICTIONARY: &[&str] = &["\u{1}\u{0}", "\0\0", "é", "\u{2}\u{7e}", "\u{8}\u{2}", "x"];

fn opcode() -> impl Strategy<Value = Opcode> {
    prop::sample::select(
        &[
            Opcode::Text,
            Opcode::Binary,
            Opcode::Continuation,
            Opcode::Ping,
            Opcode::Pong,
            Opcode::Close,
        ][..],
    )
}

/// One frame, final or not, with a payload that suits it more often than not.
fn frame() -> impl Strategy<Value = (Opcode, bool, Vec<u8>)> {
    let payload = prop_oneof![
        4 => ".{0,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..140),
        1 => (prop::sample::select(&[999u16, 1000, 1001, 1004, 1005, 1014, 2999, 3000, 4999, 5000][..]), ".{0,3}")
            .prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
    ];
    (opcode(), prop::bool::weighted(0.7), payload)
}

/// A stream of whole frames, with the byte that says who reads and how it is cut.
fn stream() -> impl Strategy<Value = Bytes> {
    (any::<u8>(), vec(frame(), 0..8)).prop_map(|(first, frames)| {
        let mask = (first & 1 == 0).then_some([7, 0, 255, 9]);
        let mut bytes = vec![first];
        for (opcode, is_final, payload) in frames {
            let head = bytes.len();
            encode(&mut bytes, opcode, &payload, mask);
            bytes[head] &= if is_final { 0xff } else { 0x7f };
        }
        Bytes(bytes)
    })
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn frames_in_any_order_are_read_as_tungstenite_reads_them(stream in stream()) {
        run(&stream.0);
    }

    #[test]
    fn broken_streams_are_read_as_tungstenite_reads_them(
        stream in stream().prop_flat_map(|stream| mutated(vec![stream], DICTIONARY)),
    ) {
        run(&stream.0);
    }
}
