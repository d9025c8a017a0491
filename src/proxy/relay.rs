//! The task of one client connection: moves messages between the client's socket and its links.
//!
//! One task owns the client's socket, all links and the [`Session`], so that a message crosses no
//! queue and no lock. It decides nothing: it hands what happened to the session and does what that
//! says, in order.
//!
//! Backpressure: while more than `write_buffer_max_bytes` wait for the client, neither its links nor
//! it are read; while that much waits for a backend, the client is not read. So at most that bound and
//! one message wait in memory. A socket that takes nothing for `write_timeout` is given up.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::edge::Edge;
use super::link::{Link, LinkEvent};
use super::placement::{Claimed, Placed};
use super::socket::Socket;
use crate::model::{BackendId, PipelineId};
use crate::protocol::answer;
use crate::protocol::error::Failure;
use crate::protocol::frame::{Message, Opcode};
use crate::protocol::request::Method;
use crate::session::{Input, LinkFailure, LinkNo, Output, Session, Ticket, Wish};
use crate::telemetry::{self, Direction, LocalAnswer, LocalCounts, RoutingKind};

/// Turns of the task before others get theirs.
const TURNS_MAX: usize = 16;

/// Messages taken from one socket before the next is looked at.
const MESSAGES_A_TURN: usize = 64;

/// How long messages of a client that has gone may still wait for a place or a link. A client may
/// release something and hang up at once; Kurento would do it, so it is not dropped here either.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How long a client may take to hang up after a close frame.
const LINGER_MAX: Duration = Duration::from_secs(2);

type Place = BoxFuture<'static, (Ticket, Result<Placed, Failure>)>;

/// Why a client connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client closed, with this code.
    ClosedByClient(Option<u16>),
    /// The client is gone without a word.
    Gone,
    /// We close, with this code and reason.
    Close(u16, &'static str),
}

/// What the session is told next.
enum Event {
    Placed(Ticket, Result<BackendId, Failure>),
    Located(PipelineId, Option<BackendId>),
    LinkOpened(LinkNo),
    LinkFailed(LinkNo, LinkFailure),
}

/// What was taken out of what was read from a link.
#[derive(Clone, Copy)]
enum Taken {
    /// A message, which is handled.
    Message,
    /// Nothing: more has to come.
    Nothing,
    /// Something after which the link is of no more use, and why.
    End(telemetry::LinkFailure),
}

/// The text that [`Output::Relay`] and [`Output::RelayToClient`] mean.
#[derive(Clone, Copy)]
struct AtHand<'a>(&'a str);

/// A client connection at work.
pub(super) struct Relay {
    edge: Arc<Edge>,
    session: Session,
    client: Socket,
    links: Vec<Link>,
    places: FuturesUnordered<Place>,
    claims: BTreeMap<Ticket, Claimed>,
    events: VecDeque<Event>,
    outputs: Vec<Output>,
    stuck_check: Option<Pin<Box<tokio::time::Sleep>>>,
    counts: LocalCounts,
    /// How the message at hand was routed.
    routed: RoutingKind,
}

impl Relay {
    pub(super) fn new(edge: Arc<Edge>, session: Session, client: Socket) -> Self {
        Self {
            counts: LocalCounts::default(),
            routed: RoutingKind::LocalAnswer,
            edge,
            session,
            client,
            links: Vec::new(),
            places: FuturesUnordered::new(),
            claims: BTreeMap::new(),
            events: VecDeque::new(),
            outputs: Vec::new(),
            stuck_check: None,
        }
    }

