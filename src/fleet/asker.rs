//! Asks the backends for what this edge does not know: who has a session, who has an object.
//!
//! Every backend has a line of its own, opened when something is asked and closed soon after. All are
//! asked at once; the answer is theirs who say yes in time. Anyone on the internet can make us ask,
//! so questions are few a second, and what nobody knew a moment ago is not asked again.

mod line;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::snapshot::BackendView;
use super::task::FleetHandle;
use crate::model::{BackendId, PipelineId, SessionId, Time};
use crate::policy::health::Health;
use crate::protocol::request::MANAGER;
use crate::runtime::{Clock, Tasks, Timer, random};
use crate::settings::BackendSettings;
pub(crate) use line::{ANSWER_TIMEOUT, Answered, Asked, answer_to, request};

/// Questions that may wait for one backend. When full, it counts as knowing nothing.
const QUESTIONS_MAX: usize = 4_096;

/// How long what nobody knew is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(2);

/// Things nobody knew that are remembered; the oldest is forgotten.
const UNKNOWN_MAX: usize = 4_096;

/// What a Kurento server says of an object that it does not have.
const OBJECT_NOT_FOUND: i32 = 40101;

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
            tasks.spawn_vital("line", line::run(backend.url.clone(), asked, tasks.stop_token()));
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
        let text = self.describe(pipeline);
        self.ask(Question::Pipeline(pipeline), text, Some(self.close())).await.into_iter().next()
    }

    /// All pipelines on `backend`; `None` if it does not tell. Not limited, because no client can make
    /// us ask.
    ///
    /// Once at the start, no more: a Kurento server takes the question for a sign of life of all that
    /// it has. Source: Kurento protocol notes, section 3.6.
    pub async fn pipelines_of(&self, backend: &BackendId) -> Option<BTreeSet<PipelineId>> {
        let session = self.0.session;
        let text = format!(
            r#""method":"invoke","params":{{"object":"{MANAGER}","operation":"getPipelines","operationParams":{{}},"sessionId":"{session}"}}"#
        );
        match self.ask_one(backend, text).await {
            Answered::Value(value) => parse_pipelines(&value),
            Answered::Error(_) | Answered::Nothing => None,
        }
    }

    /// Whether `pipeline` lives on `backend`; `None` if that does not tell. Not limited either.
    pub async fn has_pipeline(&self, backend: &BackendId, pipeline: PipelineId) -> Option<bool> {
        match self.ask_one(backend, self.describe(pipeline)).await {
            Answered::Value(_) => Some(true),
            Answered::Error(OBJECT_NOT_FOUND) => Some(false),
            Answered::Error(_) | Answered::Nothing => None,
        }
    }

    /// Whoever describes a pipeline becomes an owner of it, until its session is closed.
    fn describe(&self, pipeline: PipelineId) -> String {
        let session = self.0.session;
        format!(r#""method":"describe","params":{{"object":"{pipeline}","sessionId":"{session}"}}"#)
    }

    fn close(&self) -> String {
        format!(r#""method":"closeSession","params":{{"sessionId":"{}"}}"#, self.0.session)
    }

    /// Asks one backend, and gives back what the question took.
    async fn ask_one(&self, backend: &BackendId, text: String) -> Answered {
        let Some((_, line)) = self.0.lines.iter().find(|(id, _)| id == backend) else {
            return Answered::Nothing;
        };
        let (answer, answered) = oneshot::channel();
        let asked = Asked { text, after: Some(self.close()), answer };
        match line.try_send(asked) {
            Ok(()) => answered.await.unwrap_or(Answered::Nothing),
            Err(_) => Answered::Nothing,
        }
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
            async move {
                let says_yes = is_asked && matches!(answered.await, Ok(Answered::Value(_)));
                says_yes.then_some(view)
            }
        });
        let known: Vec<_> = join_all(answers).await.into_iter().flatten().collect();
        if known.is_empty() {
            budget().note_unknown(question, self.0.timer.now());
        }
        known
    }
}

/// The pipelines in `value`, a JSON array of object ids.
fn parse_pipelines(value: &str) -> Option<BTreeSet<PipelineId>> {
    let ids: Vec<String> = serde_json::from_str(value).ok()?;
    Some(ids.iter().filter_map(|id| PipelineId::parse(id)).collect())
}
