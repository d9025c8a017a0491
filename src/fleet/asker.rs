//! Asks the backends for what this edge does not know: who has a session, who has an object.
//!
//! Every backend has a line of its own, opened when something is asked and closed soon after. All that
//! are not ejected are asked at once. What none of them has is unknown; while one of them does not
//! tell, nobody can be sure. Anyone on the internet can make us ask, so questions have turns, and what
//! nobody knew a moment ago is not asked again.

mod denied;
pub(super) mod line;
mod turns;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesOrdered;
use tokio::sync::oneshot;

use super::handle::FleetHandle;
use super::snapshot::BackendView;
use crate::model::{BackendId, Finding, PipelineId, SessionId};
use crate::policy::health::Health;
use crate::protocol::request::MANAGER;
use crate::runtime::{Latest, Timer, random};
use crate::settings::Settings;
use denied::Denied;
pub(crate) use line::{ANSWER_TIMEOUT, Answered, Asked, answer_to, request};
use turns::Turns;
pub use turns::{Payer, Quota};

/// Questions that may wait for one backend. When full, it counts as knowing nothing.
pub(super) const QUESTIONS_MAX: usize = 4_096;

/// When it may be asked again what somebody did not tell, in milliseconds.
pub(crate) const RETRY_AFTER_MS: u32 = 1_000;

/// What a Kurento server says of a session that it does not have.
const INVALID_SESSION: i32 = 40007;

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

impl Question {
    /// The error that says no to it. Any other is no answer.
    const fn no(self) -> i32 {
        match self {
            Self::Session(_) => INVALID_SESSION,
            Self::Pipeline(_) => OBJECT_NOT_FOUND,
        }
    }
}

/// What one backend says.
enum Said {
    Yes(Arc<BackendView>),
    No,
    /// It was not asked, or did not tell.
    Nothing,
}

/// How a backend stands with the fleet, for whoever wants to ask it.
enum Stands {
    /// It can be asked.
    Here(Arc<BackendView>),
    /// It was not heard from yet: the next probes tell.
    Open,
    /// It was given up.
    Lost,
}

/// How much may be asked, and for how long a question may be held up.
#[derive(Clone, Copy, Debug)]
pub struct AskerBounds {
    /// Questions that may be asked of the whole fleet in a second.
    pub per_second: u32,
    /// How long a backend may take to be heard from, before it is given up to ask it.
    pub wait: Duration,
}

impl AskerBounds {
    /// As `settings` have them.
    #[must_use]
    pub const fn of(settings: &Settings) -> Self {
        Self { per_second: settings.sessions.questions_per_second, wait: settings.placement.wait }
    }
}

/// A session as a key.
type SessionKey = [u8; 36];

/// Asks the fleet. Clones share it.
#[derive(Clone)]
pub struct Asker(Arc<Inner>);

struct Inner {
    handle: FleetHandle,
    timer: Arc<dyn Timer>,
    turns: Turns,
    denied: Mutex<Denied>,
    /// How long a backend may take to be heard from.
    wait: Latest<Duration>,
    /// The session that our own questions are asked in; closed after each.
    session: SessionId,
}

/// The backends that have what was asked for.
#[derive(Debug)]
pub struct Holders {
    /// Those who say so, at least one.
    pub backends: Vec<Arc<BackendView>>,
    /// Whether all others say that they have it not.
    pub is_all: bool,
}

impl Asker {
    /// Asks over the lines of the fleet, in a session of its own.
    #[must_use]
    pub fn new(handle: FleetHandle, timer: Arc<dyn Timer>, bounds: AskerBounds) -> Self {
        Self::asking_as(SessionId::from_random(random::secret()), handle, timer, bounds)
    }

    /// The same in that session.
    pub(crate) fn asking_as(
        session: SessionId,
        handle: FleetHandle,
        timer: Arc<dyn Timer>,
        bounds: AskerBounds,
    ) -> Self {
        let (turns, wait) = (Turns::per_second(bounds.per_second), bounds.wait);
        let wait = Latest::new(wait);
        Self(Arc::new(Inner { handle, timer, turns, denied: Mutex::default(), wait, session }))
    }

    /// Keeps these bounds from now on. Turns that are waited for come when they were promised.
    pub fn set_bounds(&self, bounds: AskerBounds) {
        self.0.turns.set_per_second(bounds.per_second);
        self.0.wait.set(bounds.wait);
    }

