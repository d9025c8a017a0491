use super::*;
use serde_json::json;

const PIPELINE: &str = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline";

fn code(text: &str) -> (String, i32) {
    let refused = parse_request(text, 128).unwrap_err();
    (refused.id.to_owned(), refused.failure.code)
}

#[test]
fn finds_what_routing_needs_in_a_library_s_message() {
    let text = format!(
        concat!(
            r#"{{"jsonrpc":"2.0","method":"invoke","params":{{"object":"{0}/x","operation":"#,
            r#""addIceCandidate","operationParams":{{"object":"decoy","sessionId":"decoy"}},"#,
            r#""sessionId":"s"}},"id":5}}"#
        ),
        PIPELINE
    );
    let request = parse_request(&text, 128).unwrap();
    assert_eq!((request.id, request.method), ("5", Method::Invoke));
    assert_eq!(request.params.object_text().unwrap(), format!("{PIPELINE}/x"));
    assert_eq!(request.params.session_id, Some("\"s\""));
    let opening = request.params.opening.unwrap();
    assert!(text[opening.at..].starts_with("\"object\"") && !opening.is_empty);
}

#[test]
fn ids_keep_their_kind() {
    for id in ["1", "\"a\\u00e9\"", "-1", "1.5", "true", "9007199254740993"] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert_eq!(parse_request(&text, 128).unwrap().id, id);
    }
}

#[test]
fn what_is_no_request_is_refused_as_kurento_refuses_it() {
    for text in [
        "[]",
        "5",
        "\"x\"",
        "null",
        r#"{"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"release","params":{"object":"a","\u006fbject":"b"}}"#,
    ] {
        assert_eq!(code(text), ("null".into(), -32600), "{text}");
    }
    for text in ["", "{", "{} x", r#"{"a":tru}"#] {
        assert_eq!(code(text), ("null".into(), -32700), "{text}");
    }
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(code(&deep), ("null".into(), -32600));
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(300));
    assert_eq!(code(&long), ("null".into(), -32600));
}

#[test]
fn missing_or_odd_params_echo_the_id() {
    let of = |method: &str, params: &str| {
        code(&format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}"{params}}}"#))
    };
    assert_eq!(of("nope", ""), ("7".into(), -32601));
    assert_eq!(of("create", ""), ("7".into(), -32602));
    assert_eq!(of("create", r#","params":null"#), ("7".into(), -32602));
    assert_eq!(of("create", r#","params":[1]"#), ("7".into(), -32602));
    assert_eq!(of("ping", r#","params":"x""#), ("7".into(), -32602));
    let text = r#"{"jsonrpc":"2.0","id":7,"method":"connect","params":null}"#;
    assert_eq!(parse_request(text, 128).unwrap().method, Method::Connect);
}

fn create(params: &serde_json::Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "create", "params": params}).to_string()
}

#[test]
fn a_created_pipeline_may_name_its_meeting() {
    let text = create(&json!({
        "type": "MediaPipeline",
        "properties": {"meeting": " standup ", "participants": 12, "colour": [1]}
    }));
    let params = parse_request(&text, 128).unwrap().params;
    assert!(params.creates_pipeline());
    let hints = params.hints(false).unwrap();
    assert_eq!(hints.meeting.unwrap().as_str(), "standup");
    assert_eq!(hints.participants, Some(12));
}

#[test]
fn a_hint_that_cannot_be_taken_is_an_error_of_the_client() {
    for properties in [
        json!({"meeting": ""}),
        json!({"meeting": 5}),
        json!({"meeting": "x".repeat(300)}),
        json!({"participants": 0}),
        json!({"participants": "many"}),
        json!({"participants": 1.5}),
    ] {
        let text = create(&json!({"type": "MediaPipeline", "properties": properties}));
        assert_eq!(
            parse_request(&text, 128).unwrap().params.hints(false).unwrap_err().code,
            -32000
        );
    }
    let text = create(&json!({"type": "MediaPipeline", "properties": null}));
    assert_eq!(parse_request(&text, 128).unwrap().params.hints(false), Ok(Hints::default()));
}

#[test]
fn an_element_is_created_where_its_pipeline_or_hub_lives() {
    let hub = format!("{PIPELINE}/42f11eab-5c0d-42c7-88c1-2dad584b2ae1_kurento.Composite");
    let text = create(&json!({"type": "HubPort", "constructorParams": {"a": 1, "hub": hub}}));
    let params = parse_request(&text, 128).unwrap().params;
    assert!(!params.creates_pipeline());
    let (pipeline, object) = params.constructor_object().unwrap();
    assert_eq!((pipeline.to_string().as_str(), object.as_ref()), (PIPELINE, hub.as_str()));
    let text = create(&json!({"type": "HubPort", "constructorParams": ["x"]}));
    assert_eq!(parse_request(&text, 128).unwrap().params.constructor_object(), None);
}

#[test]
fn escaped_slashes_in_an_object_id_are_undone() {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"describe","params":{{"object":"{PIPELINE}\/x"}}}}"#
    );
    let request = parse_request(&text, 128).unwrap();
    assert_eq!(request.params.object_text().unwrap(), format!("{PIPELINE}/x"));
}

#[test]
fn an_object_is_named_as_kurento_would_name_it() {
    let object = |raw| Params { object: Some(raw), ..Params::default() };
    for (raw, text) in [(r#""a\/b""#, "a/b"), ("5", "5"), ("true", "true"), ("null", "")] {
        assert_eq!(object(raw).object_text().as_deref(), Some(text), "{raw}");
    }
    for raw in ["{}", r#"["a"]"#] {
        assert_eq!(object(raw).object_text(), None, "{raw}");
    }
}
