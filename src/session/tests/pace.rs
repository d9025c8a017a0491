//! Costly calls wait for their turn, and nobody else does.

use super::*;

fn paced() -> Case {
    let mut case = case();
    case.session = case.session.paced();
    case
}

fn offer(id: u32, object: &str) -> String {
    let params = json!({"object": object, "operation": "processOffer"});
    request(id, "invoke", &params)
}

/// Sends a costly call and expects it to ask for its turn.
fn asks(case: &mut Case, id: u32, object: &str) -> Ticket {
    match case.handle(Input::FromClient(&offer(id, object))) {
        [Output::Pace(ticket, _, _)] => *ticket,
        other => panic!("{other:?}"),
    }
}

/// What is to be done, in short: ids of messages that go to backends, and so on.
fn went(case: &Case) -> Vec<String> {
    let id = |text: &str| serde_json::from_str::<Value>(text).unwrap()["id"].to_string();
    let told = case.out.iter().map(|output| match output {
        Output::ToBackend(_, text) => id(text),
        Output::Again(_, text) => format!("again {}", id(text)),
        Output::Pace(_, to, _) => format!("asks {to}"),
        Output::Unpace(_) => "asks no more".to_owned(),
        Output::Refuse(id, failure) => format!("{} for {id}", failure.code),
        Output::OpenLink(_, to) => format!("opens {to}"),
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn a_costly_call_asks_for_its_turn_and_what_follows_waits_behind_it() {
    let mut case = paced();
    let (a, b) = (case.create(1, A, "a"), case.create(2, B, "b"));
    let ticket = asks(&mut case, 3, A);
    assert_eq!(case.handle(Input::FromClient(&describe(4, A))), []);
    assert_eq!(case.handle(Input::FromClient(&offer(5, A))), [], "one turn at a time");
    assert_eq!(case.handle(Input::FromClient(&describe(6, A))), []);
    // Other backends, and whatever comes from this one, go on.
    assert_eq!(case.handle(Input::FromClient(&describe(7, B))), [Output::Relay(b)]);
    let event = r#"{"jsonrpc":"2.0","method":"onEvent","params":{}}"#;
    assert_eq!(case.handle(Input::FromBackend(a, event)), [Output::RelayToClient]);
    assert!(case.session.is_waiting());
    assert_eq!(case.session.sizes().calls, 4);
    case.handle(Input::Paced(ticket, Paced::Go));
    assert_eq!(went(&case), ["3", "4", "asks a"]);
    let [.., Output::Pace(second, ..)] = case.out[..] else { panic!() };
    assert_eq!(case.handle(Input::Paced(ticket, Paced::Go)), [], "that was answered");
    case.handle(Input::Paced(second, Paced::Go));
    assert_eq!(went(&case), ["5", "6"]);
    assert_eq!(case.session.sizes().held_bytes, 0);
    assert!(!case.session.is_waiting());
    assert_eq!(case.handle(Input::FromClient(&describe(8, A))), [Output::Relay(a)]);
}

#[test]
fn a_call_that_waited_goes_as_it_came_and_asks_with_its_time() {
    let mut case = paced();
    let link = case.create(1, A, "a");
    let first = asks(&mut case, 2, A);
    case.now = Time::from_micros(5);
    let text = offer(3, A);
    case.handle(Input::FromClient(&text));
    case.now = Time::from_micros(9);
    case.handle(Input::Paced(first, Paced::Go));
    let [Output::ToBackend(..), Output::Pace(second, _, ask)] = case.out[..] else { panic!() };
    assert_eq!(ask, Ask { cost: 1, since: Time::from_micros(5) });
    let sent = case.handle(Input::Paced(second, Paced::Go));
    assert_eq!(sent, [Output::ToBackend(link, text)], "not even the session is put in");
}

#[test]
fn a_call_that_is_refused_is_told_when_to_try_again_and_the_rest_goes_on() {
    let mut case = paced();
    case.create(1, A, "a");
    let ticket = asks(&mut case, 2, A);
    case.handle(Input::FromClient(&describe(3, A)));
    case.handle(Input::FromClient(&offer(4, A)));
    case.handle(Input::Paced(ticket, Paced::Refused(250)));
    assert_eq!(went(&case), ["40009 for 2", "3", "asks a"]);
    let Output::Refuse(_, failure) = &case.out[0] else { panic!() };
    assert_eq!(failure.retry_after_ms, Some(250));
}

#[test]
fn a_transaction_that_can_never_go_is_told_so_and_the_rest_goes_on() {
    let mut case = paced();
    case.create(1, A, "a");
    let endpoint = json!({"method": "create",
        "params": {"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": A}}});
    let text = request(2, "transaction", &json!({"operations": vec![endpoint; 3]}));
    let [Output::Pace(ticket, _, Ask { cost: 3, .. })] = *case.handle(Input::FromClient(&text))
    else {
        panic!("{:?}", case.out)
    };
    case.handle(Input::FromClient(&describe(3, A)));
    case.handle(Input::Paced(ticket, Paced::TooLarge));
    assert_eq!(went(&case), ["40008 for 2", "3"]);
    assert_eq!(case.session.sizes().held_bytes, 0);
}

#[test]
fn what_waited_for_the_link_is_paced_when_it_opens() {
    let mut case = paced();
    case.handle(Input::FromClient(&offer(1, A)));
    case.handle(Input::Located(pipeline(A), Finding::Known(backend("a"))));
    case.handle(Input::FromClient(&describe(2, A)));
    case.handle(Input::LinkOpened(LinkNo(0)));
    assert_eq!(went(&case), ["asks a"]);
    let [Output::Pace(ticket, ..)] = case.out[..] else { panic!() };
    case.handle(Input::Paced(ticket, Paced::Go));
    assert_eq!(went(&case), ["1", "2"]);
    let session = case.session.id().to_string();
    let names = |output: &Output| matches!(output, Output::ToBackend(_, t) if t.contains(&session));
    assert!(case.out.iter().all(names), "the backend has not tied the link yet");
}

#[test]
fn calls_that_are_sent_again_do_not_ask_again_and_those_that_waited_do() {
    let mut case = paced();
    let link = case.create(1, A, "a");
    let ticket = asks(&mut case, 2, A);
    case.handle(Input::Paced(ticket, Paced::Go));
    let ticket = asks(&mut case, 3, A);
    case.handle(Input::FromClient(&describe(4, A)));
    case.handle(Input::LinkFailed(link, LinkFailure::Cut));
    assert_eq!(went(&case), ["asks no more", "opens a"]);
    assert_eq!(case.handle(Input::Paced(ticket, Paced::Go)), [], "it comes too late");
    case.now = case.now + crate::session::loss::SETTLE;
    case.handle(Input::LinkOpened(link));
    let own = went(&case).remove(0);
    assert_eq!(went(&case), [&own, "again 2", "asks a"]);
    let [.., Output::Pace(ticket, ..)] = case.out[..] else { panic!() };
    case.handle(Input::Paced(ticket, Paced::Go));
    assert_eq!(went(&case), ["3", "4"]);
}

#[test]
fn what_waits_for_its_turn_has_the_link_opened_again_but_not_for_ever() {
    let mut case = paced();
    let link = case.create(1, A, "a");
    asks(&mut case, 2, A);
    let opens = ["asks no more", "opens a"];
    for _ in 0..route::ATTEMPTS_MAX {
        case.handle(Input::LinkFailed(link, LinkFailure::Cut));
        assert_eq!(went(&case), opens);
        case.now = case.now + crate::session::loss::SETTLE;
        case.handle(Input::LinkOpened(link));
    }
    case.handle(Input::LinkFailed(link, LinkFailure::Cut));
    assert!(went(&case).contains(&"40003 for 2".to_owned()), "{:?}", case.out);
    assert_eq!(case.session.sizes().held_bytes, 0);
}

#[test]
fn with_its_backend_a_call_that_waits_is_lost() {
    let mut case = paced();
    let link = case.create(1, A, "a");
    asks(&mut case, 2, A);
    case.handle(Input::FromClient(&request(3, "release", &json!({"object": A}))));
    case.handle(Input::LinkFailed(link, LinkFailure::Lost));
    assert!(matches!(case.out[0], Output::Unheld(_)) && matches!(case.out[1], Output::Unpace(_)));
    assert_eq!(case.told(), [(json!(2), 40101), (json!(3), 0)]);
    assert!(!case.session.is_waiting());
}

#[test]
fn whoever_goes_gives_the_turn_back() {
    let mut case = paced();
    case.create(1, A, "a");
    let ticket = asks(&mut case, 2, A);
    let mut out = Vec::new();
    case.session.end(&mut out);
    assert_eq!(out, [Output::Unpace(ticket), Output::Unheld(pipeline(A))]);
}

#[test]
fn what_waits_for_its_turn_is_bounded() {
    let mut case = paced();
    case.create(1, A, "a");
    asks(&mut case, 2, A);
    for id in 3..10 {
        assert_eq!(case.handle(Input::FromClient(&describe(id, A))), []);
    }
    assert_eq!(case.answered(&describe(10, A))["error"]["code"], 40009, "eight calls");
    assert!(case.session.sizes().are_within(&bounds()));
}

#[test]
fn what_waits_for_its_turn_has_a_budget_of_its_own() {
    let behind = describe(3, A).len();
    let bounds = Bounds { held_max_bytes: 110, paced_max_bytes: 2 * behind, ..bounds() };
    let mut case = Case::with(bounds);
    case.session = case.session.paced();
    case.create(1, A, "a");
    let ticket = asks(&mut case, 2, A);
    assert_eq!(case.handle(Input::FromClient(&describe(3, A))), []);
    assert_eq!(case.handle(Input::FromClient(&describe(4, A))), []);
    let sizes = case.session.sizes();
    assert_eq!((sizes.held_bytes, sizes.paced_bytes), (0, 2 * behind), "the first is free");
    let refused = case.answered(&describe(5, A));
    assert_eq!(refused["error"]["code"], 40009);
    assert_eq!(refused["error"]["data"]["retryAfterMs"], 1_000);
    let session = case.session.id().to_string();
    let close = request(6, "closeSession", &json!({"sessionId": session}));
    assert_eq!(case.answered(&close)["error"]["code"], 40009, "all or none");
    // Who waits for a place is not in their way, nor they in his.
    let create = request(7, "create", &json!({"type": "MediaPipeline"}));
    assert!(matches!(case.handle(Input::FromClient(&create)), [Output::Place(..)]));
    case.handle(Input::Paced(ticket, Paced::Go));
    assert_eq!(went(&case), ["2", "3", "4"]);
    assert_eq!(case.session.sizes().paced_bytes, 0);
}

#[test]
fn a_call_whose_turn_comes_at_once_needs_no_room() {
    let mut case = Case::with(Bounds { held_max_bytes: 110, paced_max_bytes: 0, ..bounds() });
    case.session = case.session.paced();
    case.create(1, A, "a");
    let text = request(
        2,
        "invoke",
        &json!({"object": A, "operation": "processOffer",
        "operationParams": {"offer": "v".repeat(8_000)}}),
    );
    let [Output::Pace(ticket, ..)] = *case.handle(Input::FromClient(&text)) else { panic!() };
    case.handle(Input::Paced(ticket, Paced::Go));
    assert_eq!(went(&case), ["2"]);
}

#[test]
fn what_waited_for_the_link_and_waits_for_its_turn_then_leaves_room_for_others() {
    let mut case = paced();
    case.handle(Input::FromClient(&offer(1, A)));
    case.handle(Input::Located(pipeline(A), Finding::Known(backend("a"))));
    case.handle(Input::FromClient(&describe(2, A)));
    let waiting = offer(1, A).len() + describe(2, A).len();
    assert_eq!(case.session.sizes().held_bytes, waiting);
    case.handle(Input::LinkOpened(LinkNo(0)));
    let sizes = case.session.sizes();
    assert_eq!((sizes.held_bytes, sizes.paced_bytes), (0, waiting));
    case.handle(Input::LinkFailed(LinkNo(0), LinkFailure::Lost));
    assert_eq!(case.session.sizes().paced_bytes, 0);
}

/// Twenty calls a second, forty at once and ten seconds to wait are 240 calls.
#[test]
fn the_default_budgets_have_room_for_all_that_may_wait() {
    let bounds =
        Bounds { held_max_bytes: 1 << 20, paced_max_bytes: 8 << 20, calls_max: 4_096, ..bounds() };
    let mut case = Case::with(bounds);
    case.session = case.session.paced();
    case.create(1, A, "a");
    let sdp = "v".repeat(8_000);
    for id in 2..242 {
        let params =
            json!({"object": A, "operation": "processOffer", "operationParams": {"offer": sdp}});
        case.handle(Input::FromClient(&request(id, "invoke", &params)));
        assert_eq!(case.told(), [], "call {id}");
    }
}

#[test]
fn a_session_that_is_closed_meanwhile_is_closed_behind_what_waits() {
    let mut case = paced();
    let link = case.create(1, A, "a");
    let ticket = asks(&mut case, 2, A);
    let session = case.session.id().to_string();
    let close = request(3, "closeSession", &json!({"sessionId": session}));
    assert_eq!(case.handle(Input::FromClient(&close)), []);
    case.handle(Input::Paced(ticket, Paced::Go));
    assert_eq!(went(&case), ["2", "3"]);
    case.handle(Input::FromBackend(link, &success(2, &json!(null))));
    case.handle(Input::FromBackend(link, &success(3, &json!(null))));
    assert_eq!(case.told(), [(json!(3), 0)]);
}

#[test]
fn without_pacing_nothing_waits() {
    let mut case = case();
    let link = case.create(1, A, "a");
    assert_eq!(case.handle(Input::FromClient(&offer(2, A))), [Output::Relay(link)]);
}
