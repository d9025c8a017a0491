use super::*;

const SECOND: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// A ledger with two backends, and clients 1 and 2 in the meeting "m".
struct Books {
    ledger: Ledger,
    a: ProcessNumber,
    b: ProcessNumber,
    next_id: u64,
}

impl Books {
    fn new() -> Self {
        let mut ledger = Ledger::new(ANSWER_WITHIN);
        let a = ledger.process_started("a.1".to_owned());
        let b = ledger.process_started("b.1".to_owned());
        Self { ledger, a, b, next_id: 0 }
    }

    fn send(&mut self, client: u32, pipeline: Option<&str>, now: Time) -> CallId {
        self.next_id += 1;
        let id = CallId { client, id: self.next_id };
        self.send_again(id, (1, pipeline), now);
        id
    }

    fn send_again(&mut self, id: CallId, (connection, pipeline): (u32, Option<&str>), now: Time) {
        let pipeline = pipeline.map(str::to_owned);
        let note = CallNote { meeting: "m".to_owned(), method: "invoke", pipeline };
        self.ledger.sent(id, connection, (&note, "{}"), now);
    }

    fn answer(&mut self, id: CallId, now: Time) -> bool {
        self.ledger.came(id, Answer { outcome: Ok(()), text: "{}" }, now)
    }

    /// `client` is told of `pipeline` at `now`, and `home` has shown it.
    fn create(&mut self, client: u32, (pipeline, home): (&str, ProcessNumber), now: Time) {
        let id = self.send(client, None, now);
        self.answer(id, now);
        self.ledger.placed(pipeline, home, now);
        self.ledger.created("m", pipeline, (now, now));
    }

    /// A call of `client` about `pipeline` succeeds.
    fn use_it(&mut self, client: u32, pipeline: &str, now: Time) {
        let id = self.send(client, Some(pipeline), now);
        self.answer(id, now);
    }

    /// Closes the books; what was found, each as often as it was.
    fn found(&mut self, now: Time) -> Vec<Kind> {
        self.ledger.close(now);
        let counts = self.ledger.counts();
        let of = |kind: &Kind| (0..counts.violations(*kind)).map(|_| *kind).collect::<Vec<_>>();
        Kind::ALL.iter().flat_map(of).collect()
    }
}

#[test]
fn calls_that_are_answered_refused_or_given_up_add_up() {
    let mut books = Books::new();
    let [answered, refused, given_up] = [1, 1, 2].map(|client| books.send(client, None, at(0)));
    assert!(books.answer(answered, at(1)));
    assert!(books.ledger.came(refused, Answer { outcome: Err(40009), text: "{}" }, at(1)));
    books.ledger.cut(2, at(1));
    books.ledger.given_up(given_up);
    assert_eq!(books.found(at(2)), []);
    let counts = books.ledger.counts();
    assert_eq!((counts.calls, counts.answered, counts.given_up, counts.cut), (3, 1, 1, 1));
    assert_eq!(counts.refused[&("invoke", 40009)], 1);
}

#[test]
fn a_call_without_an_answer_is_a_silent_loss() {
    let mut books = Books::new();
    let id = books.send(1, None, at(0));
    assert_eq!(books.ledger.overdue_in(1, at(4)), Some(SECOND * 6));
    assert!(books.ledger.overdue(1, at(9)).is_empty());
    assert_eq!(books.ledger.overdue(1, at(10)), [id.id]);
    assert!(!books.answer(id, at(11)), "it comes late");
    assert_eq!(books.found(at(12)), [Kind::Silent]);
    assert_eq!(books.ledger.counts().late, 1);
    let violation = &books.ledger.violations()[0];
    assert!(violation.what.contains("client 1 id 1"), "{violation:?}");
    assert!(violation.trail.iter().any(|line| line.contains("client 1 connection 1 >")));
}

#[test]
fn a_call_that_is_open_at_the_end_is_a_silent_loss_too() {
    let mut books = Books::new();
    books.send(1, None, at(0));
    assert_eq!(books.found(at(1)), [Kind::Silent]);
}

#[test]
fn a_call_that_is_cut_and_sent_again_is_one_call_and_waits_anew() {
    let mut books = Books::new();
    let id = books.send(1, None, at(0));
    books.ledger.cut(1, at(5));
    assert_eq!(books.ledger.overdue_in(1, at(100)), None, "a cut is not silent");
    books.send_again(id, (2, None), at(100));
    assert!(books.ledger.overdue(1, at(105)).is_empty());
    assert!(books.answer(id, at(105)));
    assert!(!books.answer(id, at(106)), "the answer to the first sending is no second one");
    assert_eq!(books.found(at(107)), []);
    let counts = books.ledger.counts();
    assert_eq!((counts.calls, counts.resent, counts.answered_each), (1, 1, 1));
}

