//! The state machine of one client connection: calls, objects, links.
//!
//! Pure. It is told what happened ([`Input`]) and says what to do ([`Output`]); whoever drives it owns
//! the sockets and does it in that order. A message that has a place to go is never rebuilt: the
//! output says "relay what you just handed me". What has to wait, for a place or for a link, is copied
//! and bounded.
//!
//! Order: messages of a client reach one backend in the order they were sent, except that one which
//! has to wait for a *place* (a new pipeline, or an object met for the first time) may be overtaken by
//! messages about other pipelines.
//!
//! Not here: which backend a meeting gets (`policy`, `pins`), how a link is dialled (`proxy`).

mod admit;
mod calls;
mod deadline;
mod held;
mod io;
mod learn;
mod loss;
mod manager;
mod pace;
mod resume;
mod route;
mod subscriptions;
mod texts;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::{BackendId, PipelineId, SessionId, Time};
use crate::policy::access::{Meetings, Own};
use crate::policy::guard::Rules;
use crate::protocol::answer;
use crate::protocol::error::Failure;
use crate::protocol::request::{Hints, Method, Opening};
use calls::{Call, CallId, Calls, Learn};
use held::{Budget, HeldBytes};
pub use io::{Bounds, Input, LinkFailure, LinkNo, Output, Remains, Sizes, Ticket, Tried, Wish};
use loss::Retry;
use manager::Manager;
pub use manager::{ManagerCall, ManagerScope, Subscriptions};
pub use pace::Paced;
use pace::Queue;
use resume::Tying;
use subscriptions::ObjectSubscriptions;

/// Pipelines a session knows before it first asks which of them are gone.
const PRUNE_AT_MIN: usize = 1_024;

/// One client connection.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    server_id: String,
    bounds: Bounds,
    /// Whether costly calls ask for their turn.
    is_paced: bool,
    rules: Arc<Rules>,
    /// Meetings it takes part in, kept only where that decides what it may touch.
    meetings: Meetings,
    subscriptions: ObjectSubscriptions,
    /// The time of what is being handled.
    now: Time,
    /// What the URL says of every pipeline created here.
    url: Hints,
    /// Whether it is from before this process, which so cannot know what it made.
    is_found: bool,
    /// Whether all backends are known that have it.
    is_whole: bool,
    /// Pipelines that it made before this process.
    own: Own,
    /// Whether the client has been told the session, so that it counts as the connection's own.
    is_told: bool,
    links: Vec<Link>,
    pipelines: BTreeMap<PipelineId, LinkNo>,
    prune_at: usize,
    /// Pipelines that are being made: each ends with `Created` or `NotCreated`, or finds no place.
    making: usize,
    parked: Vec<Parked>,
    placing: BTreeMap<Ticket, Placing>,
    last_ticket: u64,
    closings: BTreeMap<Ticket, Closing>,
    /// Messages that wait until it is known what the session they name holds, oldest first.
    resuming: Option<VecDeque<String>>,
    /// Whether the client has come back: another edge may still be at work on this session.
    has_moved: bool,
    /// Those wait because the client is back, until its events flow.
    tying: Option<Tying>,
    /// Whether the client has closed the session, and nothing has brought it back to life.
    is_closed: bool,
    /// Whether all that the session had was lost, and it has nothing since.
    is_bereft: bool,
    held_bytes: HeldBytes,
    manager: Manager,
}

/// A link as the session sees it.
#[derive(Debug)]
struct Link {
    backend: BackendId,
    phase: Phase,
    /// While it is opened again: calls that are then sent again, behind the edge's own and before
    /// those that wait in `phase`.
    again: Calls,
    /// When that may be at the earliest.
    again_at: Time,
    /// It is open again, and what goes over it waits until then.
    is_settling: bool,
    /// Whether there was one to that backend before, or there may be one where the client comes from.
    /// What that still brings may take the tie, so every message over this one names the session.
    had_earlier: bool,
    /// Whether the client had the session there before it came here, with more than is known of.
    is_resumed: bool,
    /// When it is opened again although no message wants it; none once it has worked.
    retry: Option<Retry>,
}

