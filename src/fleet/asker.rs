//! Asks the backends for what this edge does not know: who has a session, who has an object.
//!
//! Every backend has a line of its own, opened when something is asked and closed soon after. All are
//! asked at once; the answer is theirs who say yes in time. Anyone on the internet can make us ask,
//! so questions are few a second, and what nobody knew a moment ago is not asked again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::control::{dial, failure_of};
use super::snapshot::BackendView;
use super::task::FleetHandle;
use crate::model::{BackendId, PipelineId, SessionId, Time};
use crate::policy::health::{Health, ProbeFailure};
use crate::runtime::{Clock, Tasks, Timer, random};
use crate::settings::{BackendSettings, BackendUrl};

/// Questions that may wait for one backend. When full, it counts as knowing nothing.
const QUESTIONS_MAX: usize = 4_096;

/// How long a backend may take for an answer, opening the line included.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a line stays open when nothing is asked. It may be tied to a session it asked for, and
/// keeps that alive.
const LINE_IDLE_MAX: Duration = Duration::from_secs(5);

/// How long what nobody knew is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(2);

/// Things nobody knew that are remembered; the oldest is forgotten.
const UNKNOWN_MAX: usize = 4_096;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    /// Is this session alive with you?
    Session(SessionKey),
    /// Does this pipeline live with you?
    Pipeline(PipelineId),
}

/// A session as a key.
type SessionKey = [u8; 36];

/// A question on its way to one backend.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Method and params of a call.
    pub(crate) text: String,
    /// Sent after the answer, to give back what the question took.
    pub(crate) after: Option<String>,
    /// Takes whether the backend says yes.
    pub(crate) answer: oneshot::Sender<bool>,
}

/// Asks the fleet. Clones share it.
#[derive(Clone)]
pub struct Asker(Arc<Inner>);

struct Inner {
    handle: FleetHandle,
    lines: Vec<(BackendId, mpsc::Sender<Asked>)>,
    timer: Arc<dyn Timer>,
    budget: Mutex<Budget>,
    /// The session that our own questions are asked in; closed after each.
    session: SessionId,
}

/// How much may be asked, and what need not be.
#[derive(Debug)]
struct Budget {
    per_second: u32,
    left: f64,
    since: Time,
    unknown: BTreeSet<Question>,
    unknown_since: VecDeque<(Time, Question)>,
}

impl Budget {
    fn new(per_second: u32) -> Self {
        Self {
            per_second,
            left: f64::from(per_second),
            since: Time::ZERO,
            unknown: BTreeSet::new(),
            unknown_since: VecDeque::new(),
        }
    }

    /// Whether `question` may be asked now.
    fn take(&mut self, question: Question, now: Time) -> bool {
        while let Some((since, old)) = self.unknown_since.front().copied() {
            if since + UNKNOWN_FOR > now && self.unknown_since.len() <= UNKNOWN_MAX {
                break;
            }
            self.unknown_since.pop_front();
            self.unknown.remove(&old);
        }
        let rate = f64::from(self.per_second);
        self.left = (self.left + now.since(self.since).as_secs_f64() * rate).min(rate);
        self.since = now;
        if self.left < 1.0 || self.unknown.contains(&question) {
            return false;
        }
        self.left -= 1.0;
        true
    }

    fn note_unknown(&mut self, question: Question, now: Time) {
        if self.unknown.insert(question) {
            self.unknown_since.push_back((now, question));
        }
    }
}

impl Asker {
    /// Starts a line to each backend; `per_second` questions may be asked of the whole fleet.
    #[must_use]
    pub fn start(
        backends: &[BackendSettings],
        (handle, clock): (FleetHandle, Clock),
        per_second: u32,
        tasks: &Tasks,
    ) -> Self {
        let line = |backend: &BackendSettings| {
            let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
            tasks.spawn_vital("line", run(backend.url.clone(), asked, tasks.stop_token()));
            (backend.id.clone(), questions)
        };
        let session = SessionId::from_random(random::secret());
        let lines = backends.iter().map(line).collect();
        Self::over(lines, (handle, Arc::new(clock)), per_second, session)
    }

    /// An asker without its lines: who reads from `lines` asks the backends.
    pub(crate) fn unwired(
        backends: &[BackendSettings],
        shared: (FleetHandle, Arc<dyn Timer>),
        per_second: u32,
        session: SessionId,
    ) -> (Self, Vec<mpsc::Receiver<Asked>>) {
        let line = |backend: &BackendSettings| {
            let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
            ((backend.id.clone(), questions), asked)
        };
        let (lines, asked) = backends.iter().map(line).unzip();
        (Self::over(lines, shared, per_second, session), asked)
    }

    fn over(
        lines: Vec<(BackendId, mpsc::Sender<Asked>)>,
        (handle, timer): (FleetHandle, Arc<dyn Timer>),
        per_second: u32,
        session: SessionId,
    ) -> Self {
        let budget = Mutex::new(Budget::new(per_second));
        Self(Arc::new(Inner { handle, lines, timer, budget, session }))
    }

