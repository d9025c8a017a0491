//! Probes one backend over a connection of its own.
//!
//! A probe is answered by the media service: handshake on the real path, `connect` (which tells the
//! process by its `serverId`) and `getInfo` once a connection, then `ping`. A TCP connect, or the
//! handshake alone, proves nothing: Kurento accepts both on a wrong path and while it hangs.
//!
//! The same connection measures how the backend is used and brings the events of its manager. All is
//! asked one after another, so a measurement never overlaps with another or with a probe.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::control::{CPU_INTERVAL, Control};
use super::handle::FleetHandle;
use super::table::Report;
use crate::model::Draws;
use crate::policy::health::ProbeFailure;
use crate::runtime::Clock;
use crate::settings::{BackendUrl, ProbeSettings};
use crate::telemetry::{Metrics, ProbeOutcome};

/// Probes one backend for ever.
#[derive(Debug)]
pub(super) struct Prober {
    pub(super) index: usize,
    pub(super) url: BackendUrl,
    pub(super) settings: ProbeSettings,
    /// Where other settings come from.
    pub(super) changes: watch::Receiver<ProbeSettings>,
    pub(super) clock: Clock,
    pub(super) draws: Draws,
    pub(super) handle: FleetHandle,
}

impl Prober {
    pub(super) async fn run(mut self, metrics: Metrics, stop: CancellationToken) {
        let mut control = None;
        while !stop.is_cancelled() {
            self.settings.clone_from(&self.changes.borrow());
            let Some(probed) = stop.run_until_cancelled(self.probe(&mut control)).await else {
                return;
            };
            let mut pause = self.tell(probed, &mut control, &metrics).await;
            match stop.run_until_cancelled(self.sample(&mut control)).await {
                None => return,
                Some(Ok(None)) => {}
                Some(Ok(Some(report))) => self.handle.report(self.index, report).await,
                Some(Err(failure)) => {
                    pause = self.tell(Err(failure), &mut control, &metrics).await;
                }
            }
            stop.run_until_cancelled(self.wait(pause, &mut control)).await;
        }
    }

    /// Reports how a probe ended; returns the time to the next.
    async fn tell(
        &mut self,
        probed: Result<Report, ProbeFailure>,
        control: &mut Option<Control>,
        metrics: &Metrics,
    ) -> Duration {
        let report = probed.unwrap_or_else(|failure| {
            *control = None;
            Report::Failed(failure)
        });
        let pause = pause_after(&report, &self.settings, &mut self.draws);
        metrics.on_probe(outcome(&report));
        self.handle.report(self.index, report).await;
        pause
    }

    /// Waits, unless somebody wants a probe or events, or the connection ends before.
    async fn wait(&self, pause: Duration, control: &mut Option<Control>) {
        let is_deaf = control.as_ref().is_some_and(Control::could_bring_events);
        let wanted = async {
            match is_deaf {
                true => self.handle.hub().wanted().await,
                false => std::future::pending().await,
            }
        };
        let cut = async {
            match control {
                Some(control) => control.attend().await,
                None => std::future::pending().await,
            }
        };
        // However many links fail at once, they do not make failures follow faster than this.
        let kicked = async {
            tokio::time::sleep(self.settings.retry).await;
            self.handle.kicked(self.index).await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = kicked => {}
            () = cut => {}
            () = wanted => {}
        }
    }

    /// Probes once, and sees to the events of the backend: before it is reported to be there, so that
    /// whoever listens misses nothing that is made there later.
    async fn probe(&self, control: &mut Option<Control>) -> Result<Report, ProbeFailure> {
        let started = self.clock.now();
        let mut facts = None;
        let control = match control {
            Some(control) => {
                self.in_time(control.ping()).await?;
                control
            }
            None => {
                let hub = (self.handle.hub().clone(), self.index);
                let (opened, told) = self.in_time(Control::open(&self.url, hub)).await?;
                facts = Some(told);
                control.insert(opened)
            }
        };
        let took = self.clock.now().since(started);
        self.in_time(control.heed_wishes()).await?;
        Ok(Report::Answered { incarnation: control.incarnation, facts, took })
    }

    /// Asks how the backend is used, if it is time for that. A backend that does not answer that has
    /// not answered a probe: all is asked over one connection, one after another.
    async fn sample(&self, control: &mut Option<Control>) -> Result<Option<Report>, ProbeFailure> {
        let Some(control) = control else { return Ok(None) };
        let now = self.clock.now();
        if control.sampled.is_some_and(|last| now.since(last) < self.settings.sample) {
            return Ok(None);
        }
        if control.sampled.replace(now).is_some() {
            self.in_time(control.renew_subscriptions()).await?;
        }
        let usage = tokio::time::timeout(self.settings.timeout + CPU_INTERVAL, control.sample())
            .await
            .unwrap_or(Err(ProbeFailure::Timeout))?;
        Ok(Some(Report::Sampled { incarnation: control.incarnation, usage }))
    }

    async fn in_time<T>(
        &self,
        step: impl Future<Output = Result<T, ProbeFailure>>,
    ) -> Result<T, ProbeFailure> {
        tokio::time::timeout(self.settings.timeout, step)
            .await
            .unwrap_or(Err(ProbeFailure::Timeout))
    }
}

/// The time from a probe to the next: soon when no process seems to be there, else the interval with
/// its jitter.
pub(crate) fn pause_after(
    report: &Report,
    settings: &ProbeSettings,
    draws: &mut Draws,
) -> Duration {
    match report {
        Report::Failed(failure) if failure.shows_absence() => settings.retry,
        Report::Failed(_)
        | Report::Answered { .. }
        | Report::Sampled { .. }
        | Report::Told(_)
        | Report::Deep(..)
        | Report::DialFailed(_)
        | Report::Unanswered(_) => jittered(settings.interval, settings, draws),
    }
}

/// A pause of about `interval`, drawn anew each time.
pub(super) fn jittered(
    interval: Duration,
    settings: &ProbeSettings,
    draws: &mut Draws,
) -> Duration {
    let jitter = f64::from(settings.jitter_percent) / 100.0;
    interval.mul_f64(1.0 + jitter * (2.0 * draws.fraction() - 1.0))
}

fn outcome(report: &Report) -> ProbeOutcome {
    match report {
        Report::Answered { .. }
        | Report::Sampled { .. }
        | Report::Told(_)
        | Report::Deep(..)
        | Report::DialFailed(_)
        | Report::Unanswered(_) => ProbeOutcome::Ok,
        Report::Failed(ProbeFailure::Timeout) => ProbeOutcome::Timeout,
        Report::Failed(
            ProbeFailure::Refused
            | ProbeFailure::Unreachable
            | ProbeFailure::Cut
            | ProbeFailure::Handshake,
        ) => ProbeOutcome::Refused,
        Report::Failed(ProbeFailure::Protocol) => ProbeOutcome::Error,
    }
}
