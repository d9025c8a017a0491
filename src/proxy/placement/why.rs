//! What is kept of a choice, and what one would depend on now.

use std::sync::Arc;
use std::time::Duration;

use super::{Placement, PlacementConfig, Where};
use crate::fleet::FleetSnapshot;
use crate::model::{Labels, MeetingName, SessionId, Time};
use crate::policy::choose::{Candidate, Outcome, Request, Scene, Stand};
use crate::policy::decisions::{Cause, Choice, Seen};
use crate::policy::promise::Source;

/// Who asked for a choice, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Whose pipeline it is for.
    pub(super) session: Option<SessionId>,
    /// Where the reserve is from.
    pub(super) source: Source,
    /// Why there is a choice to make.
    pub(super) cause: Cause,
}

impl Asked {
    /// For a meeting that has no pin.
    pub(super) const fn new(session: Option<SessionId>, source: Source) -> Self {
        Self { session, source, cause: Cause::New }
    }
}

/// A choice that was made: when it was asked for, and the rest of it.
pub(super) struct Made<'a> {
    pub(super) at: Time,
    pub(super) took: Duration,
    pub(super) request: Request,
    pub(super) outcome: Outcome,
    pub(super) seen: Vec<Candidate<'a>>,
    pub(super) by: Arc<PlacementConfig>,
}

impl Placement {
    /// Keeps what was chosen for `meeting`; returns the id of the decision.
    pub(super) fn keep(
        &self,
        meeting: Option<&MeetingName>,
        asked: Asked,
        fleet: &FleetSnapshot,
        made: Made<'_>,
    ) -> u64 {
        let Made { at, took, request, outcome, seen, by } = made;
        let Asked { session, source, cause } = asked;
        let (meeting, config, rules) = (meeting.cloned(), by.number, by.settings.rules);
        let choice =
            Choice { at, took, meeting, session, cause, source, config, request, rules, outcome };
        let seen = seen.iter().map(|seen| Seen { standing: seen.standing, load: seen.load });
        self.decisions.keep(choice, fleet, seen.collect())
    }

    /// All that a choice would depend on now, for a meeting of which nothing is known: its key is 0.
    #[must_use]
    pub fn scene(&self) -> Scene {
        let turn = self.choices.lock().expect("nothing panics while holding it").turn + 1;
        let at = Where::default();
        let stand = |Candidate { profile, standing, load }: Candidate<'_>| Stand {
            profile: profile.clone(),
            standing,
            load,
        };
        let fleet = self.fleet.snapshot();
        let config = self.config.get();
        let outlook = (&config.settings.outlook, self.timer.now());
        let candidates = fleet.backends.iter().map(|view| at.candidate(view, None, outlook));
        let reserve = config.settings.promises.default;
        let demands = Labels::default();
        Scene {
            config: config.number,
            request: Request { key: 0, place: None, reserve, demands, turn },
            rules: config.settings.rules,
            backends: candidates.map(stand).collect(),
        }
    }
}
