//! The task of one client connection: moves messages between the client's socket and its links.
//!
//! One task owns the client's socket, all links and the session, so that a message crosses no queue
//! and no lock. It decides nothing: it hands what happened to the [`Driver`].
//!
//! Backpressure: while more than `write_buffer_max_bytes` wait for the client, neither its links nor
//! it are read; while that much waits for a backend, the client is not read. So at most that bound and
//! one message wait in memory. A socket that takes nothing for `write_timeout` is given up. While the
//! answer to a `create` waits until its pin is on disk, neither the client nor a link is read.

mod away;
mod ending;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::FutureExt;

use super::bell::Bell;
use super::driver::{Driver, LinkEvent};
use super::edge::Edge;
use super::news::News;
use super::seat::Seat;
use super::sessions::Sessions;
use super::sockets::Sockets;
use super::visit::{Connection, Visit};
use crate::model::Time;
use crate::protocol::error::Failure;
use crate::protocol::frame::{Message, Opcode};
use crate::session::{Input, LinkFailure, LinkNo, Session};
use crate::telemetry::{self, Direction};

/// Turns of the task before others get theirs.
const TURNS_MAX: usize = 16;

/// Messages taken from one socket before the next is looked at.
const MESSAGES_A_TURN: usize = 64;

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

/// A session at work.
pub(super) struct Relay {
    driver: Driver,
    sockets: Sockets,
    seat: Seat<Connection>,
    /// Rung by all that is not a socket.
    bell: Bell,
    /// What its client is told a little later.
    news: News,
    stuck_check: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Runs while calls wait: one timer for all of them.
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
    /// The client is to be closed once it waits for nothing, or by then.
    leaving: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Relay {
    pub(super) fn new(
        (edge, sessions): (Arc<Edge>, Arc<Sessions<Connection>>),
        session: Session,
        client: Box<Visit<Connection>>,
    ) -> Self {
        Self {
            seat: Seat::take(sessions, *session.id()),
            driver: Driver::new(edge.clone(), session),
            sockets: Sockets::new(edge, client),
            bell: Bell::new(),
            news: News::default(),
            stuck_check: None,
            deadline: None,
            leaving: None,
        }
    }

    /// Works until the client is gone for good or `stop` is ready, then closes everything.
    ///
    /// What comes at the end is boxed, so that a connection that is at work has no room for it.
    pub(super) async fn run(mut self: Box<Self>, stop: impl Future<Output = ()>) {
        // Asked on after it has come.
        let mut stop = pin!(stop.fuse());
        let end = loop {
            let end = self.serve(stop.as_mut()).await;
            tracing::debug!(session = ?self.driver.session().id(), ?end, "client connection ends");
            if !Box::pin(self.comes_back(&end, stop.as_mut())).await {
                break end;
            }
        };
        Box::pin(self.close(end)).await;
    }

    async fn close(self: Box<Self>, end: End) {
        let Self { driver, sockets, .. } = *self;
        drop(driver);
        sockets.close(end).await;
    }

    /// Serves the client that is there.
    async fn serve(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> End {
        // Others were woken by whatever happened before.
        self.bell.ring();
        poll_fn(|cx| self.poll(cx, stop.as_mut())).await
    }

    /// Does what the session wishes: its client may be given to another.
    fn heed_wish(&mut self) -> Result<(), End> {
        let wishes = self.driver.has_wish();
        if wishes && let Some(client) = &mut self.sockets.client {
            client.since_nanos = self.sockets.watch.take_late();
        }
        let now = self.driver.now();
        if self.seat.heed(&mut self.driver, &mut self.sockets.client, now) {
            return Err(End::Gone);
        }
        if wishes
            && let Some(client) = &mut self.sockets.client
            && let Some(since) = client.since_nanos.take()
        {
            self.sockets.watch.wait_again(since);
        }
        Ok(())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<End> {
        let mut polled = Poll::Pending;
        for _ in 0..TURNS_MAX {
            match self.turn(cx, stop.as_mut()) {
                Ok(true) => {}
                Ok(false) => {
                    self.sockets.flush_counts();
                    return Poll::Pending;
                }
                Err(end) => {
                    polled = Poll::Ready(end);
                    break;
                }
            }
        }
        self.sockets.flush_counts();
        cx.waker().wake_by_ref();
        polled
    }

    /// Does what can be done now; says whether there may be more.
    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<bool, End> {
        self.sockets.begin_turn();
        let bell = self.bell.has_rung(cx).then(|| self.bell.waker().clone());
        if let Some(bell) = &bell {
            self.ask_all(&mut Context::from_waker(bell))?;
        }
        let mut is_busy = self.read_links(cx);
        is_busy |= self.poll_client(cx)?;
        self.check_bereft()?;
        if self.flush(cx)? || self.wants_to_ask() {
            self.bell.ring();
            is_busy = true;
        }
        if let Some(bell) = &bell {
            self.check_stop(&mut Context::from_waker(bell), stop);
        }
        if self.leaving.is_some() { self.leave(is_busy) } else { Ok(is_busy) }
    }

    /// Whether something has begun since all were asked that only they can go on with.
    fn wants_to_ask(&mut self) -> bool {
        let is_stirred = self.driver.take_stirred();
        is_stirred
            || self.bell.is_rung()
            || self.driver.has_events()
            || (self.deadline.is_none() && self.driver.session().deadline().is_some())
            || (self.stuck_check.is_none() && self.sockets.has_unwritten())
    }

    /// Asks everybody but the sockets whether there is anything to do.
    fn ask_all(&mut self, bell: &mut Context<'_>) -> Result<(), End> {
        let mut is_busy = self.poll_desk(bell);
        is_busy |= self.driver.poll_settled(bell, &mut self.sockets);
        is_busy |= self.driver.poll_places(bell);
        is_busy |= self.poll_links(bell);
        is_busy |= self.poll_news(bell);
        is_busy |= self.driver.run_events(&mut self.sockets);
        if self.driver.take_released() {
            self.sockets.watch.on_late_sent();
        }
        is_busy |= self.check_deadline(bell);
        self.heed_wish()?;
        is_busy |= self.driver.poll_hearing(bell, &mut self.sockets, Sockets::client_has_room);
        self.check_stuck(bell)?;
        if is_busy {
            self.bell.ring(); // one may have made work for another
        }
        Ok(())
    }

    /// Takes in another connection of the client, if one has come.
    fn poll_desk(&mut self, cx: &mut Context<'_>) -> bool {
        match self.seat.poll(cx) {
            Poll::Ready(visit) => {
                self.welcome(visit);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Reads messages of the client while there is room for them; says whether there may be more.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        for _ in 0..MESSAGES_A_TURN {
            let waits =
                self.driver.is_keeping() || self.driver.is_subscribing() || self.leaving.is_some();
            if waits || !self.sockets.everybody_has_room() {
                return Ok(false);
            }
            if !self.sockets.socket().is_some_and(|socket| socket.has_something(cx)) {
                return Ok(false);
            }
            if self.take_from_client()? {
                continue;
            }
            let Some(socket) = self.sockets.socket() else { return Ok(false) };
            match socket.poll_read() {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Gone),
                Poll::Ready(Ok(_)) => self.sockets.on_client_read(),
            }
        }
        Ok(true)
    }

    /// Takes one message out of what was read from the client; `false` when there is none.
    fn take_from_client(&mut self) -> Result<bool, End> {
        let Some(socket) = self.sockets.socket() else { return Ok(false) };
        let mut decoder = socket.lend_decoder();
        let taken = match decoder.next() {
            Ok(None) => Ok(false),
            Ok(Some(message)) => self.on_client_message(message).map(|()| true),
            Err(error) => Err(End::Close(error.close_code(), "malformed frame")),
        };
        if let Some(socket) = self.sockets.socket() {
            socket.return_decoder(decoder);
        }
        taken
    }

    fn on_client_message(&mut self, message: Message<'_>) -> Result<(), End> {
        match message {
            Message::Text(text) => self.on_client_text(text),
            Message::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => self.on_client_text(text),
                Err(_) => {
                    self.sockets.counts.on_frame(Direction::ClientIn, bytes.len());
                    let failure = Failure::malformed("the message is not UTF-8");
                    self.driver.refuse(failure, &mut self.sockets);
                }
            },
            Message::Ping(payload) => {
                let now = self.sockets.now();
                if let Some(socket) = self.sockets.socket() {
                    socket.writer.send(Opcode::Pong, payload, now);
                }
            }
            Message::Pong(_) => {}
            Message::Close(code, _) => return Err(End::ClosedByClient(code)),
            Message::TooLong(_) => {
                self.driver.on_client(Input::TooLong, &mut self.sockets);
            }
        }
        Ok(())
    }

    fn on_client_text(&mut self, text: &str) {
        if self.news.is_any() {
            // It is about to learn of the loss anyway.
            self.tell_news();
            self.driver.run_events(&mut self.sockets);
        }
        let sockets = &mut self.sockets;
        sockets.counts.on_frame(Direction::ClientIn, text.len());
        let routed = self.driver.on_client(Input::FromClient(text), sockets);
        sockets.watch.on_routed(routed, sockets.edge.clock);
    }

    /// Looks what has become of the links.
    fn poll_links(&mut self, cx: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        for number in (0..self.sockets.links.len()).map(LinkNo) {
            if let Some(event) = self.sockets.links[number.0].poll_events(cx) {
                is_busy = true;
                self.deadline = None; // it may be nearer now
                match event {
                    LinkEvent::Failed(LinkFailure::Lost) if self.may_wait() => {
                        self.news.on_lost(number, self.sockets.edge.loss_delay());
                    }
                    LinkEvent::Failed(_) | LinkEvent::Opened => self.driver.on_link(number, event),
                }
            }
        }
        is_busy
    }

    /// Reads what has come from the backends; says whether there may be more.
    fn read_links(&mut self, cx: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        for number in (0..self.sockets.links.len()).map(LinkNo) {
            is_busy |= self.read_link(cx, number);
        }
        is_busy
    }

    /// Reads messages of a backend while the client has room for them; says whether there may be more.
    fn read_link(&mut self, cx: &mut Context<'_>, number: LinkNo) -> bool {
        for _ in 0..MESSAGES_A_TURN {
            if self.driver.is_keeping() || !self.sockets.client_has_room() {
                return false;
            }
            let socket = self.sockets.links[number.0].socket();
            if !socket.is_some_and(|socket| socket.has_something(cx)) {
                return false;
            }
            let Some(taken) = self.take_from_link(number) else { return false };
            let end = match (taken, self.sockets.links[number.0].socket()) {
                (Taken::Message, _) => None,
                (Taken::Nothing, Some(socket)) => match socket.poll_read() {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(0)) => Some(telemetry::LinkFailure::Closed),
                    Poll::Ready(Ok(_)) => None,
                    Poll::Ready(Err(_)) => Some(telemetry::LinkFailure::Io),
                },
                (Taken::Nothing, None) => Some(telemetry::LinkFailure::Closed),
                (Taken::End(why), _) => Some(why),
            };
            if let Some(why) = end {
                self.cut(number, why);
                return true;
            }
        }
        true
    }

    /// Takes one message out of what was read from a link; `None` when it is not open.
    fn take_from_link(&mut self, number: LinkNo) -> Option<Taken> {
        let mut decoder = self.sockets.links[number.0].socket()?.lend_decoder();
        let taken = match decoder.next() {
            Ok(None) => Taken::Nothing,
            Ok(Some(message)) => self.on_backend_message(number, message),
            Err(_) => Taken::End(telemetry::LinkFailure::Protocol),
        };
        self.sockets.links[number.0].socket()?.return_decoder(decoder);
        Some(taken)
    }

    fn on_backend_message(&mut self, link: LinkNo, message: Message<'_>) -> Taken {
        match message {
            Message::Text(text) => {
                self.sockets.counts.on_frame(Direction::BackendIn, text.len());
                let is_last = self.driver.on_backend(link, text, &mut self.sockets);
                if let Some(socket) = self.sockets.links[link.0].socket() {
                    socket.on_taken(is_last);
                }
            }
            Message::Ping(payload) => {
                let now = self.sockets.now();
                if let Some(socket) = self.sockets.links[link.0].socket() {
                    socket.writer.send(Opcode::Pong, payload, now);
                }
            }
            Message::Pong(_) => {}
            Message::Close(..) => return Taken::End(telemetry::LinkFailure::Closed),
            // Kurento sends no binary messages.
            Message::Binary(_) => return Taken::End(telemetry::LinkFailure::Protocol),
            Message::TooLong(_) => return Taken::End(telemetry::LinkFailure::TooLong),
        }
        Taken::Message
    }

    fn cut(&mut self, link: LinkNo, why: telemetry::LinkFailure) {
        self.sockets.links[link.0].cut(why);
        let failure = match why {
            telemetry::LinkFailure::TooLong => LinkFailure::TooLong,
            telemetry::LinkFailure::Dial
            | telemetry::LinkFailure::Handshake
            | telemetry::LinkFailure::Timeout
            | telemetry::LinkFailure::Closed
            | telemetry::LinkFailure::Io
            | telemetry::LinkFailure::Protocol => LinkFailure::Cut,
        };
        self.driver.on_link(link, LinkEvent::Failed(failure));
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let was_full = !self.sockets.everybody_has_room();
        let now = self.sockets.on_write();
        self.sockets.poll_flush_client(cx, now)?;
        self.flush_links(cx, now);
        Ok(was_full && self.sockets.everybody_has_room())
    }

    fn flush_links(&mut self, cx: &mut Context<'_>, now: Time) {
        for number in (0..self.sockets.links.len()).map(LinkNo) {
            let Some(socket) = self.sockets.links[number.0].socket() else { continue };
            if let Poll::Ready(Err(_)) = socket.poll_flush(cx, now) {
                self.cut(number, telemetry::LinkFailure::Io);
            }
        }
    }

    /// Goes on without the client until none of its messages waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_busy = self.go_on(cx);
            if !self.driver.session().is_waiting() {
                return Poll::Ready(());
            }
            if !is_busy {
                return Poll::Pending;
            }
        }
    }

