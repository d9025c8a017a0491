//! An asker whose backends say what the test says.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;
use crate::fleet::stub::StubFleet;
use crate::model::{Legs, Time};
use crate::runtime::Clock;

const BOUNDS: AskerBounds = AskerBounds { per_second: 1_000, wait: Duration::from_secs(60) };

struct Case {
    fleet: StubFleet,
    asker: Asker,
}

/// One that waits for no turn.
const NOTED: Payer<'static> = Payer::Noted;

impl Case {
    fn new(count: usize, bounds: AskerBounds) -> Self {
        let fleet = StubFleet::start(count, Legs(1));
        let (handle, timer) = (fleet.handle.clone(), Arc::new(Clock::start()));
        Self { fleet, asker: Asker::asking_as(session(0), handle, timer, bounds) }
    }

    /// Asks who has a session; the backends say `answers`, in order.
    async fn ask(&mut self, number: u128, answers: Vec<Answered>) -> Finding<Vec<BackendId>> {
        let told = async {
            for (line, answer) in self.fleet.lines.iter_mut().zip(answers) {
                line.recv().await.unwrap().answer.send(answer).unwrap();
            }
        };
        let (found, ()) = tokio::join!(self.asker.who_has_session(session(number), NOTED), told);
        found.map(|held| held.backends.iter().map(|view| view.id.clone()).collect())
    }
}

fn session(number: u128) -> SessionId {
    SessionId::from_random(number)
}

fn yes() -> Answered {
    Answered::Value(String::new())
}

const NO: Answered = Answered::Error(INVALID_SESSION);

#[tokio::test]
async fn unknown_is_what_every_backend_has_denied() {
    let mut case = Case::new(2, BOUNDS);
    case.fleet.answer(0, 1, Health::Healthy).await;
    case.fleet.answer(1, 1, Health::Healthy).await;
    let not_sure = Finding::NotSure(RETRY_AFTER_MS);
    assert_eq!(case.ask(1, vec![NO, Answered::Nothing]).await, not_sure);
    assert_eq!(case.ask(1, vec![NO, Answered::Error(40003)]).await, not_sure, "nor remembered");
    assert_eq!(case.ask(1, vec![NO, NO]).await, Finding::Unknown);
    assert_eq!(case.ask(1, Vec::new()).await, Finding::Unknown, "nobody is asked again");
    let known = Finding::Known(vec![crate::fleet::stub::id(1)]);
    assert_eq!(case.ask(2, vec![Answered::Nothing, yes()]).await, known);
}

#[tokio::test]
async fn a_backend_that_was_not_heard_from_is_waited_for() {
    let mut case = Case::new(1, BOUNDS);
    {
        let mut asking = std::pin::pin!(case.asker.who_has_session(session(1), NOTED));
        assert!(asking.as_mut().now_or_never().is_none());
        assert!(case.fleet.lines[0].try_recv().is_err(), "it is not asked yet");
        case.fleet.answer(0, 1, Health::Healthy).await;
        let answer = async {
            case.fleet.lines[0].recv().await.unwrap().answer.send(yes()).unwrap();
        };
        let (found, ()) = tokio::join!(asking, answer);
        assert!(matches!(found, Finding::Known(held) if held.backends.len() == 1 && held.is_all));
    }
    // One that is given up has nothing any more.
    let mut case = Case::new(1, BOUNDS);
    {
        let mut asking = std::pin::pin!(case.asker.who_has_session(session(1), NOTED));
        assert!(asking.as_mut().now_or_never().is_none());
        case.fleet.fail(0, Health::Unknown).await;
        case.fleet.fail(0, Health::Unknown).await;
        case.fleet.fail(0, Health::Ejected).await;
        assert!(matches!(asking.await, Finding::Unknown));
    }
    // Before it is readmitted it gets nothing new, and tells what it has.
    case.fleet.answer(0, 2, Health::Trial).await;
    assert!(matches!(case.ask(2, vec![yes()]).await, Finding::Known(_)));
}

#[tokio::test]
async fn who_is_not_heard_from_in_time_leaves_it_open() {
    let mut case = Case::new(1, AskerBounds { wait: Duration::ZERO, ..BOUNDS });
    assert_eq!(case.ask(1, Vec::new()).await, Finding::NotSure(RETRY_AFTER_MS));
    case.fleet.answer(0, 1, Health::Healthy).await;
    assert!(matches!(case.ask(1, vec![yes()]).await, Finding::Known(_)), "it was not remembered");
}

/// A clock that stands still until it is moved; who sleeps is only woken by being asked.
#[derive(Clone, Debug, Default)]
struct Still(Arc<Mutex<Time>>);

impl Still {
    fn is_at(&self, seconds: u64) {
        *self.0.lock().unwrap() = Time::ZERO + Duration::from_secs(seconds);
    }
}

impl Timer for Still {
    fn now(&self) -> Time {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (clock, until) = (self.clone(), self.now() + duration);
        poll_fn(move |_| if clock.now() < until { Poll::Pending } else { Poll::Ready(()) }).boxed()
    }

    fn unix_millis(&self) -> u64 {
        self.now().as_micros() / 1_000
    }
}

#[test]
fn one_connection_runs_out_and_the_others_do_not() {
    let (clock, shared) = (Still::default(), Turns::per_second(100));
    let (greedy, other) = (Quota::default(), Quota::default());
    for _ in 0..20 {
        assert_eq!(greedy.turn(&shared, &clock).now_or_never(), Some(Ok(())));
    }
    let mut waits = Box::pin(greedy.turn(&shared, &clock));
    let mut behind = Box::pin(greedy.turn(&shared, &clock));
    assert_eq!((poll(&mut waits), poll(&mut behind)), (None, None));
    assert_eq!(other.turn(&shared, &clock).now_or_never(), Some(Ok(())));
    clock.is_at(1);
    assert_eq!((poll(&mut behind), poll(&mut waits)), (None, Some(Ok(()))), "one at a time");
    drop(waits);
    assert_eq!(poll(&mut behind), Some(Ok(())));
    // What was there costs nothing.
    let known = Quota::default();
    for _ in 0..100 {
        assert_eq!(known.turn(&Turns::per_second(1), &clock).now_or_never(), Some(Ok(())));
        known.refund(clock.now());
    }
}

#[test]
fn a_herd_waits_for_its_turns_and_what_is_too_much_is_told_when_to_try_again() {
    let (clock, shared) = (Still::default(), Turns::per_second(2));
    let quotas: Vec<_> = (0..23).map(|_| Quota::default()).collect();
    let turns = quotas.iter().map(|quota| Box::pin(quota.turn(&shared, &clock)));
    let mut turns: Vec<_> = turns.collect();
    let now: Vec<_> = turns.iter_mut().map(poll).collect();
    assert_eq!(now[..2], [Some(Ok(())); 2], "they go at once");
    assert_eq!(now[2..22], [None; 20], "they wait, 10 s at most");
    assert_eq!(now[22], Some(Err(10_500)));
    // Who leaves makes room for another.
    drop(turns.remove(21));
    drop(turns.remove(2));
    let late = Quota::default();
    assert_eq!(poll(&mut Box::pin(late.turn(&shared, &clock))), None);
    clock.is_at(10);
    assert!(turns[2..20].iter_mut().all(|turn| poll(turn) == Some(Ok(()))));
}

fn poll<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}