impl Link {
    fn closed(backend: BackendId) -> Self {
        let (phase, again) = (Phase::Closed, Calls::default());
        Self {
            backend,
            phase,
            again,
            again_at: Time::ZERO,
            is_settling: false,
            had_earlier: false,
            is_resumed: false,
            retry: None,
        }
    }

    /// Calls of the client that are sent and not answered, or wait to be sent.
    fn call_count(&self) -> usize {
        match &self.phase {
            Phase::Closed => 0,
            Phase::Opening(held) => {
                let own_count = usize::from(held.first().is_some_and(Held::is_own));
                held.len() - own_count + self.again.len()
            }
            Phase::Open { calls, queue, .. } => {
                calls.len() + queue.as_ref().map_or(0, |queue| queue.len())
            }
        }
    }

    /// Whether messages wait for it, or at it.
    const fn holds_back(&self) -> bool {
        matches!(self.phase, Phase::Opening(_) | Phase::Open { queue: Some(_), .. })
    }

    const fn queue_mut(&mut self) -> Option<&mut Option<Box<Queue>>> {
        match &mut self.phase {
            Phase::Closed | Phase::Opening(_) => None,
            Phase::Open { queue, .. } => Some(queue),
        }
    }

    /// Calls that were sent and are not answered.
    const fn sent(&self) -> &Calls {
        match &self.phase {
            Phase::Closed | Phase::Opening(_) => &self.again,
            Phase::Open { calls, .. } => calls,
        }
    }

    const fn sent_mut(&mut self) -> &mut Calls {
        match &mut self.phase {
            Phase::Closed | Phase::Opening(_) => &mut self.again,
            Phase::Open { calls, .. } => calls,
        }
    }
}

#[derive(Debug)]
enum Phase {
    Closed,
    /// Being dialled; these messages go when it is open. The edge's own is the first.
    Opening(Vec<Held>),
    Open {
        /// The backend has tied the link to the session, so that messages need not name it.
        is_tied: bool,
        calls: Calls,
        /// What waits for a costly call's turn.
        queue: Option<Box<Queue>>,
    },
}

/// A message that waits, with what it takes to route it again.
#[derive(Clone, Debug)]
struct Waiting {
    text: String,
    /// Places tried that turned out to be unreachable, and the last of them.
    attempts: u8,
    avoid: Option<BackendId>,
    /// Pipelines that nobody knows.
    absent: Vec<PipelineId>,
}

/// A message that waits for its link, or its turn there.
#[derive(Debug)]
struct Held {
    waiting: Waiting,
    /// Where the session can be put in, if the text does not name it.
    opening: Option<Opening>,
    call: Call,
    /// What it counts against while it waits.
    budget: Budget,
    /// Tokens it needs before it may go.
    cost: u32,
    /// When it came.
    since: Time,
}

impl Held {
    const fn is_own(&self) -> bool {
        matches!(self.call.learn, Learn::Own)
    }

    /// Whether it may wait until its link is tried once more.
    fn may_stay(&self) -> bool {
        !self.is_own() && !self.may_move() && self.waiting.attempts < route::ATTEMPTS_MAX
    }

    /// Whether it is about nothing that lives at the end of its link, so that it can go elsewhere.
    fn may_move(&self) -> bool {
        self.call.learn.creates() || self.call.goes_anywhere
    }
}

/// A message that waits until this pipeline is located.
#[derive(Debug)]
struct Parked {
    pipeline: PipelineId,
    waiting: Waiting,
}

/// A message that waits for places, asked for one after another.
#[derive(Debug)]
struct Placing {
    waiting: Waiting,
    /// Pipelines it creates: index of the operation, and hints. Empty for a call that goes anywhere.
    creates: Vec<(usize, Hints)>,
    /// Places found so far, in the order of `creates`.
    tickets: Vec<Ticket>,
    on: Option<BackendId>,
}

/// A `closeSession` that waits for all its backends.
#[derive(Debug)]
struct Closing {
    call: CallId,
    releases: bool,
    unanswered: usize,
}

