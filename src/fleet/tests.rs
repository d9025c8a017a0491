//! Probes over real sockets, and what becomes of the backend. Intervals are short, and every test
//! waits for what it wants to see.

mod manager;
mod server;
mod turnover;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::*;
use crate::model::{BackendId, Incarnation, Legs, Time};
use crate::policy::health::{Health, ProbeFailure};
use crate::runtime::{Clock, Tasks};
use crate::settings::{BackendSettings, BackendUrl, ProbeSettings};
use crate::telemetry::Metrics;
use server::{Mood, Server};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// As good as never.
const NEVER: Duration = Duration::from_secs(3_600);

fn quick() -> ProbeSettings {
    ProbeSettings {
        interval: Duration::from_millis(20),
        jitter_percent: 0,
        timeout: PATIENCE,
        retry: Duration::from_millis(10),
        sample: Duration::from_secs(10),
        eject_after: NonZeroU32::new(3).unwrap(),
        readmit_after: NonZeroU32::new(2).unwrap(),
    }
}

/// A fleet of one backend.
struct Watched {
    fleet: FleetHandle,
    snapshots: watch::Receiver<Arc<FleetSnapshot>>,
    losses: mpsc::Receiver<Loss>,
    metrics: Metrics,
    _tasks: Tasks,
}

impl Watched {
    fn start(url: &BackendUrl, probe: &ProbeSettings) -> Self {
        let backend = BackendSettings::new(id(), url.clone(), Legs(400));
        let (tasks, metrics) = (Tasks::new(), Metrics::new());
        let fleet = Fleet::new(&[backend], probe, Clock::start(), 0);
        let handle = fleet.handle.clone();
        let losses = fleet.start(&tasks, &metrics);
        let snapshots = handle.watch();
        Self { fleet: handle, snapshots, losses, metrics, _tasks: tasks }
    }

    /// Waits until the backend is seen as `health`.
    async fn until(&mut self, health: Health) -> Arc<BackendView> {
        let found = self.snapshots.wait_for(|fleet| fleet.backends[0].health == health);
        let found = timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("never {health:?}")).unwrap().backends[0].clone()
    }

    /// Waits for the next loss, which must be that of the process that `view` shows.
    async fn until_lost(&mut self, view: &BackendView) {
        let loss = timeout(PATIENCE, self.losses.recv()).await.unwrap().unwrap();
        let incarnation = view.incarnation.unwrap();
        assert_eq!(loss, Loss { backend: id(), incarnation });
        assert!(view.lost.is_cancelled(), "whoever waits for the loss has been told before");
    }

    fn probes(&self, outcome: &str, count: u32) -> bool {
        let line = format!("pinfold_probes_total{{outcome=\"{outcome}\"}} {count}");
        self.metrics.encode().lines().any(|found| found == line)
    }
}

fn id() -> BackendId {
    BackendId::parse("kms-a").unwrap()
}

/// Lets other tasks work until `holds`.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn the_first_answer_makes_a_backend_eligible() {
    let server = Server::start(Mood::Frozen).await;
    let mut watched = Watched::start(&server.url, &quick());
    let unknown = watched.until(Health::Unknown).await;
    assert!(!unknown.takes_pins() && unknown.server_id.is_none());
    assert_eq!(unknown.last_probe.last(), None);

    server.turn(Mood::Answers("one"));
    let healthy = watched.until(Health::Healthy).await;
    assert!(healthy.takes_pins());
    assert_eq!(healthy.server_id.as_deref(), Some("one"));
    assert_eq!(healthy.version.as_deref(), Some("7.3.1"));
    assert_eq!(healthy.incarnation, Some(Incarnation::of("one")));
    let info = watched.fleet.snapshot().server_info.clone();
    assert_eq!(info.as_deref(), Some(r#"{"modules":[],"version":"7.3.1"}"#));
}

#[tokio::test]
async fn three_failures_eject_and_two_answers_readmit() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &quick());
    let before = watched.until(Health::Healthy).await;

    server.turn(Mood::Dead);
    let suspect = watched.until(Health::Suspect).await;
    assert!(!suspect.takes_pins() && !before.lost.is_cancelled(), "its meetings stay");
    assert_eq!(suspect.last_failure, Some(ProbeFailure::Cut));
    let ejected = watched.until(Health::Ejected).await;
    assert!(watched.probes("refused", 3), "{}", watched.metrics.encode());
    assert_eq!((ejected.takes_pins(), ejected.incarnation), (false, None));
    watched.until_lost(&before).await;

    let answered = server.pings();
    server.turn(Mood::Answers("one"));
    let trial = watched.until(Health::Trial).await;
    assert!(!trial.takes_pins());
    let after = watched.until(Health::Healthy).await;
    assert_eq!(server.pings(), answered + 1, "the first answer was the opening of the connection");
    assert_ne!(after.incarnation, before.incarnation, "what it held is forgotten");
    assert!(!after.lost.is_cancelled());
    assert!(watched.losses.try_recv().is_err(), "one loss, told once");
}

