//! Promises to clients, told as what goes in and what comes out.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::model::Finding;
use crate::policy::pacing::Ask;

mod calls;
mod guard;
mod media;
mod pace;
mod place;
mod resume;

const A: &str = "aaaaaaaa-0000-4000-8000-000000000001_kurento.MediaPipeline";
const B: &str = "bbbbbbbb-0000-4000-8000-000000000002_kurento.MediaPipeline";
const C: &str = "cccccccc-0000-4000-8000-000000000003_kurento.MediaPipeline";

/// A session with what it said last.
struct Case {
    session: Session,
    now: Time,
    out: Vec<Output>,
    /// What was said besides of how the backend does.
    tried: Vec<Tried>,
}

fn bounds() -> Bounds {
    Bounds {
        depth_max: 64,
        held_max_bytes: 10_000,
        paced_max_bytes: 10_000,
        calls_max: 8,
        pipelines_max: 100,
        subscriptions_max: 100,
        resend_max_bytes: 2_000,
        call_timeout: Duration::from_secs(60),
    }
}

fn case() -> Case {
    Case::with(bounds())
}

fn backend(id: &str) -> BackendId {
    BackendId::parse(id).unwrap()
}

fn pipeline(object: &str) -> PipelineId {
    PipelineId::parse(object).unwrap()
}

