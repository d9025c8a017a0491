//! Deep probes: now and then a backend must do what it is there for, make a pipeline and release it.
//!
//! `ping` is answered by a server that has no descriptors left, whose disk is full, or that blocks in
//! what makes media. A deep probe has a connection and a session of its own, so that one that is never
//! answered holds up neither the pings nor anybody else, and so that the handshake is tried too. There
//! is one at a time: a server has ten threads, and each probe that hangs takes one. Source: Kurento
//! protocol notes, sections 9 and 10.
//!
//! No pipeline stays: it is released however late its answer comes. If the connection breaks before,
//! or this edge ends, the server collects the session, which is nobody else's, within its two periods.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::control::dial;
use super::handle::FleetHandle;
use super::probe::jittered;
use super::snapshot::{BackendView, FleetSnapshot};
use super::table::Report;
use crate::model::{Draws, Incarnation, PipelineId};
use crate::policy::health::{Deep, Health};
use crate::runtime::Clock;
use crate::settings::{BackendUrl, ProbeSettings};
use crate::telemetry::{DeepOutcome, Metrics};

/// How long the answer to a probe is awaited that has long failed, so that its pipeline is released.
/// Then the connection is dropped. Longer than a server takes that still comes to itself.
const LATE_MAX: Duration = Duration::from_secs(600);

/// What a server says when it has no descriptors or threads left.
const NOT_ENOUGH_RESOURCES: i32 = 40009;

/// Probes one backend deeply for ever.
#[derive(Debug)]
pub(super) struct DeepProber {
    pub(super) number: usize,
    pub(super) url: BackendUrl,
    /// As they are now.
    pub(super) settings: watch::Receiver<ProbeSettings>,
    pub(super) clock: Clock,
    pub(super) draws: Draws,
    pub(super) handle: FleetHandle,
}

/// An answer, as far as it is read.
#[derive(Deserialize)]
struct Answer {
    id: Option<String>,
    result: Option<Made>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Made {
    value: Option<String>,
    #[serde(rename = "sessionId")]
    session: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i32,
}

impl DeepProber {
    pub(super) async fn run(mut self, metrics: Metrics, stop: CancellationToken) {
        let forever = async {
            loop {
                self.wait().await;
                if let Some(process) = self.process() {
                    self.probe(process, &metrics).await;
                }
            }
        };
        let _ended: Option<()> = stop.run_until_cancelled(forever).await;
    }

    /// Waits until the next is due: soon if the backend is on trial, and must pass one. Other settings
    /// begin the wait anew.
    async fn wait(&mut self) {
        loop {
            let settings = self.settings.borrow_and_update().clone();
            let pause = jittered(settings.deep, &settings, &mut self.draws);
            let due = async {
                match settings.deep.is_zero() {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(pause).await,
                }
            };
            let wanted = self.wanted(settings.interval);
            let mut changes = self.settings.clone();
            tokio::select! {
                () = due => return,
                () = wanted, if !settings.deep.is_zero() => return,
                changed = changes.changed() => if changed.is_err() {
                    std::future::pending::<()>().await; // the fleet has ended
                },
            }
        }
    }

    /// Waits until the backend is on trial, `pause` from now or later.
    async fn wanted(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        let mut fleet = self.handle.watch();
        let is_wanted = |view: &Arc<BackendView>| {
            let is_tried = view.out.is_some_and(|(cause, _)| !cause.is_loss());
            view.number == self.number && view.health == Health::Trial && is_tried
        };
        let is_seen = |fleet: &Arc<FleetSnapshot>| fleet.backends.iter().any(is_wanted);
        let has_ended = fleet.wait_for(is_seen).await.is_err();
        if has_ended {
            std::future::pending::<()>().await;
        }
    }

    /// The process to be probed; `None` while nobody answers, of whom a ping tells enough.
    fn process(&self) -> Option<Incarnation> {
        let fleet = self.handle.snapshot();
        let view = fleet.backends.iter().find(|view| view.number == self.number)?;
        view.incarnation.filter(|_| view.last_failure.is_none())
    }

    /// Probes once, and sees it to its end.
    async fn probe(&self, process: Incarnation, metrics: &Metrics) {
        let mut attempt = pin!(self.attempt());
        self.handle.hub().own().begin(self.number);
        let limit = self.settings.borrow().timeout;
        let started = self.clock.now();
        loop {
            // Each time that it is still not answered is another failure.
            let ended = timeout(limit, &mut attempt).await;
            let is_late = ended.is_err();
            let deep = ended.unwrap_or(Deep::Failed);
            if is_late {
                self.know(None);
            }
            metrics.on_deep_probe(outcome(deep));
            self.handle.report(self.number, Report::Deep(process, deep)).await;
            if !is_late || self.clock.now().since(started) > LATE_MAX {
                return;
            }
        }
    }

    /// Makes a pipeline and releases it.
    async fn attempt(&self) -> Deep {
        let Ok(mut socket) = dial(&self.url).await else {
            self.know(None);
            return Deep::Failed;
        };
        let started = self.clock.now();
        let answer = ask(&mut socket, 1, "create", r#"{"type":"MediaPipeline"}"#).await;
        let took = self.clock.now().since(started);
        let made = answer.as_ref().and_then(|answer| answer.result.as_ref());
        let object = made.and_then(|made| made.value.as_deref());
        self.know(object.and_then(PipelineId::parse));
        let deep = match (object, answer.as_ref().and_then(|answer| answer.error.as_ref())) {
            (Some(object), _) => {
                let params = format!(r#"{{"object":{}}}"#, quoted(object));
                match ask(&mut socket, 2, "release", &params).await {
                    Some(Answer { error: None, .. }) => Deep::Passed(took),
                    Some(_) | None => Deep::Failed,
                }
            }
            (None, Some(Refusal { code: NOT_ENOUGH_RESOURCES })) => Deep::Refused,
            (None, _) => Deep::Failed,
        };
        if let Some(session) = made.and_then(|made| made.session.as_deref()) {
            let params = format!(r#"{{"sessionId":{},"release":true}}"#, quoted(session));
            // With the session goes the pipeline, if it could not be released.
            ask(&mut socket, 3, "closeSession", &params).await;
        }
        // It has done its work; how the connection ends is of no importance.
        let _ = socket.close(None).await;
        deep
    }

    /// The pipeline that is made now is this one, or is not known in time.
    fn know(&self, made: Option<PipelineId>) {
        let hub = self.handle.hub();
        for event in hub.own().end(self.number, made) {
            hub.publish(event);
        }
    }
}

impl Drop for DeepProber {
    fn drop(&mut self) {
        let hub = self.handle.hub();
        for event in hub.own().forget(self.number) {
            hub.publish(event);
        }
    }
}

/// Makes a call and awaits its answer; `None` if there is none that can be read.
async fn ask(
    socket: &mut WebSocketStream<TcpStream>,
    number: u32,
    method: &str,
    params: &str,
) -> Option<Answer> {
    let id = format!("pinfold-deep-{number}");
    let text = format!(r#"{{"id":"{id}","jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
    socket.send(Message::text(text)).await.ok()?;
    loop {
        let Message::Text(text) = socket.next().await?.ok()? else { continue };
        let answer: Answer = serde_json::from_str(&text).ok()?;
        if answer.id.as_deref() == Some(&id) {
            return Some(answer);
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const fn outcome(deep: Deep) -> DeepOutcome {
    match deep {
        Deep::Passed(_) => DeepOutcome::Passed,
        Deep::Refused => DeepOutcome::Refused,
        Deep::Failed => DeepOutcome::Failed,
    }
}
