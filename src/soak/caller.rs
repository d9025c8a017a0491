//! A client's session: calls that are answered in the end, over one connection after another.
//!
//! Does what the official clients do: ids count up and are never used again; when the connection ends
//! it opens another, says `ping` and `connect` with its session, and sends the calls that have no
//! answer once more, with the ids they had. Told 40007 there, it gives them up and begins anew.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::books::Books;
use super::ledger::{Answer, CallId, CallNote};
use super::socket::Socket;
use crate::model::{Draws, Time};

/// Longest pause before a connection is tried again; the first is a hundredth of it.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The session is not known: the backend that had it is gone.
pub(super) const INVALID_SESSION: i64 = 40007;

/// A call to be made.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) params: Value,
    /// The pipeline it is about, if that exists.
    pub(super) pipeline: Option<String>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Its result, with when it was last sent and when that was answered.
    Answered(Value, (Time, Time)),
    /// The code of its error.
    Refused(i64),
    /// Not answered in time: the ledger has it as a silent loss.
    Silent,
    /// Cut off and not sent again, because its session is lost.
    GivenUp,
}

/// One call under way.
#[derive(Debug)]
struct Pending {
    id: u64,
    note: CallNote,
    text: String,
    sent: Option<Time>,
    outcome: Option<Outcome>,
}

/// The parts of a message that matter here.
#[derive(Deserialize)]
struct Incoming {
    id: Option<u64>,
    #[serde(default)]
    result: Value,
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: i64,
}

/// The session of one client.
#[derive(Debug)]
pub(super) struct Caller {
    /// Number of the client.
    number: u32,
    edge: SocketAddr,
    books: Books,
    draws: Draws,
    /// Ended when the run is: no connection is tried for then.
    stop: CancellationToken,
    socket: Option<Socket>,
    /// Connections opened so far.
    connections: u32,
    session: Option<String>,
    last_id: u64,
    /// Name of the meeting the client is in, for the ledger.
    pub(super) meeting: String,
}

impl Caller {
    /// A client without a session yet.
    pub(super) fn new(
        number: u32,
        edge: SocketAddr,
        (books, draws): (Books, Draws),
        stop: CancellationToken,
    ) -> Self {
        Self {
            number,
            edge,
            books,
            draws,
            stop,
            socket: None,
            connections: 0,
            session: None,
            last_id: 0,
            meeting: String::new(),
        }
    }

    /// Number of the client.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Makes `calls`, all at once, and waits for the outcome of each, in their order.
    pub(super) async fn call(&mut self, calls: Vec<Call>) -> Vec<Outcome> {
        let mut pending: Vec<Pending> = calls.into_iter().map(|call| self.prepare(call)).collect();
        while pending.iter().any(|call| call.outcome.is_none()) {
            if !self.ready().await {
                self.give_up(&mut pending);
                break;
            }
            self.exchange(&mut pending).await;
        }
        let outcome = |call: Pending| call.outcome.unwrap_or(Outcome::GivenUp);
        pending.into_iter().map(outcome).collect()
    }

    /// Makes one call.
    pub(super) async fn call_one(&mut self, call: Call) -> Outcome {
        self.call(vec![call]).await.pop().unwrap_or(Outcome::GivenUp)
    }

    /// Reads events for `time`, or until the connection ends.
    pub(super) async fn idle(&mut self, time: Duration) {
        let wait = tokio::time::sleep(time);
        tokio::pin!(wait);
        loop {
            let Some(socket) = &mut self.socket else { return wait.await };
            let text = tokio::select! {
                () = &mut wait => return,
                text = socket.next() => text,
            };
            match text {
                Some(text) => self.take(&text, &mut []),
                None => self.cut(),
            }
        }
    }

    /// Ends the connection without a word; the session can be taken up again.
    pub(super) fn cut(&mut self) {
        if self.socket.take().is_some() {
            self.books.enter(|ledger, now| ledger.cut(self.number, now));
        }
    }

    /// Closes session and connection; the next call begins a new one.
    pub(super) async fn close(&mut self) {
        if self.session.is_some() && self.socket.is_some() {
            let params = json!({"sessionId": self.session});
            self.call_one(Call { method: "closeSession", params, pipeline: None }).await;
        }
        self.session = None;
        if let Some(socket) = self.socket.take() {
            socket.close().await;
        }
    }

    /// Forgets the session: its next call begins a new one, on a new connection.
    pub(super) fn begin_anew(&mut self) {
        self.cut();
        self.session = None;
    }

    fn prepare(&mut self, call: Call) -> Pending {
        self.last_id += 1;
        let Call { method, params, pipeline } = call;
        let text =
            json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        let note = CallNote { meeting: self.meeting.clone(), method, pipeline };
        Pending { id: self.last_id, note, text: text.to_string(), sent: None, outcome: None }
    }