    /// Does what can be done while no client is served; says whether there may be more.
    fn go_on(&mut self, cx: &mut Context<'_>) -> bool {
        self.sockets.begin_turn();
        let mut is_busy = self.driver.poll_settled(cx, &mut self.sockets);
        is_busy |= self.driver.poll_places(cx);
        is_busy |= self.poll_links(cx);
        // Nobody is there to be told anything.
        self.tell_news();
        is_busy |= self.read_links(cx);
        is_busy |= self.driver.run_events(&mut self.sockets);
        is_busy |= self.check_deadline(cx);
        is_busy | self.driver.take_stirred()
    }

    /// Tells the session when its deadline has come; says whether it has.
    fn check_deadline(&mut self, cx: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        loop {
            if self.deadline.is_none() {
                let Some(due) = self.driver.session().deadline() else { return is_busy };
                let wait = due.since(self.sockets.now());
                self.deadline = Some(Box::pin(tokio::time::sleep(wait)));
            }
            let Some(sleep) = &mut self.deadline else { return is_busy };
            if sleep.as_mut().poll(cx).is_pending() {
                return is_busy;
            }
            self.deadline = None;
            self.driver.on_tick(&mut self.sockets);
            is_busy = true;
        }
    }

    /// Gives up sockets that have taken nothing for too long.
    fn check_stuck(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if !self.sockets.has_unwritten() {
            self.stuck_check = None;
            return Ok(());
        }
        let timeout = self.sockets.edge.limits.write_timeout;
        let check = self.stuck_check.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        let mut stuck = Vec::new();
        while check.as_mut().poll(cx).is_ready() {
            let now = self.sockets.now();
            if self.sockets.socket().is_some_and(|socket| socket.writer.is_stuck(now, timeout)) {
                return Err(End::Gone);
            }
            let links = self.sockets.links.iter().enumerate();
            stuck.extend(links.filter(|(_, link)| link.is_stuck(now, timeout)).map(|(n, _)| n));
            check.set(tokio::time::sleep(timeout));
        }
        for number in stuck {
            self.cut(LinkNo(number), telemetry::LinkFailure::Timeout);
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}
