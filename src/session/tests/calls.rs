//! What becomes of calls whose link breaks, or that take too long.

use super::*;
use crate::policy::health::CallClass;
use crate::session::loss::SETTLE;

/// What goes over a link that is opened again: the edge's own call, then these.
fn again(case: &mut Case, link: LinkNo) -> Vec<Value> {
    case.now = case.now + SETTLE;
    case.handle(Input::LinkOpened(link));
    let [Output::ToBackend(_, own), rest @ ..] = &case.out[..] else { panic!("{:?}", case.out) };
    assert!(own.contains("pinfold-tie-") && own.contains(case.session.id().as_str()), "{own}");
    let text = |output: &Output| match output {
        Output::Again(to, text) | Output::ToBackend(to, text) if *to == link => {
            serde_json::from_str::<Value>(text).unwrap()["id"].clone()
        }
        other => panic!("{other:?}"),
    };
    rest.iter().map(text).collect()
}

fn cut(case: &mut Case, link: LinkNo) -> &[Output] {
    case.handle(Input::LinkFailed(link, LinkFailure::Cut))
}

fn seconds(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// A client call on the object `A`.
fn call(case: &mut Case, id: u32) {
    let sent = case.handle(Input::FromClient(&describe(id, A)));
    assert!(matches!(sent, [Output::Relay(_) | Output::ToBackend(..)]), "{sent:?}");
}

#[test]
fn after_a_message_that_is_too_long_no_call_is_sent_again_and_the_session_goes_on() {
    let mut case = case();
    let link = case.create(1, A, "a");
    call(&mut case, 2);
    call(&mut case, 3);
    let reopens = [Output::OpenLink(link, backend("a"))];
    let failed = case.handle(Input::LinkFailed(link, LinkFailure::TooLong));
    assert_eq!(failed[2..], reopens);
    assert_eq!(case.told(), [(json!(2), 40003), (json!(3), 40003)]);
    case.handle(Input::FromClient(&describe(4, A)));
    assert_eq!(again(&mut case, link), [4], "what was not sent yet");
}

#[test]
fn calls_of_a_link_that_is_cut_are_sent_again_as_they_were_and_answered_once() {
    let mut case = case();
    let (a, b) = (case.create(1, A, "a"), case.create(2, B, "b"));
    let session = case.session.id().to_string();
    let text = request(3, "describe", &json!({"object": A, "sessionId": session}));
    case.handle(Input::FromClient(&text));
    call(&mut case, 4);
    case.handle(Input::FromClient(&describe(5, B)));
    let reopened = [Output::OpenLink(a, backend("a"))];
    assert_eq!(cut(&mut case, a), reopened, "nobody is told");
    // What comes meanwhile goes behind them.
    assert_eq!(case.handle(Input::FromClient(&describe(6, A))), []);
    assert_eq!(again(&mut case, a), [3, 4, 6]);
    assert_eq!(case.out[1], Output::Again(a, text), "the very text");
    let Output::Again(_, second) = &case.out[2] else { panic!("{:?}", case.out) };
    let named = format!(r#""params":{{"sessionId":"{session}","object":"{A}"}}"#);
    assert!(second.contains(&named), "or with the session, if it named none: {second}");
    let own = r#"{"id":"pinfold-tie-3","jsonrpc":"2.0","result":{"sessionId":"x"}}"#;
    assert_eq!(case.handle(Input::FromBackend(a, own)), []);
    for (link, id) in [(a, 3), (b, 5), (a, 4), (a, 6)] {
        let answer = success(id, &json!(null));
        assert_eq!(case.handle(Input::FromBackend(link, &answer)), [Output::RelayToClient]);
        assert_eq!(case.handle(Input::FromBackend(link, &answer)), [Output::Stray]);
    }
    assert_eq!(case.session.sizes().held_bytes, 0);
}

#[test]
fn calls_are_sent_again_only_when_the_backend_is_done_with_what_it_was_at() {
    let mut case = case();
    let a = case.create(1, A, "a");
    call(&mut case, 2);
    case.now = seconds(1);
    cut(&mut case, a);
    let [Output::ToBackend(_, own)] = case.handle(Input::LinkOpened(a)) else {
        panic!("{:?}", case.out)
    };
    assert!(own.contains("pinfold-tie-"), "so that events flow");
    let event = r#"{"jsonrpc":"2.0","method":"onEvent","params":{}}"#;
    assert_eq!(case.handle(Input::FromBackend(a, event)), [Output::RelayToClient]);
    let tied = r#"{"id":"pinfold-tie-3","jsonrpc":"2.0","result":{"sessionId":"x"}}"#;
    assert_eq!(case.handle(Input::FromBackend(a, tied)), []);
    assert_eq!(case.handle(Input::FromClient(&describe(3, A))), [], "waits behind");
    assert!(case.session.is_waiting());
    assert_eq!(case.session.deadline(), Some(seconds(1) + SETTLE));
    case.now = seconds(1) + SETTLE;
    case.handle(Input::Tick);
    let [Output::ToBackend(..), Output::Again(..), Output::ToBackend(..)] = case.out[..] else {
        panic!("{:?}", case.out)
    };
    assert_eq!(case.handle(Input::FromBackend(a, tied)), [Output::Stray], "its id was used");
}

#[test]
fn messages_over_a_link_that_had_an_earlier_one_name_the_session() {
    let mut case = case();
    let a = case.create(1, A, "a");
    call(&mut case, 2);
    cut(&mut case, a);
    again(&mut case, a);
    let tied = r#"{"id":"pinfold-tie-2","jsonrpc":"2.0","result":{"sessionId":"x"}}"#;
    case.handle(Input::FromBackend(a, tied));
    let session = case.session.id().to_string();
    let named = request(3, "describe", &json!({"object": A, "sessionId": session}));
    assert_eq!(case.handle(Input::FromClient(&named)), [Output::Relay(a)]);
    match case.handle(Input::FromClient(&describe(4, A))) {
        [Output::ToBackend(_, text)] => assert!(text.contains(&session), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_link_settles_whatever_was_under_way_on_it() {
    // A call that timed out may still run; one that was not kept too; the edge's own as well.
    for resend_max_bytes in [0, 2_000] {
        let mut case = Case::with(Bounds { resend_max_bytes, ..bounds() });
        let a = case.create(1, A, "a");
        call(&mut case, 2);
        case.now = seconds(60);
        case.handle(Input::Tick);
        for _ in 0..2 {
            cut(&mut case, a);
            assert!(matches!(case.handle(Input::LinkOpened(a)), [Output::ToBackend(..)]));
            assert_eq!(case.handle(Input::FromClient(&describe(3, A))), [], "it waits");
        }
        for _ in 0..2 {
            assert_eq!(cut(&mut case, a), [Output::OpenLink(a, backend("a"))]);
            case.handle(Input::LinkOpened(a));
        }
        cut(&mut case, a);
        assert_eq!(case.told(), [(json!(3), 40003)], "the first of the two was tried three times");
        assert_eq!(again(&mut case, a), [3]);
    }
}

#[test]
fn what_an_answer_teaches_survives_that_its_call_is_sent_again() {
    let mut case = case();
    let a = case.create(1, A, "a");
    case.handle(Input::FromClient(&request(2, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(2), Ok(backend("a"))));
    case.handle(Input::FromClient(&request(3, "release", &json!({"object": A}))));
    case.handle(Input::FromClient(&request(4, "closeSession", &json!({}))));
    cut(&mut case, a);
    assert_eq!(again(&mut case, a), [2, 3, 4]);
    assert_eq!(case.session.sizes().pipelines, 2, "one there, one being made");
    let made = [Output::Created(Ticket(2), pipeline(B)), Output::RelayToClient];
    assert_eq!(case.handle(Input::FromBackend(a, &success(2, &json!(B)))), made);
    let gone = [Output::Released(pipeline(A)), Output::RelayToClient];
    assert_eq!(case.handle(Input::FromBackend(a, &success(3, &json!(null)))), gone);
    let closed = r#"{"id":4,"jsonrpc":"2.0","result":null}"#;
    assert_eq!(
        case.handle(Input::FromBackend(a, closed)),
        [Output::Unheld(pipeline(B)), Output::Answer(Method::CloseSession, closed.into())]
    );
}

#[test]
fn a_link_is_opened_again_for_its_calls_though_the_session_has_nothing_there() {
    let mut case = case();
    case.handle(Input::FromClient(&request(1, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(1), Ok(backend("a"))));
    case.handle(Input::LinkOpened(LinkNo(0)));
    let Some(Output::ToBackend(a, first)) = case.out.pop() else { panic!("it is sent") };
    // It was not even tied.
    assert_eq!(cut(&mut case, a), [Output::OpenLink(a, backend("a"))]);
    assert_eq!(again(&mut case, a), [1]);
    assert_eq!(case.out[1], Output::Again(a, first), "with the session it named");
    let made = [Output::Created(Ticket(1), pipeline(A)), Output::RelayToClient];
    assert_eq!(case.handle(Input::FromBackend(a, &success(1, &json!(A)))), made);
}

#[test]
fn a_link_that_breaks_again_and_again_is_given_up_after_three_times() {
    for failure in [LinkFailure::Cut, LinkFailure::Unreachable] {
        let mut case = case();
        let a = case.create(1, A, "a");
        call(&mut case, 2);
        cut(&mut case, a);
        for _ in 1..3 {
            if failure == LinkFailure::Cut {
                assert_eq!(again(&mut case, a), [2]);
            }
            let reopened = [Output::OpenLink(a, backend("a"))];
            assert_eq!(case.handle(Input::LinkFailed(a, failure)), reopened, "{failure:?}");
        }
        if failure == LinkFailure::Cut {
            assert_eq!(again(&mut case, a), [2]);
        }
        case.handle(Input::LinkFailed(a, failure));
        assert_eq!(case.told(), [(json!(2), 40003)], "{failure:?}");
        assert_eq!(case.out.len(), 1, "and it stays closed: {:?}", case.out);
        let opened = [Output::OpenLink(a, backend("a"))];
        assert_eq!(case.handle(Input::FromClient(&describe(3, A))), opened);
    }
}

#[test]
fn a_call_that_cuts_its_link_each_time_costs_the_others_nothing() {
    let mut case = case();
    let a = case.create(1, A, "a");
    call(&mut case, 2);
    cut(&mut case, a);
    assert_eq!(again(&mut case, a), [2]);
    call(&mut case, 3);
    for _ in 0..2 {
        cut(&mut case, a);
        assert_eq!(again(&mut case, a), [2, 3]);
    }
    cut(&mut case, a);
    assert_eq!(case.told(), [(json!(2), 40003)]);
    assert_eq!(again(&mut case, a), [3]);
    let answer = success(3, &json!(null));
    assert_eq!(case.handle(Input::FromBackend(a, &answer)), [Output::RelayToClient]);
}

#[test]
fn a_call_that_waits_too_long_to_be_sent_again_gets_an_error() {
    let mut case = case();
    let a = case.create(1, A, "a");
    call(&mut case, 2);
    case.now = seconds(10);
    call(&mut case, 3);
    cut(&mut case, a);
    case.now = seconds(25);
    assert_eq!(again_or_told(&mut case, a), (vec![json!(3)], vec![(json!(2), 40003)]));
    case.now = seconds(29);
    cut(&mut case, a);
    assert_eq!(case.told(), [(json!(3), 40003)], "at once, when that is known at once");
}

/// What goes over an opened link besides the edge's own, and what the client is told.
fn again_or_told(case: &mut Case, link: LinkNo) -> (Vec<Value>, Vec<(Value, i64)>) {
    case.handle(Input::LinkOpened(link));
    let id = |output: &Output| match output {
        Output::Again(_, text) => Some(serde_json::from_str::<Value>(text).unwrap()["id"].clone()),
        _ => None,
    };
    (case.out.iter().filter_map(id).collect(), case.told())
}

#[test]
fn calls_that_find_no_room_to_be_kept_get_an_error_when_the_link_is_cut() {
    let kept = describe(2, A).len();
    for (resend_max_bytes, resent, told) in
        [(0, vec![], vec![2, 3]), (kept, vec![2], vec![3]), (2 * kept, vec![2, 3], vec![])]
    {
        let mut case = Case::with(Bounds { resend_max_bytes, ..bounds() });
        let a = case.create(1, A, "a");
        for id in [2, 3] {
            call(&mut case, id);
        }
        cut(&mut case, a);
        let told: Vec<_> = told.into_iter().map(|id| (json!(id), 40003)).collect();
        assert_eq!(case.told(), told);
        assert_eq!(again(&mut case, a), resent);
    }
}

#[test]
fn calls_sent_again_to_a_backend_that_turns_out_lost_are_answered_as_ever() {
    for opens_first in [false, true] {
        let mut case = case();
        let a = case.create(1, A, "a");
        call(&mut case, 2);
        case.handle(Input::FromClient(&request(3, "release", &json!({"object": A}))));
        case.handle(Input::FromClient(&request(4, "create", &json!({"type": "MediaPipeline"}))));
        case.handle(Input::Placed(Ticket(2), Ok(backend("a"))));
        cut(&mut case, a);
        if opens_first {
            assert_eq!(again(&mut case, a), [2, 3, 4]);
        }
        case.handle(Input::LinkFailed(a, LinkFailure::Lost));
        assert_eq!(case.told(), [(json!(2), 40101), (json!(3), 0), (json!(4), 40009)]);
        assert!(case.out.contains(&Output::Unheld(pipeline(A))));
        assert!(case.out.contains(&Output::NotCreated(Ticket(2))));
        assert_eq!(
            case.session.sizes(),
            Sizes { held_bytes: 0, paced_bytes: 0, calls: 0, pipelines: 0, subscriptions: 0 }
        );
    }
}

#[test]
fn messages_that_never_left_move_on_while_those_that_did_are_tried_again() {
    let mut case = case();
    let a = case.create(1, A, "a");
    call(&mut case, 2);
    cut(&mut case, a);
    case.handle(Input::FromClient(&describe(3, A)));
    case.handle(Input::FromClient(&request(4, "create", &json!({"type": "MediaPipeline"}))));
    let Output::Place(ticket, _) = case.out[0] else { panic!("{:?}", case.out) };
    case.handle(Input::Placed(ticket, Ok(backend("a"))));
    case.handle(Input::LinkFailed(a, LinkFailure::Unreachable));
    assert_eq!(case.out[0], Output::OpenLink(a, backend("a")));
    assert!(case.out.contains(&Output::NotCreated(ticket)), "{:?}", case.out);
    assert!(matches!(case.out.last(), Some(Output::Place(_, Wish::Pipeline { .. }))));
    assert_eq!(again(&mut case, a), [2, 3]);
}

#[test]
fn a_session_that_ends_while_its_link_is_opened_again_gives_everything_back() {
    let mut case = case();
    let a = case.create(1, A, "a");
    case.handle(Input::FromClient(&request(2, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(2), Ok(backend("a"))));
    cut(&mut case, a);
    case.out.clear();
    case.session.end(&mut case.out);
    assert_eq!(case.out, [Output::NotCreated(Ticket(2)), Output::Unheld(pipeline(A))]);
}

#[test]
fn the_bound_of_calls_holds_for_those_that_are_sent_again() {
    let mut case = Case::with(Bounds { calls_max: 2, ..bounds() });
    let a = case.create(1, A, "a");
    for id in [2, 3] {
        call(&mut case, id);
    }
    for _ in 0..2 {
        assert_eq!(case.answered(&describe(4, A))["error"]["code"], 40009);
        assert!(case.session.sizes().are_within(&case.session.bounds));
        cut(&mut case, a);
    }
    assert_eq!(again(&mut case, a), [2, 3], "the edge's own does not count");
    assert!(case.session.sizes().are_within(&case.session.bounds));
    assert_eq!(case.answered(&describe(4, A))["error"]["code"], 40009);
}

#[test]
fn a_call_that_takes_too_long_gets_an_error_and_its_late_answer_goes_nowhere() {
    let mut case = case();
    let a = case.create(1, A, "a");
    call(&mut case, 2);
    case.now = seconds(30);
    call(&mut case, 3);
    case.now = seconds(60);
    case.handle(Input::Tick);
    assert_eq!(case.out[0], Output::TimedOut(a, 1));
    assert_eq!(case.told(), [(json!(2), 40003)]);
    assert_eq!(case.session.deadline(), Some(seconds(65)), "buffers may rest before call 3 is due");
    let late = success(2, &json!(null));
    assert_eq!(case.handle(Input::FromBackend(a, &late)), [Output::Late]);
    let answer = success(3, &json!(null));
    assert_eq!(case.handle(Input::FromBackend(a, &answer)), [Output::RelayToClient]);
    case.now = seconds(90);
    assert_eq!(case.handle(Input::Tick), []);
    assert_eq!(case.session.deadline(), None, "nothing to wait for");
}

#[test]
fn an_id_used_again_after_its_call_timed_out_gets_its_own_answer() {
    let mut case = case();
    let a = case.create(1, A, "a");
    call(&mut case, 2);
    case.now = seconds(60);
    case.handle(Input::Tick);
    call(&mut case, 2);
    let answer = success(2, &json!(null));
    assert_eq!(case.handle(Input::FromBackend(a, &answer)), [Output::Late]);
    assert_eq!(case.handle(Input::FromBackend(a, &answer)), [Output::RelayToClient]);
}

#[test]
fn a_new_pipeline_that_takes_too_long_gives_its_place_back_once() {
    let mut case = case();
    let a = case.create(1, A, "a");
    case.handle(Input::FromClient(&request(2, "create", &json!({"type": "MediaPipeline"}))));
    case.handle(Input::Placed(Ticket(2), Ok(backend("a"))));
    case.now = seconds(60);
    case.handle(Input::Tick);
    assert_eq!(case.out[..2], [Output::TimedOut(a, 1), Output::NotCreated(Ticket(2))]);
    assert_eq!(case.told(), [(json!(2), 40003)]);
    assert_eq!(case.session.sizes().pipelines, 1, "none is being made");
    let late = success(2, &json!(B));
    assert_eq!(case.handle(Input::FromBackend(a, &late)), [Output::Late]);
    assert_eq!(case.session.pipelines().collect::<Vec<_>>(), [pipeline(A)]);
}

#[test]
fn a_release_that_was_late_is_one_all_the_same() {
    let mut case = case();
    let a = case.create(1, A, "a");
    case.handle(Input::FromClient(&request(2, "release", &json!({"object": A}))));
    case.now = seconds(60);
    case.handle(Input::Tick);
    assert_eq!(case.session.pipelines().count(), 1, "nobody knows yet");
    let late = success(2, &json!(null));
    let gone = [Output::Released(pipeline(A)), Output::Late];
    assert_eq!(case.handle(Input::FromBackend(a, &late)), gone);
}

#[test]
fn a_session_that_a_backend_does_not_close_in_time_is_closed_for_the_client() {
    let mut case = case();
    let a = case.create(1, A, "a");
    case.handle(Input::FromClient(&request(2, "closeSession", &json!({}))));
    case.now = seconds(60);
    case.handle(Input::Tick);
    assert_eq!(case.out[..2], [Output::TimedOut(a, 1), Output::Unheld(pipeline(A))]);
    assert_eq!(case.told(), [(json!(2), 0)]);
    let closed = r#"{"id":2,"jsonrpc":"2.0","result":null}"#;
    assert_eq!(case.handle(Input::FromBackend(a, closed)), [Output::Late]);
}

#[test]
fn the_edges_own_call_has_the_same_deadline_and_nobody_is_told() {
    let mut case = case();
    let a = case.create(1, A, "a");
    cut(&mut case, a);
    assert_eq!(again(&mut case, a), [Value::Null; 0]);
    case.now = case.now + Duration::from_secs(60);
    assert_eq!(case.handle(Input::Tick), [Output::TimedOut(a, 1)]);
    let own = r#"{"id":"pinfold-tie-2","jsonrpc":"2.0","result":{"sessionId":"x"}}"#;
    assert_eq!(case.handle(Input::FromBackend(a, own)), [Output::Late]);
    let open = &case.session.links[a.0].phase;
    assert!(matches!(open, Phase::Open { is_tied: true, .. }), "if late");
}

#[test]
fn a_call_that_timed_out_is_not_sent_again() {
    let mut case = Case::with(Bounds { call_timeout: Duration::from_secs(2), ..bounds() });
    let a = case.create(1, A, "a");
    call(&mut case, 2);
    case.now = seconds(2);
    case.handle(Input::Tick);
    call(&mut case, 3);
    cut(&mut case, a);
    assert_eq!(case.told(), [], "told before");
    case.now = seconds(5);
    case.handle(Input::Tick);
    assert_eq!(case.told(), [(json!(3), 40003)], "also while it waits for its link");
    assert_eq!(again(&mut case, a), [Value::Null; 0]);
}

#[test]
fn an_idle_session_owns_no_buffer_and_waits_for_nothing() {
    let mut case = case();
    assert_eq!(case.session.deadline(), None);
    let a = case.create(1, A, "a");
    assert_eq!(case.session.deadline(), Some(seconds(5)));
    case.now = seconds(5);
    case.handle(Input::Tick);
    assert_eq!(case.session.deadline(), None);
    assert!(!case.session.links[a.0].sent().owns_buffer());
}

/// A client that only listens sends nothing that would open its link again.
#[test]
fn a_link_that_is_not_there_is_opened_again_from_time_to_time_while_the_session_has_something_there()
 {
    let mut case = case();
    let a = case.create(1, A, "a");
    case.now = seconds(10);
    case.handle(Input::Tick);
    assert_eq!(cut(&mut case, a), [Output::OpenLink(a, backend("a"))]);
    let unreachable = Input::LinkFailed(a, LinkFailure::Unreachable);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        assert_eq!(case.handle(Input::LinkFailed(a, LinkFailure::Unreachable)), []);
        let due = case.session.deadline().unwrap();
        pauses.push(due.since(case.now).as_secs());
        case.now = due;
        assert_eq!(case.handle(Input::Tick), [Output::OpenLink(a, backend("a"))]);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(again(&mut case, a), [Value::Null; 0]);
    let tied = format!(
        r#"{{"id":{},"jsonrpc":"2.0","result":{{"sessionId":"x"}}}}"#,
        own_id(case.out.last().unwrap())
    );
    assert_eq!(case.handle(Input::FromBackend(a, &tied)), []);
    case.now = case.now + Duration::from_secs(60);
    case.handle(Input::Tick);
    assert_eq!(case.session.deadline(), None, "it is there");

    cut(&mut case, a);
    case.handle(unreachable);
    assert_eq!(case.session.deadline(), Some(case.now + Duration::from_secs(1)), "anew");
    case.handle(Input::LinkFailed(a, LinkFailure::Lost));
    case.now = case.now + Duration::from_secs(60);
    assert_eq!(case.handle(Input::Tick), []);
    assert_eq!(case.session.deadline(), None, "nothing is left there");
}

/// The raw id of the edge's own call.
fn own_id(output: &Output) -> String {
    let Output::ToBackend(_, text) = output else { panic!("{output:?}") };
    serde_json::from_str::<Value>(text).unwrap()["id"].to_string()
}

/// Whatever waits behind a slow call counts for it too: Kurento answers in order.
#[test]
fn answers_to_calls_that_make_something_tell_how_their_backend_does() {
    let mut case = case();
    let a = case.create(1, A, "a");
    assert_eq!(case.tried, [Tried::Made(CallClass::Pipeline, Duration::ZERO)]);
    let element = json!({"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": A}});
    let made = json!(format!("{A}/bbbbbbbb-0000-4000-8000-000000000001_kurento.WebRtcEndpoint"));
    let refusal = |id: u32, code: i32| {
        json!({"id": id, "jsonrpc": "2.0", "error": {"code": code, "message": "no"}}).to_string()
    };
    let took = Duration::from_secs(3);
    for (id, answer, tried) in [
        (2, success(2, &made), vec![Tried::Made(CallClass::Element, took)]),
        (3, refusal(3, 40009), vec![Tried::Refused]),
        (4, refusal(4, 40101), vec![]),
    ] {
        case.tried.clear();
        case.handle(Input::FromClient(&request(id, "create", &element)));
        case.now = case.now + took;
        case.handle(Input::FromBackend(a, &answer));
        assert_eq!(case.tried, tried, "{answer}");
    }
    case.tried.clear();
    case.handle(Input::FromClient(&describe(5, A)));
    case.handle(Input::FromBackend(a, &success(5, &json!(null))));
    assert_eq!(case.tried, [], "of other calls nothing is known");
}
