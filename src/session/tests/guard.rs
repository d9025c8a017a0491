//! What the guard and the isolation of a listener mean for a session.

use crate::model::{Finding, MeetingId, MeetingName};
use crate::policy::access::{Access, Isolation};

use super::*;

const PORT: &str = "1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_kurento.PassThrough";

fn meeting(name: &str) -> MeetingName {
    MeetingName::parse(name).unwrap()
}

/// A session that belongs to the meeting `url` by its URL.
fn under(isolation: Isolation) -> Case {
    let url = Hints { meeting: Some(meeting("url")), ..Hints::default() };
    let session = Session::new(SessionId::from_random(7), "edge-1", url, bounds());
    let rules = Rules { isolation, ..Rules::default() };
    Case { session: session.under(Arc::new(rules)), ..case() }
}

fn invoke(id: u32, object: &str, operation: &str, params: &Value) -> String {
    let params = json!({"object": object, "operation": operation, "operationParams": params});
    request(id, "invoke", &params)
}

fn operation(method: &str, params: &Value) -> Value {
    json!({"method": method, "params": params})
}

fn transaction(id: u32, operations: &[Value]) -> String {
    request(id, "transaction", &json!({"operations": operations}))
}

#[test]
fn what_would_hurt_a_backend_is_answered_and_goes_nowhere() {
    let mut case = case();
    case.create(1, A, "a");
    let kill = invoke(2, &format!("{A}/{PORT}"), "connect", &json!({"sink": A}));
    assert_eq!(case.answered(&kill)["error"]["code"], 40001);
    let kill = transaction(
        3,
        &[
            operation("create", &json!({"type": "PassThrough"})),
            operation("create", &json!({"type": "MediaPipeline"})),
            operation(
                "invoke",
                &json!({"object": "newref:0", "operation": "connect",
                    "operationParams": {"sink": "newref:1"}}),
            ),
        ],
    );
    assert_eq!(case.answered(&kill)["error"]["code"], 40001);
    let filter = json!({"type": "GStreamerFilter", "constructorParams": {"mediaPipeline": A}});
    assert_eq!(case.answered(&request(4, "create", &filter))["error"]["code"], 40111);
}

#[test]
fn a_session_may_touch_what_its_listener_says() {
    let allows = |case: &Case, name: &str| {
        case.session.access().allows(pipeline(B), &MeetingId::Named(meeting(name)))
    };
    let mut case = under(Isolation::Meeting);
    assert!(allows(&case, "url") && !allows(&case, "choir"));
    let named = json!({"type": "MediaPipeline", "properties": {"meeting": "choir"}});
    case.handle(Input::FromClient(&request(1, "create", &named)));
    assert!(allows(&case, "url") && allows(&case, "choir") && !allows(&case, "other"));
    assert!(allows(&under(Isolation::Open), "other"));
    assert!(!allows(&under(Isolation::Session), "url"));
}

#[test]
fn what_a_session_may_touch_survives_its_connection() {
    let allows = |case: &Case, name: &str| {
        case.session.access().allows(pipeline(B), &MeetingId::Named(meeting(name)))
    };
    let mut before = under(Isolation::Meeting);
    let link = before.create(1, A, "a");
    let subscribe = request(2, "subscribe", &json!({"object": A, "type": "Error"}));
    before.handle(Input::FromClient(&subscribe));
    before.handle(Input::FromBackend(link, &success(2, &json!("s1"))));
    let remains = before.session.remains().unwrap();

    let rules = Rules { isolation: Isolation::Meeting, ..Rules::default() };
    let url = Hints { meeting: Some(meeting("second")), ..Hints::default() };
    let bounds = Bounds { subscriptions_max: 1, ..bounds() };
    let mut after = Case::with(bounds);
    after.session.on_moved(url, Arc::new(rules));
    assert!(!allows(&after, "url"));
    let connect = request(3, "connect", &json!({"sessionId": remains.id.to_string()}));
    after.handle(Input::FromClient(&connect));
    after.handle(Input::Resumed(Finding::Known(remains)));
    assert!(allows(&after, "url") && allows(&after, "second") && !allows(&after, "other"));
    assert_eq!(after.answered(&subscribe)["error"]["code"], 40009, "they go on counting");
    assert_eq!(after.session.may_find(pipeline(A), None), None);
    for (name, may) in [("url", true), ("other", false)] {
        let noted = Some(meeting(name));
        assert_eq!(
            after.session.may_find(pipeline(A), noted.clone()),
            may.then_some(noted),
            "{name}"
        );
    }
}

