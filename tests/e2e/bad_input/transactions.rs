//! Transactions that are none, or that hide something.

use super::row::Row;
use super::rows;

fn transaction(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"transaction","params":{{{params}}}}}"#)
}

/// Transactions of one operation each, given as its members behind the id.
fn operations<const N: usize>(operations: [&str; N]) -> Row {
    Row::texts(operations.map(|operation| {
        transaction(&format!(r#""operations":[{{"jsonrpc":"2.0","id":0,{operation}}}]"#))
    }))
}

/// A transaction of `count` operations that are alike but for `#`, their number.
fn many(count: usize, operation: &str) -> String {
    let all: Vec<String> =
        (0..count).map(|number| operation.replace('#', &format!("{number:02}"))).collect();
    transaction(&format!(r#""operations":[{}]"#, all.join(",")))
}

rows! {
    operations_that_are_no_array => Row::texts(["", r#""operations":{}"#, r#""operations":null"#]
        .map(transaction)).passes();
    an_operation_that_is_no_request => Row::texts([
        r#""operations":[5]"#,
        r#""operations":[{}]"#,
        r#""operations":[{"id":"0","method":"ping"}]"#,
        r#""operations":[{"id":0,"method":"describe","params":[]}]"#,
    ].map(transaction)).passes();
    transaction_closesession_or_connect_in_a_transaction => operations([
        r#""method":"transaction","params":{"operations":[]}"#,
        r#""method":"closeSession","params":{}"#,
        r#""method":"connect""#,
        r#""method":"conn\u0065ct""#,
    ]).error(40008);
    release_of_the_manager_in_a_transaction => operations([
        r#""method":"release","params":{"object":"manager_ServerManager"}"#,
    ]).error(40008);
    an_equal_key_twice_in_an_operation => operations([
        r#""method":"ping","method":"ping""#,
        r#""method":"describe","params":{"object":"a"},"params":{"object":"b"}"#,
        r#""method":"describe","params":{"object":"a","object":"b"}"#,
    ]).error(40008);
    another_s_session_in_an_operation => operations([
        r#""method":"describe","params":{"object":"<pipeline>","sessionId":"forged-session-42"}"#,
    ]).passes();
    a_bad_hint_in_an_operation => operations([
        r#""method":"create","params":{"type":"MediaPipeline","properties":{"meeting":5}}"#,
    ]).error(-32000);
    more_than_64_pipelines_created => Row::texts([
        many(65, r#"{"method":"create","params":{"type":"MediaPipeline"}}"#),
    ]).error(40008);
    more_than_1_024_operations => Row::texts([
        many(1_025, "{}"), many(1_025, "5"),
    ]).error(40008);
    more_than_8_getkmd_or_getmetadata => Row::texts([
        many(9, r#"{"method":"invoke","params":
            {"object":"manager_ServerManager","operation":"getKmd"}}"#),
        many(9, r#"{"method":"invoke","params":
            {"object":"manager_ServerManager","operation":"getMetad\u0061ta"}}"#),
    ]).error(40008);
    more_than_64_pipelines_touched => Row::texts([
        many(65, r#"{"method":"ref","params":
            {"object":"aaaaaaaa-0000-4000-8000-0000000000#_kurento.MediaPipeline"}}"#),
    ]).error(40008);
}