#[test]
fn a_second_answer_and_one_to_no_call_are_found() {
    let mut books = Books::new();
    let id = books.send(1, None, at(0));
    books.answer(id, at(1));
    books.answer(id, at(2));
    books.answer(CallId { client: 1, id: 99 }, at(3));
    assert_eq!(books.found(at(4)), [Kind::Twice, Kind::Unasked]);
}

#[test]
fn two_pipelines_served_on_two_backends_at_once_are_a_split() {
    let mut books = Books::new();
    let (a, b) = (books.a, books.b);
    books.create(1, ("p", a), at(0));
    books.create(2, ("q", b), at(1));
    books.use_it(2, "q", at(2));
    assert_eq!(books.ledger.counts().violations(Kind::Split), 0, "p may be gone by now");
    books.use_it(1, "p", at(3));
    books.use_it(1, "p", at(4));
    assert_eq!(books.found(at(5)), [Kind::Split], "told once");
    let what = &books.ledger.violations()[0].what;
    assert!(what.contains("p on a.1") && what.contains("q on b.1"), "{what}");
}

#[test]
fn a_meeting_that_moved_after_a_loss_is_not_split() {
    let mut books = Books::new();
    let (a, b) = (books.a, books.b);
    books.create(1, ("p", a), at(0));
    books.use_it(1, "p", at(1));
    // One more call was under way when the backend stood still; it is refused later.
    let late = books.send(2, Some("p"), at(2));
    books.ledger.troubled(a, Trouble::Frozen, at(2));
    assert!(books.ledger.lost(("m", "p"), (1, 40101), at(5)));
    books.create(1, ("q", b), at(6));
    books.use_it(1, "q", at(7));
    books.ledger.came(late, Answer { outcome: Err(40101), text: "{}" }, at(8));
    assert!(books.ledger.lost(("m", "p"), (2, 40101), at(8)));
    assert_eq!(books.found(at(9)), []);
    assert_eq!(books.ledger.told_after(Trouble::Frozen), [SECOND * 3]);
}

#[test]
fn an_answer_that_came_late_to_an_early_call_is_no_split() {
    let mut books = Books::new();
    let (a, b) = (books.a, books.b);
    books.create(1, ("p", a), at(0));
    let early = books.send(1, Some("p"), at(1));
    books.create(2, ("q", b), at(5));
    books.use_it(2, "q", at(6));
    // It may have been carried out before q was made.
    books.answer(early, at(7));
    assert_eq!(books.found(at(8)), []);
}

#[test]
fn remnants_that_are_served_again_are_a_split() {
    let mut books = Books::new();
    let (a, b) = (books.a, books.b);
    books.create(1, ("p", a), at(0));
    books.ledger.troubled(a, Trouble::Frozen, at(1));
    books.ledger.lost(("m", "p"), (1, 40101), at(4));
    books.create(1, ("q", b), at(5));
    books.use_it(1, "q", at(6));
    books.use_it(2, "p", at(7));
    assert_eq!(books.found(at(8)), [Kind::Split]);
}

#[test]
fn a_backend_may_tell_of_a_pipeline_after_its_client_does() {
    let mut books = Books::new();
    let (a, b) = (books.a, books.b);
    books.create(1, ("p", a), at(0));
    let create = books.send(2, None, at(1));
    books.answer(create, at(1));
    books.ledger.created("m", "q", (at(1), at(1)));
    books.use_it(2, "q", at(2));
    books.use_it(1, "p", at(2));
    books.ledger.placed("q", b, at(3));
    assert_eq!(books.found(at(4)), [Kind::Split]);
}

#[test]
fn a_pipeline_that_no_backend_has_is_found() {
    let mut books = Books::new();
    books.ledger.created("m", "p", (at(0), at(0)));
    books.use_it(1, "p", at(5));
    assert_eq!(books.ledger.counts().violations(Kind::Homeless), 0);
    books.use_it(1, "p", at(11));
    books.use_it(1, "p", at(12));
    assert_eq!(books.found(at(13)), [Kind::Homeless], "told once");
}

#[test]
fn a_loss_needs_a_cause() {
    let mut books = Books::new();
    let (a, b) = (books.a, books.b);
    books.create(1, ("p", a), at(0));
    books.create(2, ("q", a), at(0));
    books.create(2, ("r", b), at(0));
    books.ledger.troubled(a, Trouble::Killed, at(1));
    assert!(books.ledger.lost(("m", "p"), (1, 40101), at(3)));
    assert!(books.ledger.lost(("m", "q"), (2, 40007), at(4)));
    assert_eq!(
        books.ledger.told_after(Trouble::Killed),
        [SECOND * 2],
        "the first that is told counts"
    );
    assert!(books.ledger.lost(("m", "r"), (2, 40101), at(5)));
    assert_eq!(books.found(at(6)), [Kind::WrongLoss]);
}

