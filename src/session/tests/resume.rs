//! A client that comes back is told so when its events flow.

use super::*;

/// A session that another connection had.
fn other() -> SessionId {
    SessionId::from_random(9)
}

fn connect(id: u32) -> String {
    request(id, "connect", &json!({"sessionId": other().as_str()}))
}

/// A connection that has named the session of another, of which `backends` know.
fn resumed(backends: &[&str]) -> Case {
    let mut case = case();
    assert_eq!(case.handle(Input::FromClient(&connect(1))), [Output::Resume(other())]);
    let backends = backends.iter().map(|id| backend(id)).collect();
    let remains = Remains::found(other(), (backends, true), &[]);
    case.handle(Input::Resumed(Finding::Known(remains)));
    case
}

/// Opens `link`; returns the answer to the call by which the edge ties it to the session.
fn open(case: &mut Case, link: usize) -> String {
    match case.handle(Input::LinkOpened(LinkNo(link))) {
        [Output::ToBackend(_, text)] => tied(text),
        other => panic!("{other:?}"),
    }
}

fn tied(text: &str) -> String {
    let call: Value = serde_json::from_str(text).unwrap();
    assert_eq!(call["params"]["sessionId"], other().as_str());
    json!({"id": call["id"], "jsonrpc": "2.0", "result": {"sessionId": other().as_str()}})
        .to_string()
}

#[test]
fn a_client_is_told_that_it_is_back_when_all_backends_send_its_events_here() {
    let mut case = resumed(&["a", "b"]);
    assert_eq!(case.told(), []);
    let (a, b) = (open(&mut case, 0), open(&mut case, 1));
    case.handle(Input::FromBackend(LinkNo(0), &a));
    assert_eq!(case.told(), []);
    case.handle(Input::FromBackend(LinkNo(1), &b));
    assert_eq!(case.told(), [(json!(1), 0)]);
}

#[test]
fn a_client_that_is_back_does_not_wait_long_for_a_backend_that_is_silent() {
    let mut case = resumed(&["a"]);
    open(&mut case, 0);
    assert_eq!(case.session.deadline(), Some(Time::ZERO + Duration::from_secs(2)));
    case.now = Time::ZERO + Duration::from_secs(2);
    case.handle(Input::Tick);
    assert_eq!(case.told(), [(json!(1), 0)]);
}

#[test]
fn a_client_that_is_back_does_not_wait_for_a_backend_that_cannot_be_reached() {
    let mut case = resumed(&["a"]);
    case.handle(Input::LinkFailed(LinkNo(0), LinkFailure::Unreachable));
    assert_eq!(case.told(), [(json!(1), 0)]);
}

#[test]
fn links_that_were_held_are_tied_again_because_another_edge_may_have_the_session() {
    let mut case = resumed(&["a"]);
    let answer = open(&mut case, 0);
    case.handle(Input::FromBackend(LinkNo(0), &answer));
    let again = match case.handle(Input::Returned(vec![connect(2)])) {
        [Output::ToBackend(LinkNo(0), text)] => tied(text),
        other => panic!("{other:?}"),
    };
    // What it sends meanwhile waits behind.
    assert_eq!(case.handle(Input::FromClient(&request(3, "ping", &json!({})))), []);
    case.handle(Input::FromBackend(LinkNo(0), &again));
    assert_eq!(case.told(), [(json!(2), 0), (json!(3), 0)]);
}

#[test]
fn a_link_that_breaks_while_its_client_comes_back_is_waited_for_when_it_is_opened_again() {
    let mut case = resumed(&["a"]);
    let answer = open(&mut case, 0);
    case.handle(Input::FromBackend(LinkNo(0), &answer));
    case.handle(Input::Returned(vec![connect(2)]));
    let failed = case.handle(Input::LinkFailed(LinkNo(0), LinkFailure::Cut));
    assert_eq!(failed, [Output::OpenLink(LinkNo(0), backend("a"))]);
    case.handle(Input::LinkOpened(LinkNo(0)));
    case.now = case.session.deadline().unwrap();
    let settled = match case.handle(Input::Tick) {
        [Output::ToBackend(_, text), ..] => tied(text),
        other => panic!("{other:?}"),
    };
    assert_eq!(case.told(), []);
    case.handle(Input::FromBackend(LinkNo(0), &settled));
    assert_eq!(case.told(), [(json!(2), 0)]);
}

#[test]
fn a_link_that_breaks_before_it_is_tied_is_opened_again_while_its_client_waits() {
    let mut case = resumed(&["a"]);
    open(&mut case, 0);
    let failed = case.handle(Input::LinkFailed(LinkNo(0), LinkFailure::Cut));
    assert_eq!(failed, [Output::OpenLink(LinkNo(0), backend("a"))]);
    case.now = Time::ZERO + Duration::from_secs(2);
    case.handle(Input::Tick);
    assert_eq!(case.told(), [(json!(1), 0)]);
    assert_eq!(case.handle(Input::LinkFailed(LinkNo(0), LinkFailure::Cut)), []);
}

/// Another edge may be at work on the session, and take the tie of any link at any time.
#[test]
fn a_session_that_came_back_is_named_in_every_message_also_over_new_links() {
    let mut case = resumed(&[]);
    case.handle(Input::FromClient(&describe(2, A)));
    case.handle(Input::Located(pipeline(A), Finding::Known(backend("a"))));
    case.handle(Input::LinkOpened(LinkNo(0)));
    case.handle(Input::FromBackend(LinkNo(0), &success(2, &json!(""))));
    match case.handle(Input::FromClient(&describe(3, A))) {
        [Output::ToBackend(LinkNo(0), text)] => drop(tied(text)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_without_links_is_told_at_once() {
    let mut case = case();
    let created = case.answered(&request(1, "connect", &json!({})));
    assert_eq!(created["id"], 1);
    case.handle(Input::Returned(vec![request(2, "connect", &json!({}))]));
    assert_eq!(case.told(), [(json!(2), 0)]);
}

#[test]
fn while_nobody_can_be_sure_nothing_is_denied_and_nothing_succeeds() {
    let mut case = case();
    for (id, method) in [(1, "connect"), (2, "closeSession"), (3, "release")] {
        let params = json!({"sessionId": other().as_str(), "object": A});
        let text = request(id, method, &params);
        assert_eq!(case.handle(Input::FromClient(&text)), [Output::Resume(other())]);
        case.handle(Input::Resumed(Finding::NotSure(700)));
        assert_eq!(case.told(), [(json!(id), 40009)], "{method}");
    }
    for (id, method) in [(4, "release"), (5, "unref"), (6, "unsubscribe"), (7, "describe")] {
        let text = request(id, method, &json!({"object": A}));
        assert_eq!(case.handle(Input::FromClient(&text)), [Output::Locate(pipeline(A))]);
        let refused = case.handle(Input::Located(pipeline(A), Finding::NotSure(700)));
        let [Output::Refuse(_, failure)] = refused else { panic!("{method}: {refused:?}") };
        assert_eq!((failure.code, failure.retry_after_ms), (40009, Some(700)), "{method}");
        assert_eq!(case.told(), [(json!(id), 40009)], "{method}");
    }
}
