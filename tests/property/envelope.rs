//! The edge reads JSON as `serde_json` does, or refuses it by a declared rule.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::bodies::envelope::run;
use super::mutation::{Bytes, mutated};
use super::{cases, corpus};

/// What mutations put in.
const DICTIONARY: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\n",
    "\0",
    "é",
    "\\u0069",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\/",
    "null",
    "true",
    "0",
    "-1",
    "1e309",
    "01",
    "\"id\":1,",
    "\"id\":\"é\",",
    "\"method\":\"create\",",
    "\"params\":{},",
    "\"params\":null,",
    "\"object\":\"x\",",
    "\"sessionId\":\"s\",",
    "\"value\":[],",
    "\"result\":{},",
    "[[[[[[[[[[[[[[[[[[",
];

const PIPELINE: &str = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline";

/// Any JSON value, a few levels deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from(PIPELINE)),
        Just(Value::from(format!("{PIPELINE}/x"))),
        Just(Value::from("manager_ServerManager")),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(key(), inner, 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Keys that are read.
const KEYS: &[&str] = &[
    "jsonrpc",
    "id",
    "method",
    "params",
    "sessionId",
    "object",
    "type",
    "operation",
    "constructorParams",
    "properties",
    "operations",
    "release",
    "meeting",
    "participants",
    "clientAddress",
    "latitude",
    "longitude",
    "result",
    "value",
];

/// A key: one that is read, or any.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(KEYS).prop_map(str::to_owned), any::<String>()]
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &["create", "invoke", "describe", "release", "closeSession", "ping", "nosuch"][..],
    )
}

/// Parameters whose members are of the right kind more often than not.
fn params() -> impl Strategy<Value = Value> {
    let object = prop_oneof![
        Just(json!(PIPELINE)),
        Just(json!(format!("{PIPELINE}/x"))),
        Just(json!("manager_ServerManager")),
        value(),
    ];
    let kind = prop_oneof![Just(json!("MediaPipeline")), Just(json!("PassThrough")), value()];
    let properties = prop_oneof![
        ("[ a-z\0]{0,4}", 0..3u32)
            .prop_map(|(meeting, count)| json!({"meeting": meeting, "participants": count})),
        ("[0-9.:]{0,9}", -91.0..91.0, value()).prop_map(|(addr, latitude, longitude)| json!({
            "clientAddress": addr, "latitude": latitude, "longitude": longitude})),
        value(),
    ];
    (object, kind, properties, value(), btree_map(key(), value(), 0..3)).prop_map(
        |(object, kind, properties, constructor, others)| {
            let mut params = json!({"object": object, "type": kind, "properties": properties,
                "constructorParams": {"mediaPipeline": constructor, "hub": object}});
            params.as_object_mut().unwrap().extend(others);
            params
        },
    )
}

fn transaction() -> impl Strategy<Value = Value> {
    let operation = prop_oneof![
        6 => (method(), params())
            .prop_map(|(method, params)| json!({"method": method, "params": params})),
        1 => value(),
    ];
    vec(operation, 0..5).prop_map(|operations| json!({"operations": operations}))
}

fn request() -> impl Strategy<Value = Value> {
    let id = prop_oneof![any::<u32>().prop_map(Value::from), value()];
    let asked = prop_oneof![
        (method(), params()),
        (Just("transaction"), transaction()),
        (method(), value()),
    ];
    (id, asked).prop_map(|(id, (method, params))| {
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    })
}

fn reply() -> impl Strategy<Value = Value> {
    let inner = (0..4u32, value())
        .prop_map(|(id, value)| json!({"id": id, "jsonrpc": "2.0", "result": {"value": value}}));
    let given = prop_oneof![value(), vec(inner, 0..4).prop_map(Value::from)];
    (any::<u32>(), given, any::<bool>()).prop_map(|(id, value, is_success)| {
        let member = if is_success { "result" } else { "error" };
        json!({"id": id, "jsonrpc": "2.0", member: {"sessionId": "s", "value": value}})
    })
}

/// A request or an answer as text: compact as Kurento writes it, or with spaces.
fn message() -> impl Strategy<Value = Bytes> {
    (prop_oneof![request(), reply(), value()], any::<bool>()).prop_map(|(message, is_compact)| {
        let text = if is_compact {
            serde_json::to_string(&message)
        } else {
            serde_json::to_string_pretty(&message)
        };
        Bytes(text.unwrap().into_bytes())
    })
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn whole_messages_are_read_as_serde_json_reads_them(text in message()) {
        run(&text.0);
    }

    #[test]
    fn broken_messages_are_read_as_serde_json_reads_them(
        text in message().prop_flat_map(|text| mutated(vec![text], DICTIONARY)),
    ) {
        run(&text.0);
    }

    #[test]
    fn recorded_messages_are_read_as_serde_json_reads_them_however_they_are_broken(
        text in mutated(corpus::inputs("envelope"), DICTIONARY),
    ) {
        run(&text.0);
    }
}
