//! What a backend sends while a call of the client waits. One that breaks WebSocket has its link
//! cut; text that is no answer harms nobody.

use super::row::{AN_ANSWER, Backend, Client, Row, frame, unmasked};
use super::rows;

fn text(text: &str) -> Vec<u8> {
    unmasked(0x81, text.as_bytes())
}

/// The link does not survive, and the call is sent again over another.
fn breaks(row: Row) -> Row {
    row.client(Client::BackendAnswer).backend(Backend::NewLink)
}

rows! {
    a_backend_s_frame_with_a_mask => breaks(Row::from_backend([frame(0x81, b"{}")]));
    a_backend_s_unknown_opcode_or_reserved_bit => breaks(Row::from_backend([
        unmasked(0x83, b"x"), unmasked(0xc1, b"x"),
    ]));
    a_backend_s_fragments_out_of_order => breaks(Row::from_backend([
        unmasked(0x80, b"x"), [unmasked(0x01, b"x"), text("x")].concat(),
    ]));
    a_backend_s_text_that_is_not_utf_8 => breaks(Row::from_backend([unmasked(0x81, b"\xff")]));
    a_backend_s_binary_message => breaks(Row::from_backend([unmasked(0x82, b"{}")]));
    a_backend_s_message_over_backend_message_max_bytes => Row::from_backend([
        unmasked(0x81, &[b' '; 65_537]),
    ]).error(40003).backend(Backend::NewLink);
    a_backend_s_close => breaks(Row::from_backend([
        unmasked(0x88, b""), unmasked(0x88, &1001_u16.to_be_bytes()),
    ]));
    a_backend_that_hangs_up => Row::backend_gone().error(40003).backend(Backend::NewLink);
    a_backend_s_ping => Row::from_backend([unmasked(0x89, b"xyz")]).backend(Backend::PongFrame);
    a_backend_s_pong => Row::from_backend([unmasked(0x8a, b"xyz")]);
    a_backend_s_empty_message => Row::from_backend([text("")]);
    a_backend_s_text_that_is_no_json => Row::from_backend([text("garbage"), text("[")]);
    an_answer_to_no_call => Row::from_backend([
        text(r#"{"id":99,"jsonrpc":"2.0","result":{"value":"x"}}"#),
        text(r#"{"error":{"code":-32600,"message":"x"},"id":null,"jsonrpc":"2.0"}"#),
        text(r#"{"id":{},"jsonrpc":"2.0","result":null}"#),
    ]);
    an_answer_that_breaks_off => Row::from_backend([text(AN_ANSWER)]).client(Client::AsSaid);
    an_answer_given_twice => Row::from_backend([
        text(r#"{"id":1,"jsonrpc":"2.0","result":null}"#).repeat(2),
    ]).client(Client::AsSaid);
    an_event_of_an_unknown_object => Row::from_backend([
        text(r#"{"jsonrpc":"2.0","method":"onEvent","params":{"value":{"object":"nosuch"}}}"#),
        text(r#"{"method":"onEvent","params":7,"jsonrpc":"2.0"}"#),
    ]).client(Client::Event);
}