    /// The backends that have this session.
    pub async fn who_has_session(&self, session: SessionId, payer: Payer<'_>) -> Finding<Holders> {
        let key = session.as_str().as_bytes().try_into().expect("36 letters");
        let text = format!(r#""method":"keepAlive","params":{{"sessionId":"{session}"}}"#);
        self.ask(Question::Session(key), (text, None), payer).await
    }

    /// The backend on which this pipeline lives.
    pub async fn who_has_pipeline(
        &self,
        pipeline: PipelineId,
        payer: Payer<'_>,
    ) -> Finding<Arc<BackendView>> {
        let texts = (self.describe(pipeline), Some(self.close()));
        let found = self.ask(Question::Pipeline(pipeline), texts, payer).await;
        found.map(|mut holders| holders.backends.swap_remove(0))
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

    /// Releases `pipeline` on `backend`, for everybody; says whether it is gone for certain.
    pub async fn release(&self, backend: &BackendId, pipeline: PipelineId) -> bool {
        let session = self.0.session;
        let text = format!(
            r#""method":"release","params":{{"object":"{pipeline}","sessionId":"{session}"}}"#
        );
        match self.ask_one(backend, text).await {
            Answered::Value(_) | Answered::Error(OBJECT_NOT_FOUND) => true,
            Answered::Error(_) | Answered::Nothing => false,
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
        let fleet = self.0.handle.snapshot();
        let Some(view) = fleet.backend(backend) else { return Answered::Nothing };
        let (answer, answered) = oneshot::channel();
        let asked = Asked { text, after: Some(self.close()), answer };
        match view.questions.try_send(asked) {
            Ok(()) => answered.await.unwrap_or(Answered::Nothing),
            Err(_) => Answered::Nothing,
        }
    }

    /// Those who say yes, once it is `payer`'s turn.
    async fn ask(
        &self,
        question: Question,
        (text, after): (String, Option<String>),
        payer: Payer<'_>,
    ) -> Finding<Holders> {
        let timer = &*self.0.timer;
        let denied = || self.0.denied.lock().expect("nothing panics while holding it");
        if denied().has(question, timer.now()) {
            return Finding::Unknown;
        }
        if let Payer::Connection(quota) = payer
            && let Err(retry_after_ms) = quota.turn(&self.0.turns, timer).await
        {
            return Finding::NotSure(retry_after_ms);
        }
        let found = self.ask_all(question, (&text, &after)).await;
        match (&found, payer) {
            (Finding::Known(_), Payer::Connection(quota)) => quota.refund(timer.now()),
            (Finding::Unknown, _) => denied().note(question, timer.now()),
            (Finding::Known(_), Payer::Noted) | (Finding::NotSure(_), _) => {}
        }
        found
    }

    async fn ask_all(
        &self,
        question: Question,
        texts: (&str, &Option<String>),
    ) -> Finding<Holders> {
        let fleet = self.0.handle.snapshot();
        let asked = |view: &Arc<BackendView>| self.ask_when_heard(view.id.clone(), question, texts);
        let mut asking: FuturesOrdered<_> = fleet.backends.iter().map(asked).collect();
        let (mut known, mut is_sure) = (Vec::new(), true);
        while let Some(said) = asking.next().await {
            match said {
                Said::Yes(view) => known.push(view),
                Said::No => {}
                Said::Nothing => is_sure = false,
            }
        }
        if !known.is_empty() {
            return Finding::Known(Holders { backends: known, is_all: is_sure });
        }
        if is_sure { Finding::Unknown } else { Finding::NotSure(RETRY_AFTER_MS) }
    }

    /// Asks one backend once it is known how that does. One that was given up has lost what it held.
    async fn ask_when_heard(
        &self,
        id: BackendId,
        question: Question,
        (text, after): (&str, &Option<String>),
    ) -> Said {
        let view = match self.heard(&id).await {
            Stands::Here(view) => view,
            Stands::Lost => return Said::No,
            Stands::Open => return Said::Nothing,
        };
        let (answer, answered) = oneshot::channel();
        let asked = Asked { text: text.to_owned(), after: after.clone(), answer };
        if view.questions.try_send(asked).is_err() {
            return Said::Nothing;
        }
        match answered.await {
            Ok(Answered::Value(_)) => Said::Yes(view),
            Ok(Answered::Error(code)) if code == question.no() => Said::No,
            Ok(Answered::Error(_) | Answered::Nothing) | Err(_) => match self.stands(&id) {
                Stands::Lost => Said::No, // given up while it was asked
                Stands::Open | Stands::Here(_) => Said::Nothing,
            },
        }
    }

    /// How a backend stands once that is known.
    async fn heard(&self, id: &BackendId) -> Stands {
        let known = async {
            loop {
                let generation = self.0.handle.snapshot().generation;
                match self.stands(id) {
                    Stands::Open => self.0.handle.newer_than(generation).await,
                    known @ (Stands::Here(_) | Stands::Lost) => return known,
                }
            }
        };
        match select(pin!(known), self.0.timer.sleep(*self.0.wait.get())).await {
            Either::Left((known, _)) => known,
            Either::Right(_) => Stands::Open,
        }
    }

    fn stands(&self, id: &BackendId) -> Stands {
        let fleet = self.0.handle.snapshot();
        let Some(view) = fleet.backend(id) else { return Stands::Lost };
        match view.health {
            Health::Unknown => Stands::Open,
            Health::Ejected if view.incarnation.is_none() => Stands::Lost,
            // Ejected, it gets no new meetings; what it has can be asked for.
            Health::Healthy | Health::Suspect | Health::Trial | Health::Ejected => {
                Stands::Here(view.clone())
            }
        }
    }
}

/// The pipelines in `value`, a JSON array of object ids.
fn parse_pipelines(value: &str) -> Option<BTreeSet<PipelineId>> {
    let ids: Vec<String> = serde_json::from_str(value).ok()?;
    Some(ids.iter().filter_map(|id| PipelineId::parse(id)).collect())
}

#[cfg(test)]
mod tests;
