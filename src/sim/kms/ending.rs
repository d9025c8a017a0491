//! How a server ends when it is told to. Source: Kurento protocol notes, section 10.

use std::time::Duration;

use crate::model::Time;

use super::{ConnId, Kms, KmsOutput};

/// From the last connection to the end of an idle process, and what each pipeline adds. Source: 6
/// to 150 ms idle, some tens of ms with 20 pipelines.
const IDLE: Duration = Duration::from_millis(6);
const PIPELINE: Duration = Duration::from_millis(2);

/// How far a process is from its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Life {
    #[default]
    Runs,
    /// Told to end: it cuts its connections at one time and is gone at another.
    Ends { cuts: Time, gone: Time },
    /// All connections are cut.
    Cut { gone: Time },
}

impl Life {
    /// When it cuts its connections, if that is still to come.
    pub(super) const fn cuts_at(self) -> Option<Time> {
        match self {
            Self::Ends { cuts, .. } => Some(cuts),
            Self::Runs | Self::Cut { .. } => None,
        }
    }
}

impl Kms {
    /// SIGTERM or SIGINT: when the process will be gone. A later signal changes nothing.
    ///
    /// From now on nothing is answered, also not the calls under way. It waits for those that hold
    /// a thread; then `tick` cuts every connection: TCP ends without a close frame. A server that
    /// hangs does that only when it goes on.
    pub fn terminate(&mut self, now: Time) -> Time {
        if let Some(gone) = self.gone_at() {
            return gone;
        }
        let pipelines = self.server.objects.iter().filter(|(_, o)| o.class.name == "MediaPipeline");
        let pipelines = u32::try_from(pipelines.count()).unwrap_or(u32::MAX);
        let cuts = self.threads.all_free().map_or(now, |at| at.max(now));
        let gone = cuts + IDLE + PIPELINE.saturating_mul(pipelines);
        self.done.clear();
        self.waiting.clear();
        self.life = Life::Ends { cuts, gone };
        gone
    }

    /// When the process is gone, if it was told to end, also by its own `killLimit`.
    #[must_use]
    pub const fn gone_at(&self) -> Option<Time> {
        match self.life {
            Life::Runs => None,
            Life::Ends { gone, .. } | Life::Cut { gone } => Some(gone),
        }
    }

    /// Cuts all connections if that is due; whether the process is ending or hangs, so that nothing
    /// else happens.
    pub(super) fn ends(&mut self, now: Time, out: &mut Vec<KmsOutput>) -> bool {
        if self.server.faults.hangs() {
            self.has_hung = true;
            return true;
        }
        if let Life::Ends { cuts, gone } = self.life
            && cuts <= now
        {
            self.life = Life::Cut { gone };
            let open = self.conns.iter().filter(|(_, conn)| !conn.is_ghost);
            let open: Vec<ConnId> = open.map(|(id, _)| *id).collect();
            out.extend(open.into_iter().map(|conn| KmsOutput::Cut { conn }));
            self.conns.clear();
            self.ties.clear();
        }
        self.life != Life::Runs
    }
}