    /// Makes sure of a connection with the session on it. False if the session is lost, or the run is
    /// over and the edge cannot be reached.
    async fn ready(&mut self) -> bool {
        let mut pause = RETRY_MAX / 100;
        loop {
            if self.socket.is_some() {
                return true;
            }
            if let Some(socket) = Socket::open(self.edge).await {
                self.socket = Some(socket);
                self.connections += 1;
                self.books.enter(|ledger, _| ledger.counts_mut().connections += 1);
                match self.resume().await {
                    Resumed::Yes => return true,
                    Resumed::Refused => return false,
                    Resumed::NotYet => {}
                }
            } else if self.stop.is_cancelled() {
                return false;
            }
            // Half to one and a half of it, so that clients do not come all at once.
            let pause_now = pause.mul_f64(0.5 + self.draws.fraction());
            tokio::time::sleep(pause_now).await;
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    /// Takes the session up on a new connection.
    async fn resume(&mut self) -> Resumed {
        let Some(session) = self.session.clone() else { return Resumed::Yes };
        let ping = Call { method: "ping", params: json!({}), pipeline: None };
        let connect =
            Call { method: "connect", params: json!({"sessionId": session}), pipeline: None };
        let mut pending = vec![self.prepare(ping), self.prepare(connect)];
        self.exchange(&mut pending).await;
        // They are not sent again: the next connection has its own.
        self.give_up(&mut pending);
        match pending.pop().and_then(|call| call.outcome) {
            Some(Outcome::Answered(result, _)) => {
                if result["sessionId"] != session.as_str() {
                    let what = format!("client {} asked for {session}: {result}", self.number);
                    self.books.enter(|ledger, now| ledger.wrong_answer(&self.meeting, what, now));
                }
                self.books.enter(|ledger, _| ledger.counts_mut().resumed += 1);
                Resumed::Yes
            }
            Some(Outcome::Refused(INVALID_SESSION)) => {
                self.books.enter(|ledger, _| ledger.counts_mut().sessions_lost += 1);
                self.begin_anew();
                Resumed::Refused
            }
            // 40009 says that a backend which may have the session does not tell: try again.
            Some(Outcome::Refused(_) | Outcome::Silent | Outcome::GivenUp) | None => {
                self.cut();
                Resumed::NotYet
            }
        }
    }

    /// Sends what has no outcome yet and reads until all have one, or the connection ends.
    async fn exchange(&mut self, pending: &mut [Pending]) {
        for call in pending.iter_mut().filter(|call| call.outcome.is_none()) {
            let Some(socket) = &mut self.socket else { return };
            let id = CallId { client: self.number, id: call.id };
            let now = self.books.enter(|ledger, now| {
                ledger.sent(id, self.connections, (&call.note, &call.text), now);
                now
            });
            call.sent = Some(now);
            if socket.send(&call.text).await.is_none() {
                return self.cut();
            }
        }
        while pending.iter().any(|call| call.outcome.is_none()) {
            self.read(pending).await;
            if self.socket.is_none() {
                return;
            }
        }
    }

    /// Reads one text, or finds that calls are overdue, or that the connection has ended.
    async fn read(&mut self, pending: &mut [Pending]) {
        let wait = self.books.enter(|ledger, now| ledger.overdue_in(self.number, now));
        let Some(socket) = &mut self.socket else { return };
        let read = tokio::time::timeout(wait.unwrap_or_default(), socket.next());
        match read.await {
            Ok(Some(text)) => self.take(&text, pending),
            Ok(None) => self.cut(),
            Err(_) => {
                let lost = self.books.enter(|ledger, now| ledger.overdue(self.number, now));
                for call in pending.iter_mut().filter(|call| lost.contains(&call.id)) {
                    call.outcome = Some(Outcome::Silent);
                }
            }
        }
    }

    /// Takes in one message: an answer goes to its call, an event is passed over.
    fn take(&mut self, text: &str, pending: &mut [Pending]) {
        let Ok(message) = serde_json::from_str::<Incoming>(text) else {
            let what = format!("client {} was sent no JSON-RPC: {text}", self.number);
            return self.books.enter(|ledger, now| ledger.wrong_answer(&self.meeting, what, now));
        };
        let Some(id) = message.id else { return };
        let error = message.error.map(|error| error.code);
        let outcome = error.map_or(Ok(()), Err);
        let id = CallId { client: self.number, id };
        let answer = Answer { outcome, text };
        let (is_settled, now) = self.books.enter(|ledger, now| (ledger.came(id, answer, now), now));
        let call = pending.iter_mut().find(|call| call.id == id.id);
        let Some(call) = call.filter(|call| is_settled && call.outcome.is_none()) else { return };
        let sent = call.sent.unwrap_or(now);
        call.outcome = Some(match error {
            Some(code) => Outcome::Refused(code),
            None => Outcome::Answered(message.result, (sent, now)),
        });
        if let Some(Outcome::Answered(result, _)) = &call.outcome {
            self.learn_session(result);
        }
    }

    /// The session comes with the first answer that has one, and stays the same.
    fn learn_session(&mut self, result: &Value) {
        let Some(told) = result["sessionId"].as_str() else { return };
        match &self.session {
            Some(session) if session != told => {
                let what = format!("client {} in session {session} was told {told}", self.number);
                self.books.enter(|ledger, now| ledger.wrong_answer(&self.meeting, what, now));
            }
            Some(_) => {}
            None => self.session = Some(told.to_owned()),
        }
    }

    /// Nobody will send these again.
    fn give_up(&mut self, pending: &mut [Pending]) {
        for call in pending.iter_mut().filter(|call| call.outcome.is_none()) {
            let id = CallId { client: self.number, id: call.id };
            self.books.enter(|ledger, _| ledger.given_up(id));
            call.outcome = Some(Outcome::GivenUp);
        }
    }
}

/// What became of a session on a new connection.
enum Resumed {
    Yes,
    /// It is lost, and the calls in it.
    Refused,
    /// The connection ended, or the edge cannot tell: to be tried again.
    NotYet,
}
