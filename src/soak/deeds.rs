//! What was done to the fleet and the edge, and whether it was what was asked for.

use std::fmt;
use std::time::Duration;

use super::agenda::{FILL_RARER, STOPS};
use super::settings::SoakSettings;

/// How much later than its time something may happen: processes start slowly on a busy machine, and
/// what too few backends are well for waits.
const LATE: Duration = Duration::from_secs(10);

/// How often each was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Deeds {
    /// Backends killed.
    pub(super) kills: u32,
    /// Backends stopped for so long that they are given up.
    pub(super) freezes: u32,
    /// Backends stopped for a moment.
    pub(super) stutters: u32,
    /// Backends filled.
    pub(super) fills: u32,
    /// Backends drained.
    pub(super) drains: u32,
    /// Reloads of the config that have changed something.
    pub(super) reloads: u32,
    /// Edges ended with a warning.
    pub(super) stops: u32,
    /// Edges killed.
    pub(super) edge_kills: u32,
    /// Edges taken over from by another.
    pub(super) takeovers: u32,
    /// Times that something was put off because too few backends would have been left.
    pub(super) postponed: u32,
}

impl Deeds {
    /// What was asked for, should have happened by now, and never did: such a run has not shown what it
    /// was to show. `moved` is how many meetings clients saw a drain let go.
    pub(super) fn missing(&self, settings: &SoakSettings, moved: u64) -> Vec<&'static str> {
        let (stop, restart) = (settings.stop_every * STOPS, settings.restart_every);
        let drain = settings.drain_every;
        let never_moved = if moved == 0 { 0 } else { self.drains };
        // With the period of each, and how many periods pass before its turn.
        let deeds = [
            ("kills", self.kills, settings.kill_every, 0),
            ("fills", self.fills, settings.kill_every * FILL_RARER, 0),
            ("long stops", self.freezes, stop, 0),
            ("short stops", self.stutters, stop, 0),
            ("drains", self.drains, drain, 0),
            ("meetings moved by a drain", never_moved, drain, 0),
            ("reloads", self.reloads, settings.reload_every, 0),
            ("edges ended", self.stops, restart, 0),
            ("edges killed", self.edge_kills, restart, 1),
            ("edges taken over from", self.takeovers, restart, 2),
        ];
        let is_due = |period: Duration, turn: u32| {
            // The first of a kind comes after one and a half of its periods at the latest.
            !period.is_zero() && settings.time >= period.mul_f64(1.5) + period * turn + LATE
        };
        let missing = deeds.iter().filter(|(_, n, period, turn)| *n == 0 && is_due(*period, *turn));
        missing.map(|(what, ..)| *what).collect()
    }
}

impl fmt::Display for Deeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, freezes, stutters, fills, drains, postponed, .. } = self;
        let Self { reloads, stops, edge_kills, takeovers, .. } = self;
        writeln!(
            f,
            "done to backends {kills} killed, {freezes} stopped for long and {stutters} shortly, \
             {fills} filled, {drains} drained; put off {postponed} times\n\
             done to the edge {reloads} reloads; {stops} ended, {edge_kills} killed, {takeovers} \
             taken over from"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(time_s: u64, drain_every_s: u64, restart_every_s: u64) -> SoakSettings {
        SoakSettings {
            program: "pinfold".into(),
            time: Duration::from_secs(time_s),
            sessions: 2,
            backends: 3,
            kill_every: Duration::ZERO,
            stop_every: Duration::ZERO,
            drain_every: Duration::from_secs(drain_every_s),
            reload_every: Duration::ZERO,
            restart_every: Duration::from_secs(restart_every_s),
            answer_within: Duration::from_secs(1),
            seed: 1,
            state_dir: "state".into(),
            via: None,
        }
    }

    #[test]
    fn nothing_is_missed_that_was_not_asked_for_or_not_yet_due() {
        let nothing = Deeds::default();
        assert!(nothing.missing(&settings(3_600, 0, 0), 0).is_empty());
        assert!(nothing.missing(&settings(54, 30, 30), 0).is_empty());
    }

    #[test]
    fn what_never_happened_is_named_by_its_turn() {
        let restarts = |time| Deeds::default().missing(&settings(time, 0, 30), 0);
        assert_eq!(restarts(60), ["edges ended"]);
        assert_eq!(restarts(90), ["edges ended", "edges killed"]);
        assert_eq!(restarts(120), ["edges ended", "edges killed", "edges taken over from"]);
        let some = Deeds { stops: 1, takeovers: 1, ..Deeds::default() };
        assert_eq!(some.missing(&settings(120, 0, 30), 0), ["edges killed"]);
    }

    #[test]
    fn a_drain_that_has_moved_no_meeting_is_not_enough() {
        let drained = Deeds { drains: 9, ..Deeds::default() };
        let asked = settings(120, 12, 0);
        assert_eq!(drained.missing(&asked, 0), ["meetings moved by a drain"]);
        assert!(drained.missing(&asked, 1).is_empty());
    }
}
