//! Behind the handshake, below the messages.

use super::row::{CALL, Client, Row, frame, unmasked};
use super::rows;

/// A close frame of this code and reason.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

/// [`CALL`] in two fragments of this opcode, with `between` in between.
fn fragments(opcode: u8, between: &[u8]) -> Vec<u8> {
    let (head, tail) = CALL.as_bytes().split_at(20);
    [&frame(opcode, head), between, &frame(0x80, tail)].concat()
}

rows! {
    a_message_in_fragments => Row::bytes([fragments(0x01, b""), fragments(0x01, &frame(0x00, b""))])
        .passes();
    a_binary_message => Row::bytes([frame(0x82, CALL.as_bytes()), fragments(0x02, b"")]).passes();
    a_binary_message_that_is_not_utf_8 => Row::bytes([frame(0x82, b"{\xff}")])
        .error_without_id(-32700);
    a_text_message_that_is_not_utf_8 => Row::bytes([
        frame(0x81, b"{\xff\xfe}"),
        frame(0x81, b"\"\xed\xa0\x80\""),
        [frame(0x01, b"\"\xc3"), frame(0x80, b"\"")].concat(),
    ]).closes(1007);
    a_message_over_message_max_bytes => Row::bytes([
        frame(0x81, &[b' '; 8_193]),
        frame(0x82, &[b' '; 70_000]),
        [frame(0x01, &[b' '; 8_100]), frame(0x00, &[b' '; 93]), frame(0x80, b"")].concat(),
    ]).error_without_id(-32600);
    a_frame_without_a_mask => Row::bytes([unmasked(0x81, CALL.as_bytes())]).closes(1002);
    an_unknown_opcode => Row::bytes([3, 7, 11, 15].map(|opcode| frame(0x80 | opcode, b"x")))
        .closes(1002);
    a_reserved_bit => Row::bytes([0xc1, 0xa1, 0x91, 0xc9].map(|first| frame(first, b"x")))
        .closes(1002);
    a_fragment_of_no_message => Row::bytes([frame(0x80, b"x"), frame(0x00, b"x")]).closes(1002);
    a_message_within_a_message => Row::bytes([
        [frame(0x01, b"{"), frame(0x81, CALL.as_bytes())].concat(),
        [frame(0x01, b"{"), frame(0x02, b"}")].concat(),
    ]).closes(1002);
    a_control_frame_in_fragments => Row::bytes([frame(0x09, b"x"), frame(0x08, b"")]).closes(1002);
    a_control_frame_over_125_bytes => Row::bytes([
        frame(0x89, &[b'x'; 126]),
        frame(0x8a, &[b'x'; 126]),
        close(1000, &[b'x'; 124]),
    ]).closes(1002);
    a_length_over_2_63 => Row::bytes([vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]])
        .closes(1002);
    a_length_in_more_bytes_than_needed => Row::bytes([
        vec![0x81, 0xfe, 0, 2, 0, 0, 0, 0, b'{', b'}'],
        vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, b'{', b'}'],
        vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
    ]).closes(1002);
    a_ping => Row::bytes([frame(0x89, b""), frame(0x89, &[b'x'; 125])]).client(Client::PongFrame);
    a_ping_between_fragments => Row::bytes([fragments(0x01, &frame(0x89, b"x"))])
        .client(Client::PongFrameAndAnswer).backend(super::row::Backend::Same);
    a_pong_that_nobody_asked_for => Row::bytes([frame(0x8a, b"xyz")]);
    a_close => Row::bytes([close(4321, b"bye")]).closes(4321);
    a_close_without_code => Row::bytes([frame(0x88, b"")]).closes(None);
    a_close_with_half_a_code => Row::bytes([frame(0x88, &[3])]).closes(1002);
    a_close_with_a_code_that_may_not_be_sent => Row::bytes(
        [0, 999, 1004, 1005, 1006, 1015, 2999, 5000].map(|code| close(code, b""))
    ).closes(1002);
    a_close_whose_reason_is_not_utf_8 => Row::bytes([close(1000, b"\xff")]).closes(1007);
    a_message_behind_a_close => Row::bytes([
        [close(1000, b""), frame(0x81, CALL.as_bytes())].concat(),
    ]).closes(1000);
    an_end_within_a_frame => Row::bytes([vec![0x81], frame(0x81, CALL.as_bytes())[..40].to_vec()])
        .last().client(Client::Disconnected).backend(super::row::Backend::Close(None));
    an_end_without_a_close => Row::bytes([vec![]])
        .last().client(Client::Disconnected).backend(super::row::Backend::Close(None));
}
