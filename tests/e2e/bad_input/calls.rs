//! Requests whose parameters are odd, or that are too many.

use super::row::{CALL, Client, PIPELINE, Row};
use super::rows;

const ELSEWHERE: &str = "aaaaaaaa-0000-4000-8000-000000000001_kurento.MediaPipeline";

fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{{params}}}}}"#)
}

fn calls(pairs: &[(&str, &str)]) -> Row {
    Row::texts(pairs.iter().map(|(method, params)| call(method, params)))
}

/// One byte longer than the name of a meeting may be.
fn long() -> String {
    "x".repeat(257)
}

/// A call that the double does not answer.
fn unanswered() -> String {
    CALL.replace("manager_ServerManager", PIPELINE)
        .replace("getMetadata", "silence")
        .replace(":7", ":6")
}

rows! {
    a_session_that_is_not_the_connection_s_own => calls(&[
        ("describe", r#""object":"manager_ServerManager","sessionId":"forged-session-42""#),
        ("create", r#""type":"MediaPipeline","sessionId":"forged-session-42""#),
        ("invoke", r#""object":"<pipeline>","operation":"getName","sessionId":"double""#),
        ("connect", r#""sessionId":"forged-session-42""#),
        ("keepAlive", r#""sessionId":"forged-session-42""#),
    ]).error(40007);
    a_session_that_is_no_string_or_empty => calls(&[
        ("describe", r#""object":"manager_ServerManager","sessionId":null"#),
        ("describe", r#""object":"manager_ServerManager","sessionId":"""#),
        ("describe", r#""object":"manager_ServerManager","sessionId":5"#),
        ("describe", r#""object":"manager_ServerManager","sessionId":{}"#),
    ]).error(40007);
    another_s_session_in_ping => calls(&[
        ("ping", r#""sessionId":"forged-session-42""#), ("ping", r#""sessionId":null"#),
    ]).client(Client::PongWithoutSession);
    another_s_session_in_closesession => calls(&[
        ("closeSession", r#""sessionId":"forged-session-42""#),
        ("closeSession", r#""sessionId":"forged-session-42","release":true"#),
    ]).client(Client::Success);
    keepalive_or_closesession_before_there_is_a_session => calls(&[
        ("keepAlive", ""), ("closeSession", ""),
    ]).first().error(-32000);
    no_object => calls(&[("describe", ""), ("invoke", r#""operation":"getName""#), ("release", "")])
        .error(-32000);
    an_object_that_is_an_object_or_array => calls(&[
        ("describe", r#""object":{}"#), ("invoke", r#""object":["<pipeline>"],"operation":"x""#),
        ("release", r#""object":{}"#),
    ]).error(-32000);
    an_object_that_does_not_exist => calls(&[
        ("invoke", r#""object":"nosuch","operation":"getName""#),
        ("describe", r#""object":5"#),
        ("describe", r#""object":null"#),
        ("ref", &format!(r#""object":"{ELSEWHERE}""#)),
        ("invoke", &format!(r#""object":"{ELSEWHERE}/x","operation":"getName""#)),
        ("create", &format!(r#""type":"X","constructorParams":{{"mediaPipeline":"{ELSEWHERE}"}}"#)),
    ]).error(40101);
    release_unref_or_unsubscribe_of_what_does_not_exist => calls(&[
        ("release", r#""object":"nosuch""#),
        ("unref", &format!(r#""object":"{ELSEWHERE}""#)),
        ("unsubscribe", r#""object":"x","subscription":"y""#),
    ]).client(Client::Success);
    newref_outside_a_transaction => calls(&[
        ("describe", r#""object":"newref:0""#),
    ]).error(40101);
    release_of_the_manager => calls(&[("release", r#""object":"manager_ServerManager""#)])
        .error(40003);
    create_without_a_type_or_with_an_unknown_one => calls(&[
        ("create", ""), ("create", r#""type":"NoSuchThing""#), ("create", r#""type":5"#),
        ("create", r#""type":"WebRtcEndpoint","constructorParams":{}"#),
        ("create", r#""type":"WebRtcEndpoint","constructorParams":{"mediaPipeline":"nosuch"}"#),
    ]).passes();
    an_operation_event_or_parameter_that_is_unknown => calls(&[
        ("invoke", r#""object":"<pipeline>""#),
        ("invoke", r#""object":"<pipeline>","operation":"nope","operationParams":[1]"#),
        ("invoke", r#""object":"<pipeline>","operation":5"#),
        ("subscribe", r#""object":"<pipeline>","type":"Nope""#),
    ]).passes();
    a_meeting_or_participants_of_a_wrong_kind => calls(&[
        ("create", r#""type":"MediaPipeline","properties":{"meeting":5}"#),
        ("create", r#""type":"MediaPipeline","properties":{"meeting":""}"#),
        ("create", r#""type":"MediaPipeline","properties":{"meeting":"a\u0000b"}"#),
        ("create", &format!(r#""type":"MediaPipeline","properties":{{"meeting":"{}"}}"#, long())),
        ("create", r#""type":"MediaPipeline","properties":{"participants":0}"#),
        ("create", r#""type":"MediaPipeline","properties":{"participants":1.5}"#),
    ]).error(-32000);
    an_id_used_again => Row::texts([CALL]).behind(&[unanswered().replace(":6", ":7")]).passes();
    a_message_over_held_max_bytes_that_has_to_wait => Row::texts([
        call("create", &format!(r#""type":"MediaPipeline","x":"{}""#, "x".repeat(1_024))),
    ]).first().limits("held_max_bytes = 1024\n").error(40009);
    more_calls_than_calls_max => Row::texts([CALL]).behind(&[unanswered()])
        .limits("calls_max = 1\n").error(40009);
    more_pipelines_than_pipelines_max => calls(&[("create", r#""type":"MediaPipeline""#)])
        .limits("pipelines_max = 1\n").error(40009);
}
