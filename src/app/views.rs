//! Rows for the admin API, from fleet and registry.

use std::sync::Arc;

use crate::admin::{BackendRow, MediaRow, MeetingRow, PlaceRow, Unavailable, Views};
use crate::fleet::{BackendView, FleetHandle};
use crate::model::{MeetingId, Usage};
use crate::pins::{MeetingView, Registry};
use crate::policy::tally::Counts;
use crate::protocol::media::ElementKind;

#[derive(Clone, Debug)]
pub(super) struct EdgeViews {
    pub(super) fleet: FleetHandle,
    pub(super) registry: Arc<Registry>,
}

impl Views for EdgeViews {
    fn backends(&self) -> Vec<BackendRow> {
        self.fleet.snapshot().backends.iter().map(|backend| backend_row(backend)).collect()
    }

    async fn meetings(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<MeetingRow>, Unavailable> {
        Ok(self.registry.meetings(after, limit).iter().map(meeting_row).collect())
    }

    async fn meeting(&self, id: &MeetingId) -> Result<Option<MeetingRow>, Unavailable> {
        Ok(self.registry.meeting(id).as_ref().map(meeting_row))
    }
}

fn backend_row(backend: &BackendView) -> BackendRow {
    let Usage { cpu_count, cpu_percent, memory_kb } = backend.usage.last();
    BackendRow {
        id: backend.id.to_string(),
        url: backend.url.to_string(),
        health: backend.health.as_str().to_owned(),
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
        last_probe_ms: backend.last_probe.last().map(|took| took.as_micros() as f64 / 1_000.0),
        last_failure: backend.last_failure.map(|failure| failure.to_string()),
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
        place: meeting
            .place
            .map(|place| PlaceRow { latitude: place.latitude(), longitude: place.longitude() }),
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