fn request(id: u32, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

fn describe(id: u32, object: &str) -> String {
    request(id, "describe", &json!({"object": object}))
}

fn success(id: u32, value: &Value) -> String {
    json!({"id": id, "jsonrpc": "2.0", "result": {"sessionId": "x", "value": value}}).to_string()
}

impl Case {
    fn with(bounds: Bounds) -> Self {
        let id = SessionId::from_random(7);
        let session = Session::new(id, "edge-1", Hints::default(), bounds);
        Self { session, now: Time::ZERO, out: Vec::new(), tried: Vec::new() }
    }

    fn handle(&mut self, input: Input<'_>) -> &[Output] {
        self.out.clear();
        self.tried.clear();
        self.session.handle(self.now, input, &mut self.out);
        self.out.retain(|output| match output {
            Output::Tried(_, tried) => {
                self.tried.push(*tried);
                false
            }
            _ => true,
        });
        &self.out
    }

    /// Sends `text` and expects one answer without any backend; returns it.
    fn answered(&mut self, text: &str) -> Value {
        match self.handle(Input::FromClient(text)) {
            [Output::Answer(_, text)] => serde_json::from_str(text).unwrap(),
            [Output::Refuse(id, failure)] => serde_json::from_str(&failure.to_text(id)).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The answer among the outputs, as its id and error code, 0 for a success.
    fn told(&self) -> Vec<(Value, i64)> {
        let answers = self.out.iter().filter_map(|output| match output {
            Output::Answer(_, text) => {
                Some((serde_json::from_str::<Value>(text).unwrap()["id"].clone(), 0))
            }
            Output::Refuse(id, failure) => {
                Some((serde_json::from_str(id).unwrap(), i64::from(failure.code)))
            }
            _ => None,
        });
        answers.collect()
    }

    /// Creates pipeline `object` on backend `at` with call `id`; its link is open afterwards.
    fn create(&mut self, id: u32, object: &str, at: &str) -> LinkNo {
        let text = request(id, "create", &json!({"type": "MediaPipeline"}));
        let ticket = match self.handle(Input::FromClient(&text)) {
            [Output::Place(ticket, Wish::Pipeline { .. })] => *ticket,
            other => panic!("{other:?}"),
        };
        let link = match self.handle(Input::Placed(ticket, Ok(backend(at)))) {
            [Output::OpenLink(link, to)] => {
                assert_eq!(to.as_str(), at);
                let link = *link;
                self.handle(Input::LinkOpened(link));
                link
            }
            [Output::ToBackend(link, _)] => *link,
            other => panic!("{other:?}"),
        };
        let made = [Output::Created(ticket, pipeline(object)), Output::RelayToClient];
        assert_eq!(self.handle(Input::FromBackend(link, &success(id, &json!(object)))), made);
        link
    }
}

#[test]
fn a_library_starts_up_without_any_backend() {
    let mut case = case();
    assert_eq!(case.answered(&request(0, "ping", &json!({})))["result"], json!({"value": "pong"}));
    let described = case.answered(&describe(1, "manager_ServerManager"));
    assert_eq!(described["result"]["qualifiedType"], "kurento.ServerManager");
    let session = case.session.id().to_string();
    assert_eq!(described["result"]["sessionId"], session);
    let info = request(2, "invoke", &json!({"object": MANAGER, "operation": "getInfo"}));
    assert_eq!(
        case.handle(Input::FromClient(&info)),
        [Output::Manager("2".into(), ManagerCall::GetInfo)]
    );
    let pong = case.answered(&request(3, "ping", &json!({})));
    assert_eq!(pong["result"], json!({"sessionId": session, "value": "pong"}));
    let alive = case.answered(&request(4, "keepAlive", &json!({"sessionId": session})));
    assert_eq!(alive["result"], json!({"sessionId": session}));
}

const MANAGER: &str = "manager_ServerManager";

#[test]
fn connect_tells_the_session_that_every_backend_will_see() {
    let mut case = case();
    let answer = case.answered(r#"{"jsonrpc":"2.0","id":"c","method":"connect"}"#);
    assert_eq!(answer["result"]["serverId"], "edge-1");
    let link = {
        let text = request(1, "create", &json!({"type": "MediaPipeline"}));
        case.handle(Input::FromClient(&text));
        case.handle(Input::Placed(Ticket(1), Ok(backend("a"))));
        LinkNo(0)
    };
    match case.handle(Input::LinkOpened(link)) {
        [Output::ToBackend(_, text)] => {
            let sent: Value = serde_json::from_str(text).unwrap();
            assert_eq!(sent["params"]["sessionId"], answer["result"]["sessionId"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_session_does_not_exist_here() {
    let mut case = case();
    for method in ["connect", "keepAlive", "create", "invoke", "describe", "transaction"] {
        for other in [json!("forged-session-42"), json!(null), json!(""), json!(5)] {
            let answer = case.answered(&request(1, method, &json!({"sessionId": other})));
            assert_eq!(answer["error"]["code"], 40007, "{method}");
        }
    }
    let closed = case.answered(&request(2, "closeSession", &json!({"sessionId": "nosuch"})));
    assert_eq!(closed["result"], Value::Null);
    let pong = case.answered(&request(3, "ping", &json!({"sessionId": "nosuch"})));
    assert_eq!(pong["result"], json!({"value": "pong"}));
}

#[test]
fn a_message_with_a_place_is_relayed_as_it_came() {
    let mut case = case();
    let link = case.create(1, A, "a");
    let text = describe(2, &format!("{A}/x"));
    assert_eq!(case.handle(Input::FromClient(&text)), [Output::Relay(link)]);
    let event = r#"{"jsonrpc":"2.0","method":"onEvent","params":{}}"#;
    assert_eq!(case.handle(Input::FromBackend(link, event)), [Output::RelayToClient]);
    let answer = success(2, &json!(null));
    assert_eq!(case.handle(Input::FromBackend(link, &answer)), [Output::RelayToClient]);
    assert_eq!(case.handle(Input::FromBackend(link, &answer)), [Output::Stray], "answered twice");
}

#[test]
fn until_a_backend_has_answered_with_the_session_every_message_names_it() {
    let mut case = case();
    case.handle(Input::FromClient(&request(1, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(1), Ok(backend("a"))));
    case.handle(Input::LinkOpened(LinkNo(0)));
    let failed = r#"{"error":{"code":40009},"id":1,"jsonrpc":"2.0"}"#;
    let given_back = [Output::NotCreated(Ticket(1)), Output::RelayToClient];
    assert_eq!(case.handle(Input::FromBackend(LinkNo(0), failed)), given_back);
    case.handle(Input::FromClient(&request(2, "create", &json!({"type": "MediaPipeline"}))));
    let session = case.session.id().to_string();
    match case.handle(Input::Placed(Ticket(2), Ok(backend("a")))) {
        [Output::ToBackend(_, text)] => assert!(text.contains(&session)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_client_spreads_over_backends_and_each_object_finds_its_own() {
    let mut case = case();
    let (a, b) = (case.create(1, A, "a"), case.create(2, B, "b"));
    assert_ne!(a, b);
    assert_eq!(case.handle(Input::FromClient(&describe(3, A))), [Output::Relay(a)]);
    assert_eq!(case.handle(Input::FromClient(&describe(4, B))), [Output::Relay(b)]);
    let element = json!({"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": B}});
    let text = request(5, "create", &element);
    assert_eq!(case.handle(Input::FromClient(&text)), [Output::Relay(b)]);
}

#[test]
fn an_object_of_another_client_is_located_once_and_messages_about_it_keep_their_order() {
    let mut case = case();
    let (first, second) = (describe(1, A), describe(2, A));
    let located = [Output::Locate(pipeline(A))];
    assert_eq!(case.handle(Input::FromClient(&first)), located);
    assert_eq!(case.handle(Input::FromClient(&second)), []);
    let opened = [Output::OpenLink(LinkNo(0), backend("a"))];
    assert_eq!(case.handle(Input::Located(pipeline(A), Finding::Known(backend("a")))), opened);
    let sent = case.handle(Input::LinkOpened(LinkNo(0)));
    let ids: Vec<Value> = sent
        .iter()
        .map(|output| match output {
            Output::ToBackend(_, text) => {
                serde_json::from_str::<Value>(text).unwrap()["id"].clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!(case.session.sizes().held_bytes, 0);
}

#[test]
fn what_nobody_knows_is_gone_as_on_a_restarted_server() {
    let mut case = case();
    for (method, code) in [("describe", 40101), ("invoke", 40101), ("ref", 40101)] {
        let text = request(1, method, &json!({"object": A}));
        case.handle(Input::FromClient(&text));
        case.handle(Input::Located(pipeline(A), Finding::Unknown));
        assert_eq!(case.told(), [(json!(1), code)], "{method}");
    }
    for method in ["release", "unref", "unsubscribe"] {
        let done = case.answered(&request(2, method, &json!({"object": "nosuch"})));
        assert!(done["result"]["sessionId"].is_string(), "{method}");
    }
    let answer = case.answered(&describe(3, "nosuch"));
    assert_eq!(answer["error"]["message"], "Object 'nosuch' not found");
}

#[test]
fn a_released_pipeline_is_gone_for_everybody() {
    let mut case = case();
    let link = case.create(1, A, "a");
    let release = request(2, "release", &json!({"object": A}));
    assert_eq!(case.handle(Input::FromClient(&release)), [Output::Relay(link)]);
    let done = r#"{"id":2,"jsonrpc":"2.0","result":{"sessionId":"x"}}"#;
    assert_eq!(
        case.handle(Input::FromBackend(link, done)),
        [Output::Released(pipeline(A)), Output::RelayToClient]
    );
    assert_eq!(case.session.pipelines().count(), 0);
}

#[test]
fn a_transaction_that_creates_a_pipeline_is_placed_as_one() {
    let mut case = case();
    let text = request(
        1,
        "transaction",
        &json!({"operations": [
            {"id": 0, "jsonrpc": "2.0", "method": "create", "params":
                {"type": "MediaPipeline", "properties": {"meeting": "m", "participants": 3}}},
            {"id": 1, "jsonrpc": "2.0", "method": "create", "params":
                {"type": "PassThrough", "constructorParams": {"mediaPipeline": "newref:0"}}},
        ]}),
    );
    match case.handle(Input::FromClient(&text)) {
        [Output::Place(Ticket(1), Wish::Pipeline { hints, on: None, .. })] => {
            assert_eq!(hints.meeting.as_ref().unwrap().as_str(), "m");
            assert_eq!(hints.participants, Some(3));
        }
        other => panic!("{other:?}"),
    }
    case.handle(Input::Placed(Ticket(1), Ok(backend("a"))));
    case.handle(Input::LinkOpened(LinkNo(0)));
    let inner = json!([{"id": 0, "result": {"value": A}}, {"id": 1, "result": {"value": "e"}}]);
    assert_eq!(
        case.handle(Input::FromBackend(LinkNo(0), &success(1, &inner))),
        [Output::Created(Ticket(1), pipeline(A)), Output::RelayToClient]
    );
}

#[test]
fn a_transaction_cannot_span_backends() {
    let mut case = case();
    case.create(1, A, "a");
    case.create(2, B, "b");
    let operations: Vec<Value> =
        [A, B].map(|o| json!({"method": "describe", "params": {"object": o}})).into();
    let answer = case.answered(&request(3, "transaction", &json!({"operations": operations})));
    assert_eq!(answer["error"]["code"], 40008);
}

#[test]
fn a_transaction_that_touches_and_creates_is_placed_where_it_touches() {
    let mut case = case();
    case.create(1, A, "a");
    let operations = json!([
        {"method": "describe", "params": {"object": A}},
        {"method": "create", "params": {"type": "MediaPipeline"}},
    ]);
    let text = request(2, "transaction", &json!({"operations": operations}));
    match case.handle(Input::FromClient(&text)) {
        [Output::Place(_, Wish::Pipeline { on: Some(on), .. })] => assert_eq!(on.as_str(), "a"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_place_is_an_error_and_the_connection_lives_on() {
    let mut case = case();
    case.handle(Input::FromClient(&request(1, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(1), Err(Failure::not_enough_resources("full"))));
    assert_eq!(case.told(), [(json!(1), 40009)]);
    case.create(2, A, "a");
}

#[test]
fn a_link_that_broke_is_opened_again_for_what_the_session_has_there() {
    let mut case = case();
    let a = case.create(1, A, "a");
    let reopened = [Output::OpenLink(a, backend("a"))];
    assert_eq!(case.handle(Input::LinkFailed(a, LinkFailure::Cut)), reopened);
    let session = case.session.id().to_string();
    match case.handle(Input::LinkOpened(a)) {
        [Output::ToBackend(_, text)] => assert!(text.contains(&session)),
        other => panic!("{other:?}"),
    }
    case.handle(Input::FromClient(&describe(2, A)));
    let own = r#"{"id":"pinfold-tie-2","jsonrpc":"2.0","result":{"sessionId":"x"}}"#;
    assert_eq!(case.handle(Input::FromBackend(a, own)), [], "the client did not ask");
    let answer = success(2, &json!(null));
    assert_eq!(case.handle(Input::FromBackend(a, &answer)), [Output::RelayToClient]);
    assert_eq!(case.session.sizes().held_bytes, 0);
    case.handle(Input::FromClient(&request(3, "release", &json!({"object": A}))));
    case.handle(Input::FromBackend(a, &success(3, &json!(null))));
    assert_eq!(case.handle(Input::LinkFailed(a, LinkFailure::Cut)), [], "nothing is there");
}

#[test]
fn the_objects_of_a_lost_backend_are_gone_and_new_pipelines_work_at_once() {
    let mut case = case();
    let a = case.create(1, A, "a");
    case.handle(Input::FromClient(&describe(2, A)));
    case.handle(Input::FromClient(&request(3, "release", &json!({"object": A}))));
    case.handle(Input::LinkFailed(a, LinkFailure::Lost));
    assert!(case.out.contains(&Output::Unheld(pipeline(A))));
    assert_eq!(case.told(), [(json!(2), 40101), (json!(3), 0)]);
    case.handle(Input::FromClient(&describe(4, A)));
    case.handle(Input::Located(pipeline(A), Finding::Unknown));
    assert_eq!(case.told(), [(json!(4), 40101)]);
    case.create(5, B, "b");
}

#[test]
fn a_new_pipeline_tries_the_next_place_when_the_first_cannot_be_reached() {
    let mut case = case();
    case.handle(Input::FromClient(&request(1, "create", &json!({"type": "MediaPipeline"}))));
    for attempt in 1..=3 {
        let ticket = Ticket(attempt);
        case.handle(Input::Placed(ticket, Ok(backend("a"))));
        case.handle(Input::LinkFailed(LinkNo(0), LinkFailure::Lost));
        assert_eq!(case.out[0], Output::NotCreated(ticket));
        if let Some(Output::Place(_, Wish::Pipeline { avoid, .. })) = case.out.get(1) {
            assert_eq!(*avoid, Some(backend("a")));
        }
    }
    assert_eq!(case.told(), [(json!(1), 40009)], "three attempts, then one answer");
    assert_eq!(case.session.sizes().held_bytes, 0);
}

#[test]
fn the_session_is_closed_on_every_backend_before_the_client_hears_of_it() {
    let mut case = case();
    let (a, b) = (case.create(1, A, "a"), case.create(2, B, "b"));
    let text = request(3, "closeSession", &json!({}));
    assert_eq!(case.handle(Input::FromClient(&text)), [Output::Relay(a), Output::Relay(b)]);
    let closed = r#"{"id":3,"jsonrpc":"2.0","result":null}"#;
    assert_eq!(case.handle(Input::FromBackend(a, closed)), [Output::Unheld(pipeline(A))]);
    // What is made anew meanwhile, where the session is closed already, is in use.
    assert_eq!(case.create(4, C, "a"), a);
    assert_eq!(
        case.handle(Input::FromBackend(b, closed)),
        [Output::Unheld(pipeline(B)), Output::Answer(Method::CloseSession, closed.into())]
    );
    assert_eq!(case.session.pipelines().collect::<Vec<_>>(), [pipeline(C)]);
}

#[test]
fn every_bound_answers_the_call_that_would_cross_it() {
    let mut case = Case::with(Bounds { calls_max: 2, held_max_bytes: 150, ..bounds() });
    let link = case.create(1, A, "a");
    for id in 2..4 {
        assert_eq!(case.handle(Input::FromClient(&describe(id, A))), [Output::Relay(link)]);
    }
    assert_eq!(case.answered(&describe(4, A))["error"]["code"], 40009);
    case.handle(Input::FromClient(&describe(5, B)));
    assert_eq!(case.answered(&describe(6, B))["error"]["code"], 40009);
    let mut case = Case::with(Bounds { pipelines_max: 1, ..bounds() });
    case.create(1, A, "a");
    assert_eq!(case.answered(&describe(2, B))["error"]["code"], 40009);
}

#[test]
fn a_bound_holds_for_what_waits_too() {
    let mut case = Case::with(Bounds { calls_max: 2, ..bounds() });
    case.handle(Input::FromClient(&request(1, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(1), Ok(backend("a"))));
    let anywhere = |id| request(id, "create", &json!({"type": "PassThrough"}));
    assert_eq!(case.handle(Input::FromClient(&anywhere(2))), [], "waits for the link");
    assert_eq!(case.answered(&anywhere(3))["error"]["code"], 40009);

    let mut case = Case::with(Bounds { pipelines_max: 2, ..bounds() });
    let creates = vec![json!({"method": "create", "params": {"type": "MediaPipeline"}}); 2];
    let two = |id| request(id, "transaction", &json!({"operations": creates}));
    case.handle(Input::FromClient(&two(1)));
    for ticket in 1..=2 {
        case.handle(Input::Placed(Ticket(ticket), Ok(backend("a"))));
    }
    case.handle(Input::LinkOpened(LinkNo(0)));
    assert_eq!(case.answered(&two(2))["error"]["code"], 40009, "two are being made");
    case.handle(Input::FromBackend(LinkNo(0), r#"{"id":1,"jsonrpc":"2.0","error":{}}"#));
    assert!(matches!(case.handle(Input::FromClient(&two(3))), [Output::Place(..)]));
}

#[test]
fn a_session_is_closed_everywhere_or_nowhere() {
    let text = request(3, "closeSession", &json!({}));
    let room_for_one = describe(1, A).len() * 2 + text.len() + 1;
    let mut case = Case::with(Bounds { held_max_bytes: room_for_one, ..bounds() });
    for (object, at) in [(A, "a"), (B, "b")] {
        case.handle(Input::FromClient(&describe(1, object)));
        case.handle(Input::Located(pipeline(object), Finding::Known(backend(at))));
    }
    case.answered(r#"{"jsonrpc":"2.0","id":2,"method":"connect"}"#);
    assert_eq!(case.answered(&text)["error"]["code"], 40009, "one would fit, both do not");
    let sent = case.handle(Input::LinkOpened(LinkNo(0)));
    assert!(matches!(sent, [Output::ToBackend(..)]), "{sent:?}");
}

#[test]
fn a_pipeline_told_twice_is_in_use_once() {
    let mut case = case();
    let link = case.create(1, A, "a");
    case.handle(Input::FromClient(&request(1, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(2), Ok(backend("a"))));
    let again = success(1, &json!(A));
    let given_back = [Output::NotCreated(Ticket(2)), Output::RelayToClient];
    assert_eq!(case.handle(Input::FromBackend(link, &again)), given_back);
    let located = Input::Located(pipeline(A), Finding::Known(backend("a")));
    assert_eq!(case.handle(located), [Output::Unheld(pipeline(A))]);
    assert_eq!(case.session.pipelines().count(), 1);
}

#[test]
fn bad_input_is_answered_and_goes_nowhere() {
    let mut case = case();
    for (text, code) in [("{", -32700), ("[]", -32600), ("{}", -32600), ("5", -32600)] {
        assert_eq!(case.answered(text)["error"]["code"], code, "{text}");
    }
    assert_eq!(case.answered(&request(1, "release", &json!({"object": MANAGER})))["id"], 1);
    case.handle(Input::TooLong);
    assert_eq!(case.told(), [(Value::Null, -32600)]);
}

#[test]
fn a_session_that_ends_gives_everything_back() {
    let mut case = case();
    case.create(1, A, "a");
    case.handle(Input::FromClient(&request(2, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(2), Ok(backend("a"))));
    case.handle(Input::FromClient(&request(3, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(3), Ok(backend("b"))));
    case.out.clear();
    case.session.end(&mut case.out);
    assert_eq!(
        case.out,
        [Output::NotCreated(Ticket(2)), Output::NotCreated(Ticket(3)), Output::Unheld(pipeline(A))]
    );
    assert_eq!(case.session.sizes().held_bytes, 0);
}