#[test]
fn trouble_explains_only_the_loss_of_what_was_there() {
    let mut books = Books::new();
    let a = books.a;
    books.create(1, ("old", a), at(0));
    books.ledger.troubled(a, Trouble::Frozen, at(1));
    books.ledger.calmed(a, at(5));
    books.create(1, ("new", a), at(6));
    assert!(books.ledger.lost(("m", "old"), (2, 40101), at(7)));
    assert_eq!(books.ledger.counts().violations(Kind::WrongLoss), 0);
    assert!(books.ledger.lost(("m", "new"), (1, 40101), at(8)));
    assert_eq!(books.found(at(9)), [Kind::WrongLoss]);
}

#[test]
fn a_meeting_that_a_drain_lets_go_is_counted_once_and_no_other() {
    let mut books = Books::new();
    let (a, b) = (books.a, books.b);
    books.create(1, ("p", a), at(0));
    books.create(2, ("q", a), at(0));
    books.create(2, ("r", b), at(0));
    books.ledger.troubled(a, Trouble::LetGo, at(1));
    books.ledger.troubled(b, Trouble::Killed, at(1));
    books.ledger.lost(("m", "r"), (2, 40101), at(2));
    assert_eq!(books.ledger.counts().moved, 0);
    for (pipeline, client) in [("p", 1), ("p", 2), ("q", 2)] {
        books.ledger.lost(("m", pipeline), (client, 40101), at(3));
    }
    assert_eq!(books.ledger.counts().moved, 1);
    assert_eq!(books.found(at(4)), []);
}

#[test]
fn each_time_that_something_is_done_clients_are_told_anew() {
    let mut books = Books::new();
    let a = books.a;
    books.create(1, ("p", a), at(0));
    books.create(1, ("q", a), at(0));
    books.create(1, ("r", a), at(0));
    books.ledger.troubled(a, Trouble::LetGo, at(1));
    books.ledger.lost(("m", "p"), (1, 40101), at(2));
    books.ledger.calmed(a, at(3));
    books.ledger.troubled(a, Trouble::Frozen, at(4));
    books.ledger.lost(("m", "q"), (1, 40101), at(10));
    books.ledger.lost(("m", "r"), (1, 40101), at(12));
    assert_eq!(books.ledger.told_after(Trouble::LetGo), [SECOND]);
    assert_eq!(books.ledger.told_after(Trouble::Frozen), [SECOND * 6]);
}

#[test]
fn what_another_client_released_is_not_lost() {
    let mut books = Books::new();
    let a = books.a;
    books.create(1, ("p", a), at(0));
    books.ledger.releasing("m", "p");
    assert!(!books.ledger.lost(("m", "p"), (2, 40101), at(1)));
    assert_eq!(books.found(at(2)), []);
    assert_eq!(books.ledger.counts().losses, 0);
}

#[test]
fn a_wrong_answer_is_found() {
    let mut books = Books::new();
    books.ledger.wrong_answer("m", "of another".to_owned(), at(1));
    assert_eq!(books.found(at(2)), [Kind::WrongAnswer]);
}

#[test]
fn outcomes_that_do_not_add_up_are_found() {
    let mut books = Books::new();
    books.use_it(1, "p", at(0));
    books.ledger.counts_mut().calls += 1;
    assert_eq!(books.found(at(1)), [Kind::Unbalanced]);
}

#[test]
fn the_books_stay_small() {
    let mut books = Books::new();
    let a = books.a;
    for round in 0..1_000 {
        let pipeline = format!("p-{round}");
        books.create(1, (&pipeline, a), at(round));
        books.use_it(1, &pipeline, at(round));
        books.ledger.placed(&format!("stranger-{round}"), a, at(round));
        books.ledger.over("m");
        books.ledger.tidy(at(round));
    }
    let Ledger { open, meetings, homeless, strangers, .. } = &books.ledger;
    assert_eq!((open.len(), meetings.len(), homeless.len()), (0, 0, 0));
    assert!(strangers.len() <= 20, "{}", strangers.len());
    assert_eq!(books.found(at(1_000)), []);
}

#[test]
fn further_violations_are_counted_and_not_kept() {
    let mut books = Books::new();
    for _ in 0..100 {
        books.send(1, None, at(0));
    }
    assert_eq!(books.found(at(1)).len(), 100);
    assert_eq!(books.ledger.violations().len(), violation::KEPT_MAX);
}
