//! Drives one session: hands it what happened and does what it says, all but the sockets.
//!
//! The sockets are behind [`Wires`], so that a simulation runs this very code. What the session says
//! about pins and pipelines is carried out here, on what all connections share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::edge::Edge;
use super::placement::{Claimed, Placed};
use crate::model::{BackendId, PipelineId};
use crate::protocol::answer;
use crate::protocol::error::Failure;
use crate::protocol::request::Method;
use crate::session::{Input, LinkFailure, LinkNo, Output, Session, Ticket, Wish};
use crate::telemetry::{LocalAnswer, RoutingKind};

type Place = BoxFuture<'static, (Ticket, Result<Placed, Failure>)>;

/// What messages leave by.
pub(crate) trait Wires {
    /// Sends a message to the client.
    fn send_to_client(&mut self, text: &str);

    /// Sends a message to a backend; one for a link that is not open is dropped.
    fn send_to_backend(&mut self, link: LinkNo, text: &str);

    /// Starts to open a link; [`Driver::on_link`] hears how it went.
    ///
    /// # Errors
    /// `Lost` if the fleet has no such backend any more.
    fn open_link(&mut self, link: LinkNo, backend: &BackendId) -> Result<(), LinkFailure>;
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
    Located(PipelineId, Option<BackendId>),
    Link(LinkNo, LinkEvent),
    NotSent(LinkNo, Ticket),
}

/// A session and what it waits for. Dropped, it gives back all that the session holds.
pub(crate) struct Driver {
    edge: Arc<Edge>,
    session: Session,
    places: FuturesUnordered<Place>,
    claims: BTreeMap<Ticket, Claimed>,
    /// Calls under way that block, and where.
    blocking: BTreeMap<Ticket, BackendId>,
    events: VecDeque<Event>,
    outputs: Vec<Output>,
    /// How the message at hand was routed.
    routed: RoutingKind,
}

impl Driver {
    pub(crate) fn new(edge: Arc<Edge>, session: Session) -> Self {
        Self {
            edge,
            session,
            places: FuturesUnordered::new(),
            claims: BTreeMap::new(),
            blocking: BTreeMap::new(),
            events: VecDeque::new(),
            outputs: Vec::new(),
            routed: RoutingKind::LocalAnswer,
        }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the session is to be told something.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Hands over what the client sent; says how it was routed.
    pub(crate) fn on_client(&mut self, input: Input<'_>, wires: &mut impl Wires) -> RoutingKind {
        self.routed = RoutingKind::LocalAnswer;
        self.tell(input, wires);
        self.routed
    }

    /// Hands over what the backend of `link` sent.
    pub(crate) fn on_backend(&mut self, link: LinkNo, text: &str, wires: &mut impl Wires) {
        self.tell(Input::FromBackend(link, text), wires);
    }

    /// Notes what happened to `link`, for [`Self::run_events`].
    pub(crate) fn on_link(&mut self, link: LinkNo, event: LinkEvent) {
        self.events.push_back(Event::Link(link, event));
    }

    /// Refuses a message that has no id.
    pub(crate) fn refuse(&mut self, failure: Failure, wires: &mut impl Wires) {
        self.act(Output::Refuse("null".to_owned(), failure), "", wires);
    }

    /// Looks whether places were found; says whether any was.
    pub(crate) fn poll_places(&mut self, cx: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        while let Poll::Ready(Some((ticket, place))) = self.places.poll_next_unpin(cx) {
            is_busy = true;
            let place = place.map(|Placed { backend, claim }| {
                if let Some(claim) = claim {
                    self.claims.insert(ticket, claim);
                }
                backend
            });
            self.events.push_back(Event::Placed(ticket, place));
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
                Event::Link(link, LinkEvent::Opened) => Input::LinkOpened(link),
                Event::Link(link, LinkEvent::Failed(why)) => Input::LinkFailed(link, why),
                Event::NotSent(link, ticket) => Input::NotSent(link, ticket),
            };
            self.tell(input, wires);
        }
        is_busy
    }