#[test]
fn only_a_session_from_before_may_have_made_what_nobody_knows() {
    let found = |isolation: Isolation| {
        let mut case = under(isolation);
        let id = SessionId::from_random(9);
        case.handle(Input::FromClient(&request(1, "connect", &json!({"sessionId": id.as_str()}))));
        case.handle(Input::Resumed(Finding::Known(Remains::found(
            id,
            (vec![backend("a")], true),
            &[],
        ))));
        case.session.may_find(pipeline(A), None)
    };
    for (isolation, fresh, after_restart) in [
        (Isolation::Open, Some(None), Some(None)),
        (Isolation::Meeting, None, Some(Some(meeting("url")))),
        (Isolation::Session, None, Some(None)),
    ] {
        assert_eq!(under(isolation).session.may_find(pipeline(A), None), fresh, "{isolation:?}");
        assert_eq!(found(isolation), after_restart, "{isolation:?}");
    }
}

#[test]
fn a_session_from_before_has_what_is_noted_as_its_own_and_nothing_else_that_is_noted() {
    for (isolation, sees_its_meeting) in [(Isolation::Meeting, true), (Isolation::Session, false)] {
        let mut case = under(isolation);
        let id = SessionId::from_random(9);
        let connect = request(1, "connect", &json!({"sessionId": id.as_str()}));
        case.handle(Input::FromClient(&connect));
        let made = [(pipeline(A), meeting("own"))];
        let remains = Remains::found(id, (vec![backend("a")], true), &made);
        case.handle(Input::Resumed(Finding::Known(remains)));
        let may = |of, name| case.session.may_find(of, Some(meeting(name))).is_some();
        assert!(may(pipeline(A), "own"), "{isolation:?}");
        assert!(!may(pipeline(B), "other"), "{isolation:?}");
        assert_eq!(may(pipeline(B), "own"), sees_its_meeting, "{isolation:?}");
        let own = MeetingId::Named(meeting("own"));
        assert!(case.session.access().allows(pipeline(A), &own), "{isolation:?}");
        assert_eq!(case.session.access().allows(pipeline(B), &own), sees_its_meeting);
    }
}

#[test]
fn another_listener_of_the_same_client_has_its_own_rules() {
    let mut case = under(Isolation::Open);
    case.create(1, A, "a");
    let rules = Rules { isolation: Isolation::Session, ..Rules::default() };
    case.session.on_moved(Hints::default(), Arc::new(rules));
    assert!(matches!(case.session.access(), Access::Own(_)));
    let tag = invoke(2, MANAGER, "addTag", &json!({"key": "k", "value": "v"}));
    assert_eq!(case.answered(&tag)["error"]["code"], 40111);
    let [Output::Relay(_)] = case.handle(Input::FromClient(&describe(3, A))) else {
        panic!("what it uses it goes on using: {:?}", case.out);
    };
}

#[test]
fn a_sink_in_a_pipeline_met_for_the_first_time_is_looked_up() {
    let mut case = under(Isolation::Meeting);
    let link = case.create(1, A, "a");
    let connect =
        |id| invoke(id, &format!("{A}/{PORT}"), "connect", &json!({"sink": format!("{B}/{PORT}")}));
    let located = [Output::Locate(pipeline(B))];
    assert_eq!(case.handle(Input::FromClient(&connect(2))), located);
    case.handle(Input::Located(pipeline(B), Finding::Unknown));
    assert_eq!(case.told(), [(json!(2), 40101)]);
    assert_eq!(case.handle(Input::FromClient(&connect(3))), located);
    case.handle(Input::Located(pipeline(B), Finding::Known(backend("a"))));
    assert_eq!(case.out, [Output::ToBackend(link, connect(3))]);
    assert_eq!(case.handle(Input::FromClient(&connect(4))), [Output::Relay(link)], "known now");
    let open =
        |case: &mut Case| case.handle(Input::FromClient(&connect(5))) == [Output::Relay(link)];
    let mut other = under(Isolation::Open);
    other.create(1, A, "a");
    assert!(open(&mut other), "an open listener leaves that to the server");
}

