//! How a server ends when it is told to. Source: Kurento protocol notes, section 10.

use std::time::Duration;

use crate::model::Time;

use super::{ConnId, Kms, KmsOutput};

/// From the signal to the end of an idle process, and what each pipeline adds. Source: 6 to 150 ms
/// idle, some tens of ms with 20 pipelines.
const IDLE: Duration = Duration::from_millis(6);
const PIPELINE: Duration = Duration::from_millis(2);

/// How far a process is from its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Life {
    #[default]
    Runs,
    /// It was told to end and is gone at this time.
    EndsAt(Time),
    Ended,
}

impl Life {
    /// When it ends, if it was told to and has not yet.
    pub(super) const fn ends_at(self) -> Option<Time> {
        match self {
            Self::EndsAt(at) => Some(at),
            Self::Runs | Self::Ended => None,
        }
    }
}

impl Kms {
    /// SIGTERM or SIGINT: when the process will be gone; a later signal changes nothing.
    ///
    /// Until then connections stay open and nothing is answered, also not the calls under way, for
    /// which it waits. At that time `tick` cuts every connection: TCP ends without a close frame.
    /// One that hangs ends only some time after it goes on.
    pub fn terminate(&mut self, now: Time) -> Time {
        match self.life {
            Life::Runs => {}
            Life::EndsAt(ends) => return ends,
            Life::Ended => return now,
        }
        let pipelines = self.server.objects.iter().filter(|(_, o)| o.class.name == "MediaPipeline");
        let pipelines = u32::try_from(pipelines.count()).unwrap_or(u32::MAX);
        let done = self.done.last_key_value().map_or(now, |((at, _), _)| *at);
        let ends = done.max(now + IDLE + PIPELINE.saturating_mul(pipelines));
        self.done.clear();
        self.waiting.clear();
        self.life = Life::EndsAt(ends);
        ends
    }

    /// Whether the process is gone after `terminate`.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.life == Life::Ended
    }

    /// Cuts all connections if the process ends by `now`; whether it is ending or hangs, so that
    /// nothing else happens.
    pub(super) fn end_at(&mut self, now: Time, out: &mut Vec<KmsOutput>) -> bool {
        if self.server.faults.hangs() {
            return true;
        }
        let Some(ends) = self.life.ends_at() else {
            return self.life == Life::Ended;
        };
        if ends <= now {
            self.life = Life::Ended;
            let open = self.conns.iter().filter(|(_, conn)| !conn.is_ghost);
            let open: Vec<ConnId> = open.map(|(id, _)| *id).collect();
            out.extend(open.into_iter().map(|conn| KmsOutput::Cut { conn }));
            self.conns.clear();
            self.ties.clear();
        }
        true
    }
}
