//! Calls that would hurt a media server or reach for what is others'.

use super::row::{Client, PIPELINE, Row};
use super::rows;

/// An element of the connection's own pipeline.
const ELEMENT: &str = "<pipeline>/1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_kurento.WebRtcEndpoint";

/// A hub of it.
const HUB: &str = "<pipeline>/1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d12_kurento.Dispatcher";

/// An element of another client's pipeline.
const THEIRS: &str = "<other>/1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d13_kurento.PassThrough";

const MEETING: &str = "isolation = \"meeting\"\n";

fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{{params}}}}}"#)
}

/// The parameters of an `invoke`.
fn operation(object: &str, name: &str, params: &str) -> String {
    format!(r#""object":"{object}","operation":"{name}","operationParams":{{{params}}}"#)
}

fn invokes<const N: usize>(operations: [(&str, &str, &str); N]) -> Row {
    Row::texts(
        operations.map(|(object, name, params)| call("invoke", &operation(object, name, params))),
    )
}

/// Transactions, each of these operations: method and parameters.
fn transactions<const N: usize>(all: [&[(&str, &str)]; N]) -> Row {
    let of = |(id, (method, params)): (usize, &(&str, &str))| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#)
    };
    Row::texts(all.map(|operations| {
        let operations: Vec<String> = operations.iter().enumerate().map(of).collect();
        call("transaction", &format!(r#""operations":[{}]"#, operations.join(",")))
    }))
}

/// An operation that gives back what a client stored before.
fn stored() -> String {
    operation(ELEMENT, "getTag", r#""key":"k""#)
}

fn connect(object: &str, sink: &str) -> String {
    operation(object, "connect", &format!(r#""sink":"{sink}""#))
}

rows! {
    connect_or_disconnect_with_what_is_no_element => invokes([
        (ELEMENT, "connect", r#""sink":"<pipeline>""#),
        (ELEMENT, "connect", r#""sink":"manager_ServerManager""#),
        (ELEMENT, "connect", &format!(r#""sink":"{HUB}""#)),
        (ELEMENT, "disconnect", r#""sink":"<pipeline>""#),
        (ELEMENT, "connect", r#""sink":"x","other":[{"deep":"<pipeline>"}]"#),
    ]).error(40001);
    the_same_in_escapes_or_beside_a_second_one => invokes([
        (ELEMENT, "conn\\u0065ct", r#""sink":"<pipeline>""#),
        (ELEMENT, "connect", r#""s\u0069nk":"<pipeline>""#),
        (ELEMENT, "connect", r#""sink":"manager\u005fServerManager""#),
        (ELEMENT, "connect", &format!(r#""sink":"<pipeline>","sink":"{ELEMENT}""#)),
    ]).error(40001);
    the_same_in_a_transaction => transactions([
        &[("invoke", &connect(ELEMENT, PIPELINE))],
        &[
            ("create", r#""type":"PassThrough","constructorParams":{"mediaPipeline":"<pipeline>"}"#),
            ("create", r#""type":"MediaPipeline""#),
            ("invoke", &connect("newref:0", "newref: 1")),
        ],
    ]).error(40001);
    an_operation_of_a_hub_with_what_is_no_port => invokes([
        (HUB, "connect", &format!(r#""source":"{ELEMENT}","sink":"{ELEMENT}""#)),
        (HUB, "setSource", r#""source":"<pipeline>""#),
    ]).error(40001);
    a_newref_to_what_is_no_create => transactions([
        &[("invoke", &stored()), ("invoke", &connect(ELEMENT, "newref:0"))],
        &[("invoke", &stored()), ("release", r#""object":"newref:0""#)],
        &[("invoke", &stored()), ("invoke", &operation("newref:0", "getPipelines", ""))],
        &[("invoke", &stored()), ("create", r#""type":"newref:0""#)],
        &[("invoke", &stored()), ("invoke", &operation(ELEMENT, "newref:0", ""))],
    ]).error(40008);
    getusedcpu_in_a_transaction => transactions([
        &[("invoke", &operation("manager_ServerManager", "getUsedCpu", r#""interval":60000"#))],
        &[("invoke", &operation(ELEMENT, "getUsedCpu", r#""interval":60000"#))],
    ]).error(40008);
    more_blocking_calls_than_blocking_calls_max => invokes([(ELEMENT, "stopAndWait", "")])
        .behind(&[call("invoke", &operation(ELEMENT, "stopAndWait", "")).replace(":7", ":6")])
        .limits("blocking_calls_max = 1\n").error(40009);
    more_subscriptions_than_subscriptions_max => transactions([
        &[
            ("subscribe", r#""object":"<pipeline>","type":"Error""#),
            ("subscribe", r#""object":"<pipeline>","type":"Error""#),
        ],
    ]).limits("subscriptions_max = 1\n").error(40009);
    create_of_a_gstreamerfilter => Row::texts([
        call("create", r#""type":"GStreamerFilter","constructorParams":
            {"mediaPipeline":"<pipeline>","command":"filesink location=/tmp/x"}"#),
        call("create", r#""type":"kurento.GStream\u0065rFilter""#),
    ]).error(40111);
    setelementproperty_of_a_gstreamerfilter => invokes([
        ("<pipeline>/1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_kurento.GStreamerFilter",
            "setElementProperty", r#""propertyName":"location","propertyValue":"/tmp/x""#),
    ]).error(40111);
    dumpgstreamerdot => invokes([(PIPELINE, "dumpGstreamerDot", "")]).error(40111);
    what_the_policy_denies => Row::texts([
        call("create", r#""type":"PlayerEndpoint","constructorParams":{"uri":"file:///etc/passwd"}"#),
        call("create", r#""type":"PlayerEndpoint","constructorParams":{"uri":"FILE:/x/../etc"}"#),
        call("create", r#""type":"PlayerEndpoint","constructorParams":{"uri":"newref:0"}"#),
        call("transaction", r#""operations":[{"id":0,"method":"create","params":{
            "type":"PlayerEndpoint","constructorParams":{"uri":"file:///etc/passwd"}}}]"#),
        call("ref", r#""object":"<pipeline>""#),
    ]).listener("policy = [\"deny ref\", \"allow create PlayerEndpoint uri=https://cdn.example/\", \
        \"deny create PlayerEndpoint\"]\n").error(40111);
    an_object_of_another_meeting => Row::texts([
        call("describe", r#""object":"<other>""#),
        call("ref", r#""object":"<other>""#),
        call("invoke", &operation(THEIRS, "getName", "")),
        call("subscribe", r#""object":"<other>","type":"Error""#),
        call("create", r#""type":"PassThrough","constructorParams":{"mediaPipeline":"<other>"}"#),
    ]).listener(MEETING).error(40101);
    release_unref_or_unsubscribe_of_an_object_of_another_meeting => Row::texts([
        call("release", r#""object":"<other>""#),
        call("unref", r#""object":"<other>""#),
        call("unsubscribe", r#""object":"<other>","subscription":"s""#),
    ]).listener(MEETING).client(Client::Success);
    an_object_of_another_meeting_as_parameter => Row::texts([
        call("invoke", &connect(ELEMENT, THEIRS)),
        call("invoke", &operation(ELEMENT, "anything", r#""deep":[{"object":"<oth\u0065r>"}]"#)),
        call("create", r#""type":"X","constructorParams":{"mediaPipeline":"<pipeline>","a":"<other>"}"#),
    ]).listener(MEETING).error(40101);
    an_object_of_another_meeting_in_a_transaction => transactions([
        &[("describe", r#""object":"<pipeline>""#), ("release", r#""object":"<other>""#)],
        &[("invoke", &connect(ELEMENT, THEIRS))],
    ]).listener(MEETING).error(40101);
    name_or_tags_of_the_manager_changed_where_meetings_are_apart => invokes([
        ("manager_ServerManager", "setName", r#""name":"x""#),
        ("manager_ServerManager", "addTag", r#""key":"k","value":"v""#),
        ("manager_ServerManager", "removeTag", r#""key":"k""#),
        ("manager_ServerManager", "setSendTagsInEvents", r#""sendTagsInEvents":true"#),
    ]).listener(MEETING).error(40111);
    the_session_of_another_client => Row::texts([
        call("connect", r#""sessionId":"<session>""#),
        call("describe", r#""object":"<other>","sessionId":"<session>""#),
        call("release", r#""object":"<other>","sessionId":"<session>""#),
        call("create", r#""type":"MediaPipeline","sessionId":"<session>""#),
        call("transaction", r#""operations":[],"sessionId":"<session>""#),
    ]).error(40007);
}
