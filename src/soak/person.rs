//! A participant: joins a meeting, calls all the time, builds anew what it lost, leaves.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::books::Books;
use super::caller::{Call, Caller, INVALID_SESSION, Outcome};
use super::room::Room;
use crate::load::OFFER_SDP;
use crate::model::{Draws, Time};

/// The object is not there.
const OBJECT_NOT_FOUND: i64 = 40101;

/// Calls made at once, at most.
const BURST_MAX: usize = 4;

/// Elements that a participant has, at most.
const ELEMENTS_MAX: usize = 3;

/// Mean pause between two bursts.
const PAUSE: Duration = Duration::from_millis(1_500);

/// Mean pause after a refusal, and while the host has no pipeline.
const RETRY: Duration = Duration::from_millis(150);

/// Of so many bursts one is followed by a cut of the own connection.
const CUT_ONE_IN: usize = 40;

/// What a participant does in a meeting.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) role: Role,
    /// Time before it joins.
    pub(super) joins_after: Duration,
    /// Time it stays; the end of the meeting ends it too.
    pub(super) stay: Duration,
}

/// Whose pipeline a participant uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Makes the pipeline that guests share, and ends the meeting.
    Host,
    /// Uses the host's.
    Guest,
    /// Makes one of its own in the same meeting.
    Apart,
}

/// What a participant has in its meeting.
#[derive(Debug)]
struct Place {
    pipeline: String,
    elements: Vec<String>,
}

/// One participant, in one meeting after the other.
#[derive(Debug)]
pub(super) struct Person {
    caller: Caller,
    books: Books,
    draws: Draws,
    place: Option<Place>,
    /// When it lost its last pipeline, until it has another.
    lost_at: Option<Time>,
}

impl Person {
    /// Somebody who is nowhere yet.
    pub(super) fn new(caller: Caller, books: Books, draws: Draws) -> Self {
        Self { caller, books, draws, place: None, lost_at: None }
    }

    /// Takes part in `room` from joining to leaving.
    pub(super) async fn attend(&mut self, room: &Room, visit: &Visit) {
        self.caller.meeting.clone_from(&room.name);
        self.idle(visit.joins_after, &room.over).await;
        let until = self.books.now() + visit.stay;
        while self.books.now() < until && !room.over.is_cancelled() {
            let pause = match self.place {
                Some(_) => self.act(room, visit.role).await,
                None => self.join(room, visit.role).await,
            };
            let pause = pause.mul_f64(0.5 + self.draws.fraction());
            self.idle(pause, &room.over).await;
        }
        self.leave(room, visit.role).await;
    }

    /// Closes session and connection.
    pub(super) async fn close(&mut self) {
        self.caller.close().await;
    }

    async fn idle(&mut self, time: Duration, over: &CancellationToken) {
        // Ended early, it has lost nothing: what comes is read later.
        over.run_until_cancelled(self.caller.idle(time)).await;
    }

    /// Tries to get a place; returns how long to wait before what comes next.
    async fn join(&mut self, room: &Room, role: Role) -> Duration {
        let (call, shared) = match role {
            Role::Host | Role::Apart => (create_pipeline(&room.name), None),
            Role::Guest => {
                let Some(pipeline) = room.pipeline() else { return RETRY };
                (create_element(&pipeline, "PassThrough"), Some(pipeline))
            }
        };
        let outcome = self.caller.call_one(call).await;
        let Outcome::Answered(result, times) = outcome else {
            self.judge_without_place(&outcome);
            return RETRY;
        };
        let made = self.value_of(&result);
        let place = match shared {
            Some(pipeline) => Place { pipeline, elements: vec![made] },
            None => {
                self.books.enter(|ledger, _| ledger.created(&room.name, &made, times));
                if role == Role::Host {
                    room.shared.send_replace(Some(made.clone()));
                }
                Place { pipeline: made, elements: Vec::new() }
            }
        };
        self.place = Some(place);
        if let Some(lost_at) = self.lost_at.take() {
            self.books.enter(|ledger, now| ledger.counts_mut().rebuilt(now.since(lost_at)));
        }
        Duration::ZERO
    }

    /// A burst of calls; returns how long to wait before what comes next.
    async fn act(&mut self, room: &Room, role: Role) -> Duration {
        let Some(place) = &mut self.place else { return RETRY };
        let count = 1 + self.draws.below(BURST_MAX);
        let calls: Vec<Call> = (0..count).map(|_| draw_call(place, &mut self.draws)).collect();
        let outcomes = self.caller.call(calls.clone()).await;
        let mut pause = PAUSE;
        for (call, outcome) in calls.iter().zip(outcomes) {
            match outcome {
                Outcome::Answered(result, _) => self.learn(call, &result),
                Outcome::Refused(code @ (OBJECT_NOT_FOUND | INVALID_SESSION)) => {
                    self.lose(room, role, code);
                    pause = Duration::ZERO;
                }
                Outcome::GivenUp => {
                    self.lose(room, role, INVALID_SESSION);
                    pause = Duration::ZERO;
                }
                Outcome::Refused(_) | Outcome::Silent => {}
            }
        }
        if self.draws.below(CUT_ONE_IN) == 0 {
            self.caller.cut();
        }
        pause
    }