impl Session {
    /// The session of a new connection. `server_id` is what `connect` tells of the edge; `url` holds
    /// the hints of the request's URL.
    #[must_use]
    pub fn new(id: SessionId, server_id: &str, url: Hints, bounds: Bounds) -> Self {
        Self {
            id,
            server_id: server_id.to_owned(),
            bounds,
            is_paced: false,
            rules: Arc::default(),
            meetings: Meetings::default(),
            subscriptions: ObjectSubscriptions::default(),
            now: Time::ZERO,
            url,
            is_found: false,
            is_whole: true,
            own: Own::new(),
            is_told: false,
            links: Vec::new(),
            pipelines: BTreeMap::new(),
            prune_at: PRUNE_AT_MIN,
            making: 0,
            parked: Vec::new(),
            placing: BTreeMap::new(),
            last_ticket: 0,
            closings: BTreeMap::new(),
            resuming: None,
            has_moved: false,
            tying: None,
            is_closed: false,
            is_bereft: false,
            held_bytes: HeldBytes::default(),
            manager: Manager::default(),
        }
    }

    /// Whether the backend of `link` owes an answer.
    #[must_use]
    pub fn is_owed(&self, link: LinkNo) -> bool {
        self.links.get(link.0).is_some_and(|link| !link.sent().is_empty())
    }

    /// Whether any backend owes an answer to a call of the client's.
    #[must_use]
    pub fn is_owed_any(&self) -> bool {
        self.links.iter().any(|link| !link.sent().is_empty())
    }

    /// The Kurento session that this connection has on every backend.
    #[must_use]
    pub const fn id(&self) -> &SessionId {
        &self.id
    }

    /// Takes in what happened at `now` and appends what to do to `out`.
    pub fn handle(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Output>) {
        self.now = now;
        let before = out.len();
        let is_loss = matches!(input, Input::LinkFailed(_, LinkFailure::Lost));
        let had_something = is_loss && self.has_something();
        self.take_in(input, out);
        let is_end =
            |output: &&Output| matches!(output, Output::Created(..) | Output::NotCreated(_));
        self.making -= out[before..].iter().filter(is_end).count();
        if self.making == 0 {
            self.manager.on_nothing_made();
        }
        self.on_less(had_something, out);
    }

