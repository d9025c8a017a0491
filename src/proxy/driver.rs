//! Drives one session: hands it what happened and does what it says, all but the sockets.
//!
//! The sockets are behind [`Wires`], so that a simulation runs this very code. What the session says
//! about pins and pipelines is carried out here, on what all connections share.

mod act;
mod processes;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, ready, select};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::edge::Edge;
use super::hearing::{Hearing, ToTell};
use super::placement::{Claimed, Placed, Settling};
use super::sessions::Away;
use super::stopwatch::Routed;
use super::turns::Turns;
use crate::fleet::{Heard, ObjectEvents, Quota};
use crate::model::{BackendId, Finding, PipelineId, SessionId, Time, remove_lean};
use crate::pins::PinError;
use crate::policy::guard::Rules;
use crate::protocol::error::Failure;
use crate::protocol::reply::parse_reply;
use crate::protocol::request::{Hints, Method};
use crate::session::{Input, LinkFailure, LinkNo, Output, Paced, Remains, Session, Ticket, Tried};
use processes::Processes;

type Search = BoxFuture<'static, Found>;

/// Outputs that are kept room for.
const SPARE_MAX: usize = 256;

thread_local! {
    /// Room for what a session says. Sessions of a thread share it, for they are driven one at a time.
    static SPARE: Cell<Vec<Output>> = const { Cell::new(Vec::new()) };
}

/// What messages leave by.
pub(crate) trait Wires {
    /// The time, if all that is moved in one go has the same; else the edge's clock is asked.
    fn turn_time(&mut self) -> Option<Time> {
        None
    }

    /// Sends a message to the client.
    fn send_to_client(&mut self, text: &str);

    /// Sends a message to a backend; one for a link that is not open is dropped.
    fn send_to_backend(&mut self, link: LinkNo, text: &str);

    /// Starts to open a link; [`Driver::on_link`] hears how it went.
    ///
    /// # Errors
    /// `Lost` if the fleet has no such backend any more.
    fn open_link(&mut self, link: LinkNo, backend: &BackendId) -> Result<(), LinkFailure>;

    /// Tells the fleet that the backend of an open link has left calls unanswered for too long.
    fn report_timeout(&mut self, link: LinkNo);

    /// Tells the fleet how a call over a link ended that makes something.
    fn report_tried(&mut self, link: LinkNo, tried: Tried);
}

/// What happened to a link.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkEvent {
    Opened,
    Failed(LinkFailure),
}

/// What the session is told next.
enum Event {
    Placed(Ticket, Result<BackendId, Failure>),
    Located(PipelineId, Finding<BackendId>),
    Resumed(Finding<Remains>),
    Turn(Ticket),
    Link(LinkNo, LinkEvent),
    NotSent(LinkNo, Ticket),
}

/// What was waited for.
enum Found {
    Placed(Ticket, Result<Placed, Failure>),
    Located(PipelineId, Finding<BackendId>),
    Resumed(Finding<Remains>, Option<ObjectEvents>),
}

/// A session and what it waits for. Dropped, it gives back all that the session holds.
pub(crate) struct Driver {
    edge: Arc<Edge>,
    session: Session,
    searches: FuturesUnordered<Search>,
    /// What may be asked of the fleet for it.
    quota: Arc<Quota>,
    claims: BTreeMap<Ticket, Claimed>,
    /// Calls under way that block, and where.
    blocking: BTreeMap<Ticket, BackendId>,
    turns: Turns,
    processes: Processes,
    events: VecDeque<Event>,
    hearing: Hearing,
    /// Whether anything has begun that [`Self::poll_places`] or another poll goes on with.
    is_stirred: bool,
    /// How the message at hand was routed.
    routed: Routed,
    has_released: bool,
    /// The session that the client wants to go on with.
    wish: Option<SessionId>,
    /// The client has lost everything and is to be closed.
    is_bereft: bool,
    /// The answer at hand tells the client of pipelines whose pins are not settled: it and all that
    /// follows is kept back.
    is_keeping: bool,
    unsettled: FuturesUnordered<Settling>,
    /// Pipelines that the last answer tells of.
    made: Vec<PipelineId>,
    /// What the client is to be sent, in order; first the answer that waits: the session says
    /// nothing to the client between the pipelines that an answer tells of and the answer.
    kept: Vec<String>,
}