    /// What an answer means for what the participant has.
    fn learn(&mut self, call: &Call, result: &Value) {
        let (object, operation) = (&call.params["object"], &call.params["operation"]);
        if call.method == "create" {
            let made = self.value_of(result);
            if let Some(place) = &mut self.place {
                place.elements.push(made);
            }
        } else if operation == "getName" && result["value"] != *object {
            self.wrong(&format!("{object} has the name {result}"));
        }
    }

    /// The pipeline is gone, or the session with it.
    fn lose(&mut self, room: &Room, role: Role, code: i64) {
        if code == INVALID_SESSION {
            self.caller.begin_anew();
        }
        let Some(place) = self.place.take() else { return };
        if role == Role::Host {
            room.shared.send_replace(None);
        }
        let client = self.caller.number();
        let was_lost = self.books.enter(|ledger, now| {
            let at = (&*room.name, &*place.pipeline);
            ledger.lost(at, (client, code), now).then_some(now)
        });
        self.lost_at = self.lost_at.or(was_lost);
    }

    /// A call that was to give a place did not.
    fn judge_without_place(&mut self, outcome: &Outcome) {
        if *outcome == Outcome::Refused(INVALID_SESSION) {
            self.caller.begin_anew();
        }
    }

    /// Releases what it has, and ends the meeting if it is the host.
    async fn leave(&mut self, room: &Room, role: Role) {
        if role == Role::Host {
            room.over.cancel();
            room.shared.send_replace(None);
        }
        self.lost_at = None;
        let Some(place) = self.place.take() else { return };
        let releases = match role {
            Role::Host | Role::Apart => {
                self.books.enter(|ledger, _| ledger.releasing(&room.name, &place.pipeline));
                vec![release(&place.pipeline)]
            }
            Role::Guest => {
                let elements = place.elements.iter();
                elements.map(|element| release(element)).collect()
            }
        };
        self.caller.call(releases).await;
    }

    /// The id in an answer to `create`.
    fn value_of(&self, result: &Value) -> String {
        let Some(value) = result["value"].as_str() else {
            self.wrong(&format!("a create was answered {result}"));
            return String::new();
        };
        value.to_owned()
    }

    fn wrong(&self, what: &str) {
        let what = format!("client {}: {what}", self.caller.number());
        self.books.enter(|ledger, now| ledger.wrong_answer(&self.caller.meeting, what, now));
    }
}

/// One of the calls that make sense in `place`. An element that is to be released is out of it at
/// once, so that no later call of the burst is about it.
fn draw_call(place: &mut Place, draws: &mut Draws) -> Call {
    let count = place.elements.len();
    let at = draws.below(count);
    let draw = draws.below(16);
    if draw == 5 && count > 1 {
        return release(&place.elements.remove(at));
    }
    match (draw, place.elements.get(at)) {
        (0, _) => Call { method: "ping", params: json!({}), pipeline: None },
        (1..=4, Some(element)) => describe(element, &place.pipeline),
        (6..=7, _) if count < ELEMENTS_MAX => create_element(&place.pipeline, "PassThrough"),
        (8, _) if count < ELEMENTS_MAX => create_element(&place.pipeline, "WebRtcEndpoint"),
        (9, Some(element)) => offer(element, &place.pipeline),
        (10..=12, Some(element)) => name_of(element, &place.pipeline),
        _ => name_of(&place.pipeline, &place.pipeline),
    }
}

fn create_pipeline(meeting: &str) -> Call {
    let params = json!({"type": "MediaPipeline", "properties": {"meeting": meeting}});
    Call { method: "create", params, pipeline: None }
}

fn create_element(pipeline: &str, kind: &str) -> Call {
    let params = json!({"type": kind, "constructorParams": {"mediaPipeline": pipeline}});
    Call { method: "create", params, pipeline: Some(pipeline.to_owned()) }
}

fn describe(object: &str, pipeline: &str) -> Call {
    let params = json!({"object": object});
    Call { method: "describe", params, pipeline: Some(pipeline.to_owned()) }
}

fn name_of(object: &str, pipeline: &str) -> Call {
    let params = json!({"object": object, "operation": "getName"});
    Call { method: "invoke", params, pipeline: Some(pipeline.to_owned()) }
}

/// An offer of media, which elements that are no endpoints refuse.
fn offer(element: &str, pipeline: &str) -> Call {
    let offer = json!({"offer": OFFER_SDP});
    let params = json!({"object": element, "operation": "processOffer", "operationParams": offer});
    Call { method: "invoke", params, pipeline: Some(pipeline.to_owned()) }
}

/// A release succeeds for what is not there too, so it shows nothing of its pipeline.
fn release(object: &str) -> Call {
    Call { method: "release", params: json!({"object": object}), pipeline: None }
}