#[tokio::test]
async fn a_restart_loses_what_the_old_process_held_and_nothing_else() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &quick());
    let before = watched.until(Health::Healthy).await;
    server.turn(Mood::Answers("two"));
    watched.until_lost(&before).await;
    let after = watched.until(Health::Healthy).await;
    assert_eq!(after.server_id.as_deref(), Some("two"));
    assert_eq!(after.incarnation, Some(Incarnation::of("two")));
    assert!(!after.lost.is_cancelled());
    assert!(watched.losses.try_recv().is_err(), "one loss, told once");
}

#[tokio::test]
async fn a_frozen_backend_becomes_suspect_and_is_then_ejected() {
    let server = Server::start(Mood::Answers("one")).await;
    let probe = ProbeSettings { timeout: Duration::from_millis(200), ..quick() };
    let mut watched = Watched::start(&server.url, &probe);
    let before = watched.until(Health::Healthy).await;
    server.turn(Mood::Frozen);
    let suspect = watched.until(Health::Suspect).await;
    assert_eq!(suspect.last_failure, Some(ProbeFailure::Timeout));
    assert_eq!(suspect.incarnation, before.incarnation, "it may be alive");
    let ejected = watched.until(Health::Ejected).await;
    assert_eq!(ejected.last_failure, Some(ProbeFailure::Timeout));
    watched.until_lost(&before).await;
}

#[tokio::test]
async fn where_nobody_listens_a_backend_never_heard_from_is_ejected_without_a_loss() {
    // Bound, so that the port is nobody else's, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("ws://{}/kurento", socket.local_addr().unwrap());
    let url = BackendUrl::parse(&url).unwrap();
    let mut watched = Watched::start(&url, &ProbeSettings { interval: NEVER, ..quick() });
    let ejected = watched.until(Health::Ejected).await;
    assert_eq!(ejected.last_failure, Some(ProbeFailure::Refused));
    assert!(watched.losses.try_recv().is_err());
}

/// However many links break at once, probes do not follow each other faster than `retry`.
#[tokio::test]
async fn probes_that_links_ask_for_are_spaced() {
    const PROBES: u32 = 6;
    let server = Server::start(Mood::Answers("one")).await;
    let retry = Duration::from_millis(20);
    let probe = ProbeSettings { interval: NEVER, retry, ..quick() };
    let mut watched = Watched::start(&server.url, &probe);
    watched.until(Health::Healthy).await;
    let (clock, fleet) = (Clock::start(), watched.fleet.clone());
    until("enough probes", || {
        fleet.report_cut(&id());
        server.pings() >= PROBES
    })
    .await;
    let took = clock.now().since(Time::ZERO);
    assert!(took >= retry * (PROBES - 1), "{PROBES} probes within {took:?}");
}

#[tokio::test]
async fn a_link_that_could_not_be_opened_is_followed_by_a_probe_that_tells() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &ProbeSettings { interval: NEVER, ..quick() });
    let healthy = watched.until(Health::Healthy).await;
    watched.fleet.report_dial_failure(&id(), healthy.incarnation);
    let suspect = watched.until(Health::Suspect).await;
    assert!(!suspect.takes_pins());
    let again = watched.until(Health::Healthy).await;
    assert_eq!((again.incarnation, server.pings()), (healthy.incarnation, 1));
    assert!(watched.losses.try_recv().is_err());
}

#[tokio::test]
async fn the_time_of_the_last_probe_is_live_without_news() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &quick());
    let view = watched.until(Health::Healthy).await;
    let generation = watched.fleet.snapshot().generation;
    let first = view.last_probe.last();
    assert!(first.is_some());
    until("another time", || view.last_probe.last() != first).await;
    assert_eq!(watched.fleet.snapshot().generation, generation);
}
