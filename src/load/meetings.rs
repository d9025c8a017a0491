//! Runs a schedule of meetings against a URL, every participant on a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::load::calls::CallError;
use crate::load::client::{CALL_TIMEOUT, Client, ConnectError, Events};
use crate::load::media::OFFER_SDP;
use crate::load::schedule::{GuestPlan, MeetingPlan, Schedule, ScheduleSettings};
use crate::model::Draws;

/// What a stream of meetings does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeetingsSettings {
    /// Where every participant connects, `ws://`.
    pub url: String,
    /// What the meetings look like.
    pub schedule: ScheduleSettings,
    /// Meetings at once; one that would be more is skipped and counted.
    pub meetings_max: usize,
}

impl MeetingsSettings {
    /// The default stream, at `url`: two meetings a second, 40 at once.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self { url, schedule: ScheduleSettings::default(), meetings_max: 40 }
    }
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Meetings whose host connected and called.
    pub meetings_started: u64,
    /// Meetings that are over, in whatever way.
    pub meetings_ended: u64,
    /// Meetings not started because enough were running.
    pub meetings_skipped: u64,
    /// Participants that came in, stayed and left without any error.
    pub participants_served: u64,
    /// Participants that met an error.
    pub participants_failed: u64,
}

/// Counts as they are kept while meetings run.
#[derive(Debug, Default)]
struct Counters {
    meetings_started: AtomicU64,
    meetings_ended: AtomicU64,
    meetings_skipped: AtomicU64,
    participants_served: AtomicU64,
    participants_failed: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn snapshot(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            meetings_started: read(&self.meetings_started),
            meetings_ended: read(&self.meetings_ended),
            meetings_skipped: read(&self.meetings_skipped),
            participants_served: read(&self.participants_served),
            participants_failed: read(&self.participants_failed),
        }
    }
}

/// Why a participant gave up.
#[derive(Debug, thiserror::Error)]
enum ParticipantError {
    #[error("cannot connect: {0}")]
    Connect(#[from] ConnectError),
    #[error("call failed: {0}")]
    Call(#[from] CallError),
    #[error("no candidate came")]
    NoCandidate,
}

/// A stream of meetings. Clones share the same counts.
#[derive(Clone, Debug)]
pub struct Meetings {
    settings: Arc<MeetingsSettings>,
    counters: Arc<Counters>,
    stop: CancellationToken,
}

impl Meetings {
    /// A stream that starts when [`run`](Self::run) and ends when `stop` does.
    #[must_use]
    pub fn new(settings: MeetingsSettings, stop: CancellationToken) -> Self {
        Self { settings: Arc::new(settings), counters: Arc::default(), stop }
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.snapshot()
    }

    /// Starts meetings as `draws` decides until told to stop, then has everyone leave.
    ///
    /// Returns when the last participant is gone, a few call timeouts later at most.
    pub async fn run(self, draws: Draws) {
        let mut schedule = Schedule::new(self.settings.schedule.clone(), draws);
        let permits = Arc::new(Semaphore::new(self.settings.meetings_max));
        let mut running = JoinSet::new();
        loop {
            let plan = schedule.plan_next();
            if self.stay(plan.gap).await.is_none() {
                break;
            }
            while running.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                Counters::add(&self.counters.meetings_skipped);
                continue;
            };
            let meetings = self.clone();
            running.spawn(async move {
                meetings.hold(&plan).await;
                drop(permit);
            });
        }
        while running.join_next().await.is_some() {}
    }

    /// Holds one meeting from its first participant to its last.
    async fn hold(&self, plan: &MeetingPlan) {
        Counters::add(&self.counters.meetings_started);
        let held = self.host(plan).await;
        self.count(&plan.name, held);
        Counters::add(&self.counters.meetings_ended);
    }

    /// The host: opens the meeting, waits until its own time and everyone else's is over, closes it.
    async fn host(&self, plan: &MeetingPlan) -> Result<(), ParticipantError> {
        let (client, mut events) = Client::connect(&self.settings.url).await?;
        let pipeline = client.create_pipeline(Some(&plan.name)).await?;
        let endpoint = send_media(&client, &mut events, &pipeline).await?;
        let room = Room { name: &plan.name, pipeline: &pipeline, host: &endpoint };
        let guests = plan.guests.iter().map(|guest| self.visit(&room, guest));
        tokio::join!(self.stay(plan.host_stay), join_all(guests));
        client.release(&pipeline).await?;
        client.close().await;
        Ok(())
    }

    /// One guest's visit, counted.
    async fn visit(&self, room: &Room<'_>, plan: &GuestPlan) {
        if self.stay(plan.joins_after).await.is_some() {
            let visited = self.guest(room, plan).await;
            self.count(room.name, visited);
        }
    }

    /// A guest: comes in, hears and is heard by the host if they share a pipeline, leaves.
    async fn guest(&self, room: &Room<'_>, plan: &GuestPlan) -> Result<(), ParticipantError> {
        let (client, mut events) = Client::connect(&self.settings.url).await?;
        if plan.has_own_pipeline {
            let pipeline = client.create_pipeline(Some(room.name)).await?;
            send_media(&client, &mut events, &pipeline).await?;
            self.stay(plan.stay).await;
            client.release(&pipeline).await?;
        } else {
            let endpoint = send_media(&client, &mut events, room.pipeline).await?;
            client.connect_elements(room.host, &endpoint).await?;
            client.connect_elements(&endpoint, room.host).await?;
            self.stay(plan.stay).await;
            client.release(&endpoint).await?;
        }
        client.close().await;
        Ok(())
    }

    /// Waits for `time`; `None` if told to stop before it is over.
    async fn stay(&self, time: Duration) -> Option<()> {
        self.stop.run_until_cancelled(tokio::time::sleep(time)).await
    }

    fn count(&self, meeting: &str, outcome: Result<(), ParticipantError>) {
        match outcome {
            Ok(()) => Counters::add(&self.counters.participants_served),
            Err(error) => {
                tracing::warn!(meeting, %error, "participant failed");
                Counters::add(&self.counters.participants_failed);
            }
        }
    }
}

/// What a guest must know of the meeting it joins.
struct Room<'a> {
    name: &'a str,
    pipeline: &'a str,
    host: &'a str,
}

/// Sets up an endpoint in `pipeline` as far as its first candidate, both ways, and gives its id.
async fn send_media(
    client: &Client,
    events: &mut Events,
    pipeline: &str,
) -> Result<String, ParticipantError> {
    let endpoint = client.create_endpoint(pipeline).await?;
    client.subscribe(&endpoint, "IceCandidateFound").await?;
    client.process_offer(&endpoint, OFFER_SDP).await?;
    client.gather_candidates(&endpoint).await?;
    let found = tokio::time::timeout(CALL_TIMEOUT, events.find(&endpoint, "IceCandidateFound"));
    if found.await.ok().flatten().is_none() {
        return Err(ParticipantError::NoCandidate);
    }
    let candidate = "candidate:1 1 UDP 2130706431 127.0.0.1 50000 typ host";
    client.add_candidate(&endpoint, candidate).await?;
    Ok(endpoint)
}