impl Driver {
    pub(crate) fn new(edge: Arc<Edge>, session: Session) -> Self {
        Self {
            edge,
            session,
            searches: FuturesUnordered::new(),
            quota: Arc::default(),
            claims: BTreeMap::new(),
            blocking: BTreeMap::new(),
            turns: Turns::default(),
            processes: Processes::default(),
            events: VecDeque::new(),
            hearing: Hearing::default(),
            is_stirred: false,
            routed: Routed::Held,
            has_released: false,
            wish: None,
            is_bereft: false,
            is_keeping: false,
            unsettled: FuturesUnordered::new(),
            made: Vec::new(),
            kept: Vec::new(),
        }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The time, as the session takes it.
    pub(crate) fn now(&self) -> Time {
        self.edge.now()
    }

    /// Whether the session is to be told something.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether anything has begun since this was asked last that is to be polled, wished or told.
    pub(crate) fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.is_stirred) | self.turns.take_begun()
    }

    /// Whether it waits for what another process decides by now, and will not be told.
    pub(crate) fn is_stranded(&self) -> bool {
        !self.searches.is_empty() && self.edge.moved.is_cancelled()
    }

    /// Whether the client waits for nothing that it has sent, as far as this process can tell it: an
    /// answer that a backend owes, one that is kept back, or a message that has not gone on.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.is_keeping
            && !self.is_subscribing()
            && self.events.is_empty()
            && !self.session.is_owed_any()
            && (!self.session.is_waiting() || self.is_stranded())
    }

    /// Hands over what the client sent; says how it was routed.
    pub(crate) fn on_client(&mut self, input: Input<'_>, wires: &mut impl Wires) -> Routed {
        self.routed = Routed::Held;
        self.tell(input, wires);
        self.routed
    }

    /// Whether a message that waited has gone on since this was asked last.
    pub(crate) fn take_released(&mut self) -> bool {
        std::mem::take(&mut self.has_released)
    }

    /// Whether messages for the client are kept back until a pin is settled. Nothing is to be handed
    /// over from the client or a backend meanwhile, so that what is kept has a bound.
    pub(crate) fn is_keeping(&self) -> bool {
        self.is_keeping
    }

    /// Looks whether what the client is told of is settled by now, and then sends what was kept; says
    /// whether it was.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>, wires: &mut impl Wires) -> bool {
        if !self.is_keeping {
            return false;
        }
        while let Poll::Ready(Some(settled)) = self.unsettled.poll_next_unpin(cx) {
            if let Err(error) = settled {
                self.unsettled.clear();
                self.take_back(&error, wires);
            }
        }
        if !self.unsettled.is_empty() {
            return false;
        }
        self.is_keeping = false;
        for text in std::mem::take(&mut self.kept) {
            wires.send_to_client(&text);
        }
        true
    }

    /// The pin of a pipeline that was just made may be forgotten: the client gets an error in place of
    /// the answer, and all that the answer tells of is destroyed.
    fn take_back(&mut self, error: &PinError, wires: &mut impl Wires) {
        let failure = Failure::not_enough_resources(error.to_string());
        self.edge.metrics.on_error_sent(failure.code);
        let answer = &mut self.kept[0];
        *answer = failure.to_text(parse_reply(answer).id);
        let mut outputs = Vec::new();
        for pipeline in std::mem::take(&mut self.made) {
            self.session.withdraw(pipeline, &mut outputs);
        }
        for output in outputs {
            self.act(output, "", wires);
        }
    }

    /// Sends a message to the client, or keeps it.
    fn send_to_client(&mut self, text: &str, wires: &mut impl Wires) {
        if self.is_keeping {
            self.kept.push(text.to_owned());
        } else {
            wires.send_to_client(text);
        }
    }

    /// A pipeline is there; the client is told when its pin is settled.
    fn on_created(&mut self, ticket: Ticket, pipeline: PipelineId) {
        let Some(claim) = remove_lean(&mut self.claims, &ticket) else { return };
        self.made.push(pipeline);
        let Some(mut settling) = claim.created(pipeline, *self.session.id()) else { return };
        // Most often the write was faster than the backend.
        let settling = match (&mut settling).now_or_never() {
            Some(Ok(())) => return,
            Some(Err(error)) => ready(Err(error)).boxed(),
            None => settling,
        };
        self.unsettled.push(settling);
        self.is_keeping = true;
    }

    /// Hands over what the backend of `link` sent; says whether that was the last answer it owed.
    pub(crate) fn on_backend(&mut self, link: LinkNo, text: &str, wires: &mut impl Wires) -> bool {
        debug_assert!(!self.is_keeping, "nothing is read while something is kept");
        self.made.clear();
        let owed = self.session.is_owed(link);
        self.tell(Input::FromBackend(link, text), wires);
        owed && !self.session.is_owed(link)
    }

    /// The session's deadline has come.
    pub(crate) fn on_tick(&mut self, wires: &mut impl Wires) {
        self.tell(Input::Tick, wires);
    }

    /// Notes what happened to `link`, for [`Self::run_events`].
    pub(crate) fn on_link(&mut self, link: LinkNo, event: LinkEvent) {
        if matches!(event, LinkEvent::Failed(LinkFailure::Lost)) {
            self.processes.on_lost(link);
        }
        self.events.push_back(Event::Link(link, event));
    }

    /// Refuses a message that has no id.
    pub(crate) fn refuse(&mut self, failure: Failure, wires: &mut impl Wires) {
        self.act(Output::Refuse("null".to_owned(), failure), "", wires);
    }

    /// The client is back on another connection, where it has sent `waiting` already: `hints` are
    /// those of its URL, `rules` what holds there.
    pub(crate) fn welcome(
        &mut self,
        (hints, rules): (Hints, Arc<Rules>),
        waiting: Vec<String>,
        wires: &mut impl Wires,
    ) {
        self.session.on_moved(hints, rules);
        self.tell(Input::Returned(waiting), wires);
    }

    /// Whether the client is to be closed, because it has lost everything and has asked for nothing since.
    pub(crate) fn take_bereft(&mut self) -> bool {
        std::mem::take(&mut self.is_bereft) && self.session.has_nothing_left()
    }

    /// Meetings were let go: tells the session which of its pipelines went with them.
    pub(crate) fn on_moves(&mut self, wires: &mut impl Wires) {
        let registry = self.edge.registry();
        let was_let_go = |pipeline: &PipelineId| registry.was_let_go(*pipeline);
        let gone: Vec<_> = self.session.pipelines().filter(was_let_go).collect();
        if gone.is_empty() {
            return;
        }
        let mut outputs = Vec::new();
        self.session.on_let_go(&gone, &mut outputs);
        for output in outputs {
            self.act(output, "", wires);
        }
    }

    /// Whether the client wants to go on with another session.
    pub(crate) const fn has_wish(&self) -> bool {
        self.wish.is_some()
    }

    /// The session that the client wants to go on with, once. Either give the client to that session
    /// with [`Self::take_waiting`], or [`Self::look_up`] what is left of it.
    pub(crate) fn take_wish(&mut self) -> Option<SessionId> {
        self.wish.take()
    }

    /// The messages that wait for the session they name.
    pub(crate) fn take_waiting(&mut self) -> Vec<String> {
        self.session.take_waiting()
    }

    /// The messages that were taken wait again.
    pub(crate) fn wait_again(&mut self, waiting: Vec<String>) {
        self.session.wait_again(waiting);
    }

    /// Finds out what is left of a session; `away` is what this process remembers of it.
    pub(crate) fn look_up(&mut self, id: SessionId, away: Option<Away>) {
        let (edge, quota) = (Arc::clone(&self.edge), Arc::clone(&self.quota));
        self.search(async move {
            let remains = edge.remains(id, away, &quota).await;
            let hears = matches!(&remains,
                Finding::Known(left) if left.subscriptions.hear_objects());
            let listener = hears.then(|| edge.fleet.listen());
            if let Some(listener) = &listener {
                // The client is not to be told that it is back while its events do not flow.
                listener.all_heard().await;
            }
            Found::Resumed(remains, listener)
        });
    }

    /// Looks whether anything was found, or a turn has come; says whether it was.
    pub(crate) fn poll_places(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.events.len();
        self.events.extend(self.turns.poll(cx).map(Event::Turn));
        let mut is_busy = self.events.len() > before;
        while let Poll::Ready(Some(found)) = self.searches.poll_next_unpin(cx) {
            is_busy = true;
            self.events.push_back(match found {
                Found::Located(pipeline, backend) => Event::Located(pipeline, backend),
                Found::Resumed(remains, listener) => {
                    if matches!(remains, Finding::Known(_)) {
                        self.hearing.become_(listener);
                    }
                    Event::Resumed(remains)
                }
                Found::Placed(ticket, place) => {
                    let place = place.map(|Placed { backend, claim }| {
                        if let Some(claim) = claim {
                            self.claims.insert(ticket, claim);
                        }
                        backend
                    });
                    Event::Placed(ticket, place)
                }
            });
        }
        is_busy
    }

    /// Tells the session all that it is to be told; says whether there was anything.
    pub(crate) fn run_events(&mut self, wires: &mut impl Wires) -> bool {
        let is_busy = self.has_events();
        while let Some(event) = self.events.pop_front() {
            let input = match event {
                Event::Placed(ticket, place) => Input::Placed(ticket, place),
                Event::Located(pipeline, backend) => Input::Located(pipeline, backend),
                Event::Resumed(remains) => Input::Resumed(remains),
                Event::Turn(ticket) => Input::Paced(ticket, Paced::Go),
                Event::Link(link, LinkEvent::Opened) => Input::LinkOpened(link),
                Event::Link(link, LinkEvent::Failed(why)) => Input::LinkFailed(link, why),
                Event::NotSent(link, ticket) => Input::NotSent(link, ticket),
            };
            self.routed = Routed::Held;
            self.tell(input, wires);
            self.has_released |= matches!(self.routed, Routed::Sent | Routed::Answered);
        }
        self.events = VecDeque::new(); // seldom used
        is_busy
    }

    /// Whether the client has subscribed to the manager and not every backend is heard yet. What it
    /// sends next must wait, for it may cause what it wants to hear of.
    pub(crate) fn is_subscribing(&self) -> bool {
        self.hearing.is_beginning()
    }

    /// Passes on what is heard from the managers of the backends, until `has_room` says no more.
    pub(crate) fn poll_hearing<W: Wires>(
        &mut self,
        cx: &mut Context<'_>,
        wires: &mut W,
        has_room: impl Fn(&W) -> bool,
    ) -> bool {
        let mut is_busy = false;
        while !self.is_keeping && has_room(wires) {
            let Some(to_tell) = self.hearing.poll(cx) else { break };
            is_busy = true;
            match to_tell {
                ToTell::Answer(text) => {
                    self.act(Output::Answer(Method::Subscribe, text), "", wires);
                }
                ToTell::Heard(Heard::Event(event)) => self.tell(Input::Event(&event), wires),
                ToTell::Heard(Heard::Lost(count)) => {
                    self.edge.metrics.on_events_dropped(count);
                    self.tell(Input::EventsLost(count), wires);
                }
            }
        }
        is_busy
    }

    fn tell(&mut self, input: Input<'_>, wires: &mut impl Wires) {
        let at_hand = match &input {
            Input::FromClient(text) | Input::FromBackend(_, text) => *text,
            Input::TooLong
            | Input::Placed(..)
            | Input::Located(..)
            | Input::Resumed(_)
            | Input::Returned(_)
            | Input::LinkOpened(_)
            | Input::LinkFailed(..)
            | Input::Paced(..)
            | Input::NotSent(..)
            | Input::Tick
            | Input::Event(_)
            | Input::EventsLost(_) => "",
        };
        self.handle(input, at_hand, wires);
        // Most turns are given at once.
        while let Some((ticket, paced)) = self.turns.next_answer() {
            self.handle(Input::Paced(ticket, paced), "", wires);
        }
    }

    fn handle(&mut self, input: Input<'_>, at_hand: &str, wires: &mut impl Wires) {
        let mut outputs = SPARE.take();
        let now = wires.turn_time().unwrap_or_else(|| self.edge.now());
        self.session.handle(now, input, &mut outputs);
        for output in outputs.drain(..) {
            self.act(output, at_hand, wires);
        }
        if outputs.capacity() <= SPARE_MAX {
            SPARE.set(outputs);
        }
    }

    fn search(&mut self, search: impl Future<Output = Found> + Send + 'static) {
        let moved = self.edge.moved.clone();
        self.searches.push(Box::pin(async move {
            // First, so that nobody is told what another process is to say.
            match select(pin!(moved.cancelled()), pin!(search)).await {
                Either::Left(_) => pending().await,
                Either::Right((found, _)) => found,
            }
        }));
        self.is_stirred = true;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut outputs = Vec::new();
        self.session.end(&mut outputs);
        for output in outputs {
            self.act(output, "", &mut Gone);
        }
    }
}

/// The wires of a client that has gone. The end of a session sends nothing.
struct Gone;

impl Wires for Gone {
    fn send_to_client(&mut self, _text: &str) {}

    fn send_to_backend(&mut self, _link: LinkNo, _text: &str) {}

    fn open_link(&mut self, _link: LinkNo, _backend: &BackendId) -> Result<(), LinkFailure> {
        Err(LinkFailure::Lost)
    }

    fn report_timeout(&mut self, _link: LinkNo) {}
    fn report_tried(&mut self, _link: LinkNo, _tried: Tried) {}
}

#[cfg(test)]
mod tests;