    fn take_in(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::FromClient(text) => self.on_client(text, out),
            Input::TooLong => {
                let failure = Failure::invalid_request("the message is longer than the limit");
                out.push(Output::Refuse("null".to_owned(), failure));
            }
            Input::FromBackend(link, text) => self.on_backend(link, text, out),
            Input::Placed(ticket, place) => self.on_placed(ticket, place, out),
            Input::Located(pipeline, found) => self.on_located(pipeline, &found, out),
            Input::Resumed(found) => self.on_resumed(found, out),
            Input::Returned(waiting) => self.on_returned(waiting, out),
            Input::LinkOpened(link) => self.on_link_opened(link, out),
            Input::LinkFailed(link, failure) => self.on_link_failed(link, failure, out),
            Input::Paced(ticket, paced) => self.on_paced(ticket, paced, out),
            Input::NotSent(link, ticket) => self.on_not_sent(link, ticket, out),
            Input::Tick => self.on_tick(out),
            Input::Event(event) => self.on_object_event(event, out),
            Input::EventsLost(count) => self.on_events_lost(count, out),
        }
    }

    /// The pipelines this session uses.
    pub fn pipelines(&self) -> impl Iterator<Item = PipelineId> {
        self.pipelines.keys().copied()
    }

    /// Forgets pipelines that no longer exist. The answer to [`Output::Prune`].
    pub fn forget(&mut self, gone: &[PipelineId]) {
        for pipeline in gone {
            self.pipelines.remove(pipeline);
        }
        self.prune_at = PRUNE_AT_MIN.max(self.pipelines.len() * 2);
    }

    /// A pipeline that was just made may not stay, because its pin may be forgotten: destroys it.
    pub fn withdraw(&mut self, pipeline: PipelineId, out: &mut Vec<Output>) {
        let Some(link) = self.pipelines.remove(&pipeline) else { return };
        self.manager.on_released(pipeline);
        out.push(Output::Released(pipeline));
        let ticket = self.next_ticket();
        let session = &self.id;
        // A backend that this no longer reaches gives up what the session had there by itself.
        if let Phase::Open { calls, .. } = &mut self.links[link.0].phase {
            let id = format!("\"pinfold-withdraw-{}\"", ticket.0);
            let text = format!(
                r#"{{"id":{id},"jsonrpc":"2.0","method":"release","params":{{"object":"{pipeline}","sessionId":"{session}"}}}}"#
            );
            let call = Call {
                id: CallId::new(&id),
                method: Method::Release,
                goes_anywhere: false,
                learn: Learn::Own,
            };
            calls.push(call, &text, self.now, self.bounds.resend_max_bytes);
            out.push(Output::ToBackend(link, text));
        }
    }

    /// Whether a message of the client waits for a place, a link, or its turn there.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.parked.is_empty()
            || self.resuming.is_some()
            || !self.placing.is_empty()
            || self.links.iter().any(Link::holds_back)
    }

    /// How much it keeps now.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            held_bytes: self.held_bytes.place,
            paced_bytes: self.held_bytes.turn,
            calls: self.links.iter().map(Link::call_count).max().unwrap_or_default(),
            pipelines: self.pipelines.len() + self.making,
            subscriptions: self.subscriptions.len(),
        }
    }

    /// The client has gone: gives back all that the session holds.
    pub fn end(&mut self, out: &mut Vec<Output>) {
        for link in &mut self.links {
            link.again.drain().for_each(|call| call.learn.abandon(out));
            match std::mem::replace(&mut link.phase, Phase::Closed) {
                Phase::Closed => {}
                Phase::Opening(held) => {
                    held.iter().for_each(|held| held.call.learn.abandon(out));
                }
                Phase::Open { mut calls, queue, .. } => {
                    calls.drain().for_each(|call| call.learn.abandon(out));
                    let held = queue.map(|queue| queue.give_up(out)).unwrap_or_default();
                    held.iter().for_each(|held| held.call.learn.abandon(out));
                }
            }
        }
        for placing in std::mem::take(&mut self.placing).into_values() {
            out.extend(placing.tickets.into_iter().map(Output::NotCreated));
        }
        let pipelines = std::mem::take(&mut self.pipelines);
        out.extend(pipelines.into_keys().map(Output::Unheld));
        self.parked.clear();
        self.closings.clear();
        self.resuming = None;
        self.tying = None;
        self.making = 0;
        self.held_bytes = HeldBytes::default();
    }

    /// The number of the link to `backend`; a new one is closed.
    fn link_to(&mut self, backend: &BackendId) -> LinkNo {
        let found = self.links.iter().position(|link| link.backend == *backend);
        LinkNo(found.unwrap_or_else(|| {
            let had_earlier = self.has_moved;
            self.links.reserve_exact(1); // most sessions have one
            self.links.push(Link { had_earlier, ..Link::closed(backend.clone()) });
            self.links.len() - 1
        }))
    }

    /// Whether the session has anything at the end of `link` that is there without the link.
    fn has_something_at(&self, link: LinkNo) -> bool {
        self.links[link.0].is_resumed || self.pipelines.values().any(|at| *at == link)
    }

    /// Notes that `pipeline`, which was not known, lives at the end of `link`.
    fn know(&mut self, pipeline: PipelineId, link: LinkNo, out: &mut Vec<Output>) {
        self.pipelines.insert(pipeline, link);
        (self.is_closed, self.is_bereft) = (false, false);
        self.manager.on_known(pipeline, out);
        if self.pipelines.len() >= self.prune_at {
            self.prune_at = self.pipelines.len() * 2;
            out.push(Output::Prune);
        }
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Answers a call about something that is gone as a restarted server would.
    fn answer_gone(&self, call: &Call, failure: &Failure, out: &mut Vec<Output>) {
        let id = call.id.as_str();
        out.push(if call.method.succeeds_for_the_gone() {
            Output::Answer(call.method, answer::done(id, &self.id))
        } else {
            Output::Refuse(id.to_owned(), failure.clone())
        });
    }
}

/// `text` with the session put in as first member of its `params`.
fn complete(text: &str, opening: Option<Opening>, session: &SessionId) -> String {
    let opening = opening.expect("only ping and connect go without params, and neither is sent on");
    let (head, tail) = text.split_at(opening.at);
    let comma = if opening.is_empty { "" } else { "," };
    format!("{head}\"sessionId\":\"{session}\"{comma}{tail}")
}