#[test]
fn a_transaction_with_a_pipeline_of_others_is_refused_as_if_that_were_not_there() {
    let mut case = under(Isolation::Session);
    case.create(1, A, "a");
    for (id, foreign) in [
        (2, operation("release", &json!({"object": B}))),
        (3, operation("create", &json!({"type": "X", "constructorParams": {"a": [B]}}))),
    ] {
        let text = transaction(id, &[operation("describe", &json!({"object": A})), foreign]);
        assert_eq!(case.handle(Input::FromClient(&text)), [Output::Locate(pipeline(B))]);
        case.handle(Input::Located(pipeline(B), Finding::Unknown));
        assert_eq!(case.told(), [(json!(id), 40101)]);
        assert_eq!(case.session.sizes().held_bytes, 0);
    }
}

#[test]
fn subscriptions_are_bounded_and_end_with_what_they_are_to() {
    let mut case = Case::with(Bounds { subscriptions_max: 2, ..bounds() });
    let link = case.create(1, A, "a");
    let element = format!("{A}/{PORT}");
    let subscribe = |id| request(id, "subscribe", &json!({"object": element, "type": "Error"}));
    let subscribed = |case: &mut Case, id: u32| {
        case.handle(Input::FromClient(&subscribe(id)));
        if case.out != [Output::Relay(link)] {
            return false;
        }
        case.handle(Input::FromBackend(link, &success(id, &json!(format!("s{id}")))));
        true
    };
    assert!(subscribed(&mut case, 2) && subscribed(&mut case, 3));
    assert!(!subscribed(&mut case, 4));
    assert_eq!(case.told(), [(json!(4), 40009)]);
    let ended = |id, name: &str| {
        request(id, "unsubscribe", &json!({"object": element, "subscription": name}))
    };
    case.handle(Input::FromClient(&ended(5, "made up")));
    assert!(!subscribed(&mut case, 6), "nothing has ended");
    case.handle(Input::FromClient(&ended(7, "s2")));
    assert!(subscribed(&mut case, 8));
    case.handle(Input::FromClient(&request(9, "release", &json!({"object": element}))));
    assert_eq!(case.session.sizes().subscriptions, 0);
}

#[test]
fn subscriptions_of_a_transaction_count_too() {
    let mut case = case();
    let link = case.create(1, A, "a");
    let element = format!("{A}/{PORT}");
    let text = transaction(
        2,
        &[
            operation("create", &json!({"type": "X", "constructorParams": {"mediaPipeline": A}})),
            operation("subscribe", &json!({"object": "newref:0", "type": "Error"})),
            operation("subscribe", &json!({"object": A, "type": "Error"})),
        ],
    );
    assert_eq!(case.handle(Input::FromClient(&text)), [Output::Relay(link)]);
    let done = json!([{"id": 0, "result": {"value": element}}, {"id": 1, "result": {"value": "s1"}},
        {"error": {"code": 40106}, "id": 2}]);
    let told = case.handle(Input::FromBackend(link, &success(2, &done)));
    assert!(matches!(told, [Output::MediaChanged(..), Output::RelayToClient]), "{told:?}");
    assert_eq!(case.session.sizes().subscriptions, 1);
    case.handle(Input::FromClient(&request(3, "release", &json!({"object": element}))));
    assert_eq!(case.session.sizes().subscriptions, 0);
}

