//! Messages that are no JSON, no request, or an odd one.

use super::row::{CALL, Client, Row};
use super::rows;

/// A request with these members besides `jsonrpc`.
fn members(members: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0",{members}}}"#)
}

/// [`CALL`] with this id, raw.
fn with_id(id: &str) -> String {
    CALL.replace(r#""id":7"#, &format!(r#""id":{id}"#))
}

fn nested(depth: usize) -> String {
    let inside = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    members(&format!(r#""id":7,"method":"ping","params":{{"x":{inside}}}"#))
}

rows! {
    malformed_json => Row::texts([
        r#"{"jsonrpc":"2.0","id":7,"method":"ping""#,
        "{oops",
        "{'id':7}",
        r#"{"id":7,}"#,
        r#"{"id":07}"#,
        r#"{"id":+7}"#,
        r#"{"id":NaN}"#,
        r#"{"id":"a	b"}"#,
        r#"{"id":"\x"}"#,
        "\u{feff}{}",
        "undefined",
        "]",
    ]).error_without_id(-32700);
    an_empty_message => Row::texts(["", " ", "\r\n"]).error_without_id(-32700);
    a_number_that_overflows => Row::texts([with_id("1e400"), members(r#""x":-1e999"#)])
        .error_without_id(-32700);
    half_a_surrogate_pair => Row::texts([r#"{"x":"\ud800"}"#, r#"{"x":"\udc00\ud800"}"#])
        .error_without_id(-32700);
    nesting_over_depth_max => Row::texts([
        nested(15), nested(1_500), "[".repeat(2_000) + &"]".repeat(2_000),
    ]).error_without_id(-32600);
    text_behind_the_object => Row::texts([
        format!("{CALL} x"), format!("{CALL}{CALL}"), format!("{CALL},"),
    ]).error_without_id(-32700);
    comments => Row::texts([
        CALL.replace(r#""id""#, r#"/* c */"id""#),
        format!("// c\n{CALL}"),
    ]).error_without_id(-32700);
    an_equal_key_twice => Row::texts([
        with_id(r#"7,"id":8"#),
        with_id(r#"7,"\u0069d":8"#),
        members(r#""id":7,"method":"ping","method":"ping""#),
        members(r#""id":7,"method":"ping","params":{},"params":{}"#),
        members(r#""id":7,"method":"ping","params":null,"params":{}"#),
        CALL.replace(r#""operation""#, r#""object":"x","operation""#),
    ]).error_without_id(-32600);
    other_members_unknown_or_twice => Row::texts([
        CALL.replace(r#""id":7"#, r#""id":7,"foo":1,"foo":[{}]"#),
        CALL.replace(r#""operation""#, r#""foo":1,"foo":null,"operation""#),
    ]).passes();
    a_value_that_is_no_object => Row::texts(["5", "\"hello\"", "null", "true"])
        .error_without_id(-32600);
    a_batch => Row::texts(["[]".to_owned(), format!("[{CALL}]"), format!("[{CALL},{CALL}]")])
        .error_without_id(-32600);
    no_jsonrpc_or_another => Row::texts([
        r#"{"id":7,"method":"ping"}"#,
        r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#,
        r#"{"jsonrpc":2.0,"id":7,"method":"ping"}"#,
    ]).error_without_id(-32600);
    no_method_or_no_string => Row::texts([
        members(r#""id":7"#), members(r#""id":7,"method":5"#), members(r#""id":7,"method":null"#),
    ]).error_without_id(-32600);
    an_unknown_method => Row::texts([
        members(r#""id":7,"method":"frobnicate","params":{}"#),
        members(r#""id":7,"method":"""#),
        members(r#""id":7,"method":"Ping""#),
        members(r#""id":7,"method":"onEvent","params":{}"#),
    ]).error(-32601);
    no_id_or_null => Row::texts([
        members(r#""method":"ping""#),
        with_id("null"),
        members(r#""method":"closeSession","params":{}"#),
        members(r#""method":"frobnicate""#),
    ]).error_without_id(-32600);
    an_id_that_is_an_object_or_array => Row::texts([with_id(r#"{"a":1}"#), with_id("[1]")])
        .error_without_id(-32600);
    an_id_over_256_bytes => Row::texts([with_id(&format!("\"{}\"", "x".repeat(255)))])
        .error_without_id(-32600);
    an_id_of_another_kind => Row::texts([
        "\"abc\"", "1.5", "-7", "true", "9007199254740993", "18446744073709551616", "\"\\u00e9\"",
    ].map(with_id)).passes();
    params_that_are_no_object => Row::texts([
        members(r#""id":7,"method":"describe","params":["x"]"#),
        members(r#""id":7,"method":"describe","params":"x""#),
        members(r#""id":7,"method":"ping","params":5"#),
    ]).error(-32602);
    params_missing_or_null => Row::texts([
        members(r#""id":7,"method":"describe""#),
        members(r#""id":7,"method":"create","params":null"#),
    ]).error(-32602);
    params_missing_or_null_for_ping_and_connect => Row::texts([
        members(r#""id":7,"method":"ping""#),
        members(r#""id":7,"method":"ping","params":null"#),
        members(r#""id":7,"method":"connect""#),
    ]).client(Client::Success);
}
