//! Rows for the admin API, from fleet, registry and decisions.

use std::sync::Arc;
use std::time::Duration;

use super::ReloadHandle;
use super::drainage::progress;
use super::takeover::Door;
use crate::admin::{
    BackendRow, DecisionRow, DrainRow, MediaRow, MeetingRow, PlaceRow, Then, Unavailable, Views,
};
use crate::discovery::DiscoveryHandle;
use crate::fleet::{AfterDrain, BackendView, Drain, DrainedBy, Drains};
use crate::model::{MeetingId, MeetingName, RoughPlace, Usage};
use crate::pins::{MeetingView, Registry};
use crate::policy::choose::Scene;
use crate::policy::decisions::Kept;
use crate::policy::roster::Source;
use crate::policy::tally::Counts;
use crate::protocol::media::ElementKind;
use crate::proxy::Placement;
use crate::runtime::{Clock, Gate, Latest};

#[derive(Clone)]
pub(super) struct EdgeViews {
    pub(super) clock: Clock,
    pub(super) placement: Arc<Placement>,
    pub(super) drains: Arc<Drains>,
    /// Meetings let go in a second.
    pub(super) drain_pace: Arc<Latest<f64>>,
    pub(super) discovery: DiscoveryHandle,
    pub(super) reload: ReloadHandle,
    pub(super) door: Door,
    /// Open while operators may give orders.
    pub(super) orders: Gate,
}

impl EdgeViews {
    fn registry(&self) -> &Registry {
        &self.placement.keeper.registry
    }

    fn drain_row(&self, backend: &BackendView) -> Option<DrainRow> {
        let now = self.clock.now();
        let pace = (now, *self.drain_pace.get());
        let (drain, progress) = progress(&self.placement.keeper, backend, pace)?;
        let Drain { since, deadline, then, by } = drain;
        Some(DrainRow {
            since_ms: millis(now.since(since)),
            deadline_ms: deadline.map(|deadline| millis(deadline.since(now))),
            then: match then {
                AfterDrain::Stay => Then::Stay,
                AfterDrain::Remove => Then::Remove,
            },
            by: match by {
                DrainedBy::Config => "config".to_owned(),
                DrainedBy::Operator => "operator".to_owned(),
            },
            meetings: progress.meetings,
            people: progress.people,
            left_ms: progress.left.map(millis),
        })
    }

    fn decision_row(&self, kept: &Kept) -> DecisionRow {
        let choice = &kept.choice;
        let age = self.clock.now().since(choice.at);
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let place = choice.request.place;
        DecisionRow {
            id: kept.id,
            at_ms: Clock::unix_millis().saturating_sub(age_ms),
            took_us: u64::try_from(choice.took.as_micros()).unwrap_or(u64::MAX),
            meeting: choice.meeting.as_ref().map(ToString::to_string),
            session: choice.session.map(|session| session.start().to_owned()),
            cause: choice.cause,
            epoch: kept.epoch,
            reserve_from: choice.source,
            place: place.map(|place| RoughPlace::from(place).into()),
            demands: choice.request.demands.clone(),
            decision: kept.explain(),
        }
    }
}

impl Views for EdgeViews {
    fn backends(&self) -> Vec<BackendRow> {
        self.placement
            .fleet
            .snapshot()
            .backends
            .iter()
            .map(|backend| BackendRow {
                drain: self.drain_row(backend),
                ..backend_row(backend, self.discovery.source_of(&backend.id))
            })
            .collect()
    }

    async fn meetings(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<MeetingRow>, Unavailable> {
        Ok(self.registry().meetings(after, limit).iter().map(meeting_row).collect())
    }

    async fn meeting(&self, id: &MeetingId) -> Result<Option<MeetingRow>, Unavailable> {
        Ok(self.registry().meeting(id).as_ref().map(meeting_row))
    }

    fn decisions(&self, meeting: Option<&MeetingName>, limit: usize) -> Vec<DecisionRow> {
        let kept = self.placement.decisions.last(meeting, limit);
        kept.iter().map(|kept| self.decision_row(kept)).collect()
    }

    fn decision(&self, id: u64) -> Option<DecisionRow> {
        self.placement.decisions.decision(id).map(|kept| self.decision_row(&kept))
    }

    fn scene_of(&self, decision: u64) -> Option<Scene> {
        self.placement.decisions.decision(decision).map(|kept| kept.scene())
    }

    fn scene(&self) -> Scene {
        self.placement.scene()
    }
}

fn fractional_millis(took: Duration) -> f64 {
    took.as_micros() as f64 / 1_000.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn backend_row(backend: &BackendView, source: Option<Source>) -> BackendRow {
    let Usage { cpu_count, cpu_percent, memory_kb } = backend.usage.last();
    BackendRow {
        id: backend.id.to_string(),
        url: backend.url.to_string(),
        source: source.map(|source| source.to_string()),
        health: backend.health.as_str().to_owned(),
        stay: backend.stay.as_str().to_owned(),
        drain: None,
        takes_pins: backend.takes_pins(),
        server_id: backend.server_id.as_deref().map(ToOwned::to_owned),
        version: backend.version.as_deref().map(ToOwned::to_owned),
        capacity_legs: backend.capacity.0,
        load_legs: backend.load.legs().0,
        measured_legs: backend.load.measured().0,
        media: media_row(&backend.load.counts()),
        meetings: backend.load.meetings().into(),
        participants: backend.load.participants().into(),
        links: backend.load.links().into(),
        cpu_count,
        cpu_percent,
        memory_kb,
        last_probe_ms: backend.last_probe.last().map(fractional_millis),
        last_deep_ms: backend.last_deep.last().map(fractional_millis),
        last_failure: backend.last_failure.map(|failure| failure.to_string()),
        out_cause: backend.out.map(|(cause, _)| cause.as_str().to_owned()),
        spared_cause: backend.spared.map(|cause| cause.as_str().to_owned()),
    }
}

fn meeting_row(meeting: &MeetingView) -> MeetingRow {
    MeetingRow {
        id: meeting.id.to_string(),
        backend: meeting.pin.backend.to_string(),
        epoch: meeting.pin.epoch,
        pipelines: meeting.pipelines.into(),
        participants: meeting.participants.into(),
        reserve_legs: meeting.reserve.0,
        measured_legs: meeting.measured.0,
        load_legs: meeting.charged.0,
        place: meeting.place.map(PlaceRow::from),
        media: media_row(&meeting.counts),
    }
}

fn media_row(counts: &Counts) -> MediaRow {
    let element = |kind: ElementKind| (kind.as_str().to_owned(), counts.of(kind));
    MediaRow {
        elements: ElementKind::ALL.map(element).into(),
        publishing_legs: counts.publishing,
        receiving_legs: counts.receiving,
    }
}