#[test]
fn a_call_that_blocks_is_sent_if_its_backend_can_bear_it() {
    let mut case = case();
    let link = case.create(1, A, "a");
    let stop = |id| invoke(id, &format!("{A}/{PORT}"), "stopAndWait", &json!({}));
    let sent = |ticket| Output::SendBlocking(link, backend("a"), Ticket(ticket), None);
    assert_eq!(case.handle(Input::FromClient(&stop(2))), [sent(2)]);
    let done = success(2, &json!(null));
    let answered = [Output::Unblocked(Ticket(2), true), Output::RelayToClient];
    assert_eq!(case.handle(Input::FromBackend(link, &done)), answered);

    assert_eq!(case.handle(Input::FromClient(&stop(3))), [sent(3)]);
    case.handle(Input::FromClient(&describe(4, A)));
    case.handle(Input::NotSent(link, Ticket(3)));
    assert_eq!(case.told(), [(json!(3), 40009)]);
    let answer = success(4, &json!(null));
    assert_eq!(case.handle(Input::FromBackend(link, &answer)), [Output::RelayToClient]);

    let text = transaction(
        5,
        &[operation(
            "invoke",
            &json!({"object": format!("{A}/{PORT}"),
        "operation": "stopAndWait"}),
        )],
    );
    assert_eq!(case.handle(Input::FromClient(&text)), [sent(4)]);
    case.handle(Input::LinkFailed(link, LinkFailure::Lost));
    assert!(case.out.contains(&Output::Unblocked(Ticket(4), false)), "{:?}", case.out);
}

/// A session with a pipeline, and a call there that blocks.
fn blocked() -> (Case, LinkNo, Ticket) {
    let mut case = case();
    let link = case.create(1, A, "a");
    let stop = invoke(2, &format!("{A}/{PORT}"), "stopAndWait", &json!({}));
    case.handle(Input::FromClient(&stop));
    let [Output::SendBlocking(_, _, ticket, None)] = case.out[..] else { panic!("{:?}", case.out) };
    (case, link, ticket)
}

/// The link is open again after a cut; what goes over it besides the edge's own call.
fn reopened(case: &mut Case, link: LinkNo) -> Vec<Output> {
    case.now = case.now + Duration::from_secs(1);
    case.handle(Input::LinkOpened(link));
    case.out.split_off(1)
}

#[test]
fn a_call_that_blocks_is_not_sent_again_beside_itself() {
    let (mut case, link, ticket) = blocked();
    case.handle(Input::FromClient(&describe(3, A)));
    case.handle(Input::LinkFailed(link, LinkFailure::Cut));
    assert_eq!(case.told(), [(json!(2), 40003)]);
    assert!(case.out.contains(&Output::Unblocked(ticket, false)), "{:?}", case.out);
    let again = reopened(&mut case, link);
    assert!(matches!(&again[..], [Output::Again(_, text)] if text.contains("describe")));
}

#[test]
fn a_call_that_blocks_and_was_not_sent_is_answered_once_if_its_link_breaks() {
    let (mut case, link, ticket) = blocked();
    case.handle(Input::LinkFailed(link, LinkFailure::Cut));
    assert_eq!(case.told(), [(json!(2), 40003)]);
    assert_eq!(case.handle(Input::NotSent(link, ticket)), []);
    assert_eq!(reopened(&mut case, link), []);
}

#[test]
fn a_call_that_blocks_for_too_long_is_answered_and_counts_on_for_a_while() {
    let (mut case, link, ticket) = blocked();
    case.now = Time::ZERO + Duration::from_secs(60);
    case.handle(Input::Tick);
    assert_eq!(case.told(), [(json!(2), 40003)]);
    assert!(case.out.contains(&Output::Unblocked(ticket, false)), "{:?}", case.out);
    let late = success(2, &json!(null));
    assert_eq!(case.handle(Input::FromBackend(link, &late)), [Output::Late]);
}

#[test]
fn a_subscription_whose_answer_comes_late_counts() {
    let mut case = case();
    let link = case.create(1, A, "a");
    let subscribe = |id| request(id, "subscribe", &json!({"object": A, "type": "Error"}));
    case.handle(Input::FromClient(&subscribe(2)));
    let text = transaction(3, &[operation("subscribe", &json!({"object": A, "type": "Error"}))]);
    case.handle(Input::FromClient(&text));
    case.now = Time::ZERO + Duration::from_secs(60);
    case.handle(Input::Tick);
    assert_eq!(case.session.sizes().subscriptions, 0);
    case.handle(Input::FromBackend(link, &success(2, &json!("s1"))));
    case.handle(Input::FromBackend(
        link,
        &success(3, &json!([{"id": 0, "result": {"value": "s2"}}])),
    ));
    assert_eq!(case.session.sizes().subscriptions, 2);
}