    fn tell(&mut self, input: Input<'_>, wires: &mut impl Wires) {
        let at_hand = match &input {
            Input::FromClient(text) | Input::FromBackend(_, text) => *text,
            Input::TooLong
            | Input::Placed(..)
            | Input::Located(..)
            | Input::LinkOpened(_)
            | Input::LinkFailed(..)
            | Input::NotSent(..) => "",
        };
        let mut outputs = std::mem::take(&mut self.outputs);
        self.session.handle(input, &mut outputs);
        for output in outputs.drain(..) {
            self.act(output, at_hand, wires);
        }
        self.outputs = outputs;
    }

    fn act(&mut self, output: Output, at_hand: &str, wires: &mut impl Wires) {
        match output {
            Output::Relay(link) => {
                self.routed = RoutingKind::TableHit;
                wires.send_to_backend(link, at_hand);
            }
            Output::RelayToClient => wires.send_to_client(at_hand),
            Output::ToBackend(link, text) => {
                self.routed = RoutingKind::TableHit;
                wires.send_to_backend(link, &text);
            }
            Output::SendBlocking(link, backend, ticket, text) => {
                self.routed = RoutingKind::TableHit;
                if !self.edge.blocking.try_begin(&backend, self.edge.now()) {
                    return self.events.push_back(Event::NotSent(link, ticket));
                }
                self.blocking.insert(ticket, backend);
                wires.send_to_backend(link, text.as_deref().unwrap_or(at_hand));
            }
            Output::Unblocked(ticket, is_answered) => self.on_unblocked(ticket, is_answered),
            Output::Answer(method, text) => {
                self.edge.metrics.on_local_answer(local_answer(method));
                wires.send_to_client(&text);
            }
            Output::Refuse(id, failure) => {
                self.edge.metrics.on_error_sent(failure.code);
                wires.send_to_client(&failure.to_text(&id));
            }
            Output::ServerInfo(id) => {
                self.edge.metrics.on_local_answer(LocalAnswer::Info);
                let info = self.edge.server_info();
                wires.send_to_client(&answer::value(&id, self.session.id(), &info));
            }
            Output::OpenLink(link, backend) => {
                self.routed = RoutingKind::TableHit;
                if let Err(failure) = wires.open_link(link, &backend) {
                    self.on_link(link, LinkEvent::Failed(failure));
                }
            }
            Output::Place(ticket, wish) => self.place(ticket, wish),
            Output::Locate(pipeline) => {
                self.routed = RoutingKind::NewPin;
                let backend = self.edge.registry().hold(pipeline, &self.session.access());
                let backend = backend.map(|home| home.backend);
                self.events.push_back(Event::Located(pipeline, backend));
            }
            Output::Created(ticket, pipeline) => {
                if let Some(claim) = self.claims.remove(&ticket) {
                    claim.created(pipeline);
                }
            }
            Output::NotCreated(ticket) => drop(self.claims.remove(&ticket)),
            Output::Released(pipeline) => self.edge.registry().released(pipeline, self.edge.now()),
            Output::Unheld(pipeline) => self.edge.registry().unhold(pipeline, self.edge.now()),
            Output::Prune => {
                let known = |pipeline: &PipelineId| self.edge.registry().knows(*pipeline);
                let gone: Vec<_> = self.session.pipelines().filter(|p| !known(p)).collect();
                self.session.forget(&gone);
            }
            Output::Stray => self.edge.metrics.on_stray(),
        }
    }

    fn on_unblocked(&mut self, ticket: Ticket, is_answered: bool) {
        let Some(backend) = self.blocking.remove(&ticket) else { return };
        if is_answered {
            self.edge.blocking.end(&backend);
        } else {
            self.edge.blocking.abandon(&backend, self.edge.now());
        }
    }

    fn place(&mut self, ticket: Ticket, wish: Wish) {
        self.routed = RoutingKind::NewPin;
        let edge = Arc::clone(&self.edge);
        self.places.push(Box::pin(async move { (ticket, edge.place(wish).await) }));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut outputs = std::mem::take(&mut self.outputs);
        outputs.clear();
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
}

fn local_answer(method: Method) -> LocalAnswer {
    match method {
        Method::Ping => LocalAnswer::Ping,
        Method::Connect => LocalAnswer::Connect,
        Method::Describe => LocalAnswer::Describe,
        Method::CloseSession => LocalAnswer::CloseSession,
        Method::Create
        | Method::Invoke
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::Release
        | Method::Ref
        | Method::Unref
        | Method::KeepAlive
        | Method::Transaction => LocalAnswer::Other,
    }
}