    /// The backends that have this session.
    pub async fn who_has_session(&self, session: SessionId) -> Vec<Arc<BackendView>> {
        let key = session.as_str().as_bytes().try_into().expect("36 letters");
        let text = format!(r#""method":"keepAlive","params":{{"sessionId":"{session}"}}"#);
        self.ask(Question::Session(key), text, None).await
    }

    /// The backend on which this pipeline lives.
    pub async fn who_has_pipeline(&self, pipeline: PipelineId) -> Option<Arc<BackendView>> {
        let session = self.0.session;
        // Whoever describes a pipeline becomes an owner of it, until its session is closed.
        let text = format!(
            r#""method":"describe","params":{{"object":"{pipeline}","sessionId":"{session}"}}"#
        );
        let after = format!(r#""method":"closeSession","params":{{"sessionId":"{session}"}}"#);
        self.ask(Question::Pipeline(pipeline), text, Some(after)).await.into_iter().next()
    }

    async fn ask(
        &self,
        question: Question,
        text: String,
        after: Option<String>,
    ) -> Vec<Arc<BackendView>> {
        let budget = || self.0.budget.lock().expect("nothing panics while holding it");
        if !budget().take(question, self.0.timer.now()) {
            return Vec::new();
        }
        let fleet = self.0.handle.snapshot();
        let lines = self.0.lines.iter().filter_map(|(id, line)| {
            let view = fleet.backend(id)?;
            // One that was given up has lost what it held, as far as we are concerned.
            let may_know = matches!(view.health, Health::Healthy | Health::Suspect);
            may_know.then(|| (view.clone(), line))
        });
        let answers = lines.map(|(view, line)| {
            let (answer, answered) = oneshot::channel();
            let asked = Asked { text: text.clone(), after: after.clone(), answer };
            let is_asked = line.try_send(asked).is_ok();
            async move { (is_asked && answered.await.unwrap_or(false)).then_some(view) }
        });
        let known: Vec<_> = join_all(answers).await.into_iter().flatten().collect();
        if known.is_empty() {
            budget().note_unknown(question, self.0.timer.now());
        }
        known
    }
}

/// The line to one backend: answers questions one after another.
async fn run(url: BackendUrl, mut asked: mpsc::Receiver<Asked>, stop: CancellationToken) {
    let mut line = None;
    loop {
        let next = tokio::time::timeout(LINE_IDLE_MAX, asked.recv());
        let question = match stop.run_until_cancelled(next).await {
            None => return,
            // Whoever could ask has gone: the process is about to stop.
            Some(Ok(None)) => return stop.cancelled().await,
            Some(Ok(Some(question))) => question,
            Some(Err(_)) => {
                line = None;
                // Nothing to close any more: wait for as long as it takes.
                match stop.run_until_cancelled(asked.recv()).await {
                    None => return,
                    Some(None) => return stop.cancelled().await,
                    Some(Some(question)) => question,
                }
            }
        };
        let Asked { text, after, answer } = question;
        if answer.is_closed() {
            continue;
        }
        let known = tokio::time::timeout(ANSWER_TIMEOUT, ask(&url, &mut line, &text)).await;
        let _ = answer.send(known == Ok(Some(true))); // who asked may have left
        if !matches!(known, Ok(Some(_))) {
            line = None;
        }
        if let (Some(after), true) = (after, line.is_some()) {
            let closed = tokio::time::timeout(ANSWER_TIMEOUT, ask(&url, &mut line, &after)).await;
            if !matches!(closed, Ok(Some(_))) {
                line = None;
            }
        }
    }
}

/// Whether the backend says yes; `None` if it could not be asked.
async fn ask(url: &BackendUrl, line: &mut Option<Line>, text: &str) -> Option<bool> {
    let line = match line {
        Some(line) => line,
        None => line.insert(Line::open(url).await.ok()?),
    };
    line.succeeds(text).await.ok()
}

/// The question `call` as it is sent.
pub(crate) fn request(id: &str, call: &str) -> String {
    format!(r#"{{"id":"{id}","jsonrpc":"2.0",{call}}}"#)
}

/// Whether `text` says yes to the question with that id; `None` if it is something else.
///
/// # Errors
/// It cannot be read.
pub(crate) fn answer_to(id: &str, text: &str) -> serde_json::Result<Option<bool>> {
    let answer: Answer<'_> = serde_json::from_str(text)?;
    Ok((answer.id == Some(id)).then_some(answer.error.is_none()))
}

/// A connection to a backend.
struct Line {
    socket: WebSocketStream<TcpStream>,
    /// What the ids of its calls begin with: Kurento keeps answers by session and id for 20 s, across
    /// connections.
    prefix: String,
    last_id: u64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<&'a str>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Line {
    async fn open(url: &BackendUrl) -> Result<Self, ProbeFailure> {
        let prefix = format!("pinfold-ask-{:x}", random::seed());
        Ok(Self { socket: dial(url).await?, prefix, last_id: 0 })
    }

    /// Makes a call; whether it succeeds.
    async fn succeeds(&mut self, call: &str) -> Result<bool, ProbeFailure> {
        self.last_id += 1;
        let id = format!("{}-{}", self.prefix, self.last_id);
        let text = request(&id, call);
        self.socket.send(Message::text(text)).await.map_err(|error| failure_of(&error))?;
        loop {
            let message = self.socket.next().await.ok_or(ProbeFailure::Cut)?;
            let message = message.map_err(|error| failure_of(&error))?;
            let Message::Text(text) = message else { continue };
            let answer = answer_to(&id, &text).map_err(|_| ProbeFailure::Protocol)?;
            if let Some(says_yes) = answer {
                return Ok(says_yes);
            }
        }
    }
}