    /// Works until the connection ends or `stop` is ready, then closes it and lets go of everything.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let end = poll_fn(|cx| {
            if let Poll::Ready(end) = self.poll(cx) {
                return Poll::Ready(end);
            }
            stop.as_mut().poll(cx).map(|()| End::Close(1001, "the edge is going away"))
        });
        let end = end.await;
        tracing::debug!(session = ?self.session.id(), ?end, "client connection ends");
        // Whatever is left then was to wait for longer than anybody should.
        let _ = tokio::time::timeout(DRAIN_MAX, poll_fn(|cx| self.poll_drain(cx))).await;
        self.end(end).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut polled = Poll::Pending;
        for _ in 0..TURNS_MAX {
            match self.turn(cx) {
                Ok(true) => {}
                Ok(false) => {
                    self.edge.metrics.flush(&mut self.counts);
                    return Poll::Pending;
                }
                Err(end) => {
                    polled = Poll::Ready(end);
                    break;
                }
            }
        }
        self.edge.metrics.flush(&mut self.counts);
        cx.waker().wake_by_ref();
        polled
    }

    /// Does what can be done now; says whether there may be more.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut is_busy = self.poll_places(cx);
        is_busy |= self.poll_links(cx);
        is_busy |= self.poll_client(cx)?;
        while let Some(event) = self.events.pop_front() {
            self.on_event(event);
            is_busy = true;
        }
        is_busy |= self.flush(cx)?;
        self.check_stuck(cx)?;
        Ok(is_busy)
    }

    fn poll_places(&mut self, cx: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        while let Poll::Ready(Some((ticket, place))) = self.places.poll_next_unpin(cx) {
            is_busy = true;
            let place = place.map(|Placed { backend, claim, .. }| {
                if let Some(claim) = claim {
                    self.claims.insert(ticket, claim);
                }
                backend
            });
            self.events.push_back(Event::Placed(ticket, place));
        }
        is_busy
    }

    /// Whether the client takes more, so that more may be made for it.
    fn client_has_room(&self) -> bool {
        self.client.writer.len() < self.edge.limits.write_buffer_max_bytes
    }

    fn everybody_has_room(&self) -> bool {
        let bound = self.edge.limits.write_buffer_max_bytes;
        self.client_has_room() && self.links.iter().all(|link| link.waiting_len() < bound)
    }

    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut is_busy = false;
        for _ in 0..MESSAGES_A_TURN {
            if !self.everybody_has_room() {
                return Ok(is_busy);
            }
            if self.take_from_client()? {
                is_busy = true;
                continue;
            }
            match self.client.poll_read(cx) {
                Poll::Pending => return Ok(is_busy),
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Gone),
                Poll::Ready(Ok(_)) => {}
            }
        }
        Ok(true)
    }

    /// Takes one message out of what was read from the client; `false` when there is none.
    fn take_from_client(&mut self) -> Result<bool, End> {
        let mut decoder = self.client.lend_decoder();
        let taken = match decoder.next() {
            Ok(None) => Ok(false),
            Ok(Some(message)) => self.on_client_message(message).map(|()| true),
            Err(error) => Err(End::Close(error.close_code(), "malformed frame")),
        };
        self.client.return_decoder(decoder);
        taken
    }

    fn on_client_message(&mut self, message: Message<'_>) -> Result<(), End> {
        match message {
            Message::Text(text) => self.on_client_text(text),
            Message::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => self.on_client_text(text),
                Err(_) => {
                    self.counts.on_frame(Direction::ClientIn, bytes.len());
                    let failure = Failure::malformed("the message is not UTF-8");
                    self.act(Output::Refuse("null".to_owned(), failure), AtHand(""));
                }
            },
            Message::Ping(payload) => {
                self.client.writer.send(Opcode::Pong, payload, self.edge.clock.now());
            }
            Message::Pong(_) => {}
            Message::Close(code, _) => return Err(End::ClosedByClient(code)),
            Message::TooLong(_) => self.tell_session(Input::TooLong, AtHand("")),
        }
        Ok(())
    }

    fn on_client_text(&mut self, text: &str) {
        self.counts.on_frame(Direction::ClientIn, text.len());
        let started = self.edge.clock.now_nanos();
        self.routed = RoutingKind::LocalAnswer;
        self.tell_session(Input::FromClient(text), AtHand(text));
        let took = Duration::from_nanos(self.edge.clock.now_nanos() - started);
        self.counts.on_routed(self.routed, took);
    }

    fn poll_links(&mut self, cx: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        for number in 0..self.links.len() {
            if let Some(event) = self.links[number].poll_events(cx) {
                is_busy = true;
                self.on_link_event(LinkNo(number), event);
            }
            is_busy |= self.read_link(cx, LinkNo(number));
        }
        is_busy
    }

    fn on_link_event(&mut self, link: LinkNo, event: LinkEvent) {
        self.events.push_back(match event {
            LinkEvent::Opened => Event::LinkOpened(link),
            LinkEvent::Failed(failure) => Event::LinkFailed(link, failure),
        });
    }

    /// Reads messages of a backend while the client has room for them.
    fn read_link(&mut self, cx: &mut Context<'_>, number: LinkNo) -> bool {
        let mut is_busy = false;
        for _ in 0..MESSAGES_A_TURN {
            if !self.client_has_room() {
                return is_busy;
            }
            let Some(taken) = self.take_from_link(number) else { return is_busy };
            let end = match (taken, self.links[number.0].socket()) {
                (Taken::Message, _) => None,
                (Taken::Nothing, Some(socket)) => match socket.poll_read(cx) {
                    Poll::Pending => return is_busy,
                    Poll::Ready(Ok(0)) => Some(telemetry::LinkFailure::Closed),
                    Poll::Ready(Ok(_)) => None,
                    Poll::Ready(Err(_)) => Some(telemetry::LinkFailure::Io),
                },
                (Taken::Nothing, None) => Some(telemetry::LinkFailure::Closed),
                (Taken::End(why), _) => Some(why),
            };
            is_busy = true;
            if let Some(why) = end {
                self.links[number.0].cut(why);
                self.on_link_event(number, LinkEvent::Failed(LinkFailure::Cut));
                return true;
            }
        }
        true
    }

    /// Takes one message out of what was read from a link; `None` when it is not open.
    fn take_from_link(&mut self, number: LinkNo) -> Option<Taken> {
        let mut decoder = self.links[number.0].socket()?.lend_decoder();
        let taken = match decoder.next() {
            Ok(None) => Taken::Nothing,
            Ok(Some(message)) => self.on_backend_message(number, message),
            Err(_) => Taken::End(telemetry::LinkFailure::Protocol),
        };
        self.links[number.0].socket()?.return_decoder(decoder);
        Some(taken)
    }

    fn on_backend_message(&mut self, link: LinkNo, message: Message<'_>) -> Taken {
        match message {
            Message::Text(text) => {
                self.counts.on_frame(Direction::BackendIn, text.len());
                self.tell_session(Input::FromBackend(link, text), AtHand(text));
            }
            Message::Ping(payload) => {
                let now = self.edge.clock.now();
                if let Some(socket) = self.links[link.0].socket() {
                    socket.writer.send(Opcode::Pong, payload, now);
                }
            }
            Message::Pong(_) => {}
            Message::Close(..) => return Taken::End(telemetry::LinkFailure::Closed),
            // Kurento sends no binary messages, and one over the limit cannot be passed on.
            Message::Binary(_) | Message::TooLong(_) => {
                return Taken::End(telemetry::LinkFailure::Protocol);
            }
        }
        Taken::Message
    }

    fn on_event(&mut self, event: Event) {
        let input = match event {
            Event::Placed(ticket, place) => Input::Placed(ticket, place),
            Event::Located(pipeline, backend) => Input::Located(pipeline, backend),
            Event::LinkOpened(link) => Input::LinkOpened(link),
            Event::LinkFailed(link, failure) => Input::LinkFailed(link, failure),
        };
        self.tell_session(input, AtHand(""));
    }

    /// Hands `input` to the session and does what it says.
    fn tell_session(&mut self, input: Input<'_>, at_hand: AtHand<'_>) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.session.handle(input, &mut outputs);
        for output in outputs.drain(..) {
            self.act(output, at_hand);
        }
        self.outputs = outputs;
    }

    fn act(&mut self, output: Output, AtHand(text): AtHand<'_>) {
        match output {
            Output::Relay(link) => {
                self.routed = RoutingKind::TableHit;
                self.send_to_backend(link, text);
            }
            Output::RelayToClient => self.send_to_client(text),
            Output::ToBackend(link, text) => {
                self.routed = RoutingKind::TableHit;
                self.send_to_backend(link, &text);
            }
            Output::Answer(method, text) => {
                self.edge.metrics.on_local_answer(local_answer(method));
                self.send_to_client(&text);
            }
            Output::Refuse(id, failure) => {
                self.edge.metrics.on_error_sent(failure.code);
                self.send_to_client(&failure.to_text(&id));
            }
            Output::ServerInfo(id) => {
                self.edge.metrics.on_local_answer(LocalAnswer::Info);
                let info = self.edge.server_info();
                self.send_to_client(&answer::value(&id, self.session.id(), &info));
            }
            Output::Place(ticket, wish) => self.place(ticket, wish),
            Output::Locate(pipeline) => {
                self.routed = RoutingKind::NewPin;
                let backend = self.edge.registry.hold(pipeline).map(|home| home.backend);
                self.events.push_back(Event::Located(pipeline, backend));
            }
            Output::OpenLink(link, backend) => {
                self.routed = RoutingKind::TableHit;
                self.open_link(link, &backend);
            }
            Output::Created(ticket, pipeline) => {
                if let Some(claim) = self.claims.remove(&ticket) {
                    claim.created(pipeline);
                }
            }
            Output::NotCreated(ticket) => drop(self.claims.remove(&ticket)),
            Output::Released(pipeline) => {
                self.edge.registry.released(pipeline, self.edge.clock.now());
            }
            Output::Unheld(pipeline) => {
                self.edge.registry.unhold(pipeline, self.edge.clock.now());
            }
            Output::Prune => {
                let known = |pipeline: &PipelineId| self.edge.registry.knows(*pipeline);
                let gone: Vec<_> = self.session.pipelines().filter(|p| !known(p)).collect();
                self.session.forget(&gone);
            }
            Output::Stray => self.edge.metrics.on_stray(),
        }
    }

    fn place(&mut self, ticket: Ticket, wish: Wish) {
        self.routed = RoutingKind::NewPin;
        let edge = Arc::clone(&self.edge);
        self.places.push(Box::pin(async move { (ticket, edge.place(wish).await) }));
    }

    fn open_link(&mut self, number: LinkNo, backend: &BackendId) {
        if number.0 == self.links.len() {
            self.links.push(Link::new(Arc::clone(&self.edge)));
        }
        if let Err(failure) = self.links[number.0].open(backend) {
            self.events.push_back(Event::LinkFailed(number, failure));
        }
    }

    fn send_to_client(&mut self, text: &str) {
        self.counts.on_frame(Direction::ClientOut, text.len());
        self.client.writer.send(Opcode::Text, text.as_bytes(), self.edge.clock.now());
    }

    fn send_to_backend(&mut self, link: LinkNo, text: &str) {
        let now = self.edge.clock.now();
        // A link that broke a moment ago has an event waiting, which answers this call.
        if let Some(socket) = self.links[link.0].socket() {
            self.counts.on_frame(Direction::BackendOut, text.len());
            socket.writer.send(Opcode::Text, text.as_bytes(), now);
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let now = self.edge.clock.now();
        let was_full = !self.everybody_has_room();
        if let Poll::Ready(Err(_)) = self.client.poll_flush(cx, now) {
            return Err(End::Gone);
        }
        self.flush_links(cx);
        Ok((was_full && self.everybody_has_room()) || !self.events.is_empty())
    }

    fn flush_links(&mut self, cx: &mut Context<'_>) {
        let now = self.edge.clock.now();
        for number in 0..self.links.len() {
            let Some(socket) = self.links[number].socket() else { continue };
            if let Poll::Ready(Err(_)) = socket.poll_flush(cx, now) {
                self.links[number].cut(telemetry::LinkFailure::Io);
                self.on_link_event(LinkNo(number), LinkEvent::Failed(LinkFailure::Cut));
            }
        }
    }

    /// Goes on without the client until none of its messages waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.session.is_waiting() {
            let mut is_busy = self.poll_places(cx);
            is_busy |= self.poll_links(cx);
            while let Some(event) = self.events.pop_front() {
                self.on_event(event);
                is_busy = true;
            }
            if !is_busy {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Gives up sockets that have taken nothing for too long.
    fn check_stuck(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let is_waiting =
            self.client.writer.len() > 0 || self.links.iter().any(|link| link.waiting_len() > 0);
        if !is_waiting {
            self.stuck_check = None;
            return Ok(());
        }
        let timeout = self.edge.limits.write_timeout;
        let check = self.stuck_check.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        while check.as_mut().poll(cx).is_ready() {
            let now = self.edge.clock.now();
            if self.client.writer.is_stuck(now, timeout) {
                return Err(End::Gone);
            }
            for number in 0..self.links.len() {
                if self.links[number].is_stuck(now, timeout) {
                    self.links[number].cut(telemetry::LinkFailure::Timeout);
                    self.events.push_back(Event::LinkFailed(LinkNo(number), LinkFailure::Cut));
                    cx.waker().wake_by_ref();
                }
            }
            check.set(tokio::time::sleep(timeout));
        }
        Ok(())
    }

    /// Lets go of everything, then closes the client's socket and the links.
    async fn end(mut self, end: End) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.session.end(&mut outputs);
        for output in outputs {
            self.act(output, AtHand(""));
        }
        self.edge.metrics.flush(&mut self.counts);
        let code = match &end {
            End::ClosedByClient(code) => *code,
            End::Gone => None,
            End::Close(code, _) => Some(*code),
        };
        let links = self.links.into_iter().map(|link| link.close(code));
        let links = futures_util::future::join_all(links);
        let client = async {
            match end {
                End::ClosedByClient(code) => self.client.close(code, "", LINGER_MAX).await,
                End::Close(code, reason) => {
                    self.client.close(Some(code), reason, LINGER_MAX).await;
                }
                End::Gone => {}
            }
        };
        tokio::join!(client, links);
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
