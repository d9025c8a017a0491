//! Which backends the fleet has: the wanted ones, and those that still have meetings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::expected::Expected;
use super::stay::{AfterDrain, Drain, DrainError, DrainedBy, Stay};
use super::table::{FleetTable, Recruit, Row, samples};
use super::task::Loss;
use crate::model::{BackendId, Time};
use crate::settings::BackendSettings;

/// Backends that have gone of which it is remembered how often they were lost. Beyond it that of the
/// first in the order of ids is forgotten.
const LOSSES_MAX: usize = 4_096;

/// What another wish for the fleet has changed. Ids in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetChange {
    /// New ones, which are probed from now on.
    pub added: Vec<BackendId>,
    /// Those of which something else is known now.
    pub changed: Vec<BackendId>,
    /// Those that are no longer wanted and keep their meetings until these are over.
    pub leaving: Vec<BackendId>,
    /// Those that are gone.
    pub removed: Vec<BackendId>,
    /// Those that are wanted, and come when another of the same id or URL is gone.
    pub waiting: Vec<BackendId>,
}

/// A change, with what is to be done about it.
#[derive(Debug, Default)]
pub(super) struct Moves {
    pub(super) change: FleetChange,
    pub(super) recruits: Vec<Recruit>,
    /// Numbers of backends that are gone, with what ends their links.
    pub(super) gone: Vec<(usize, CancellationToken)>,
    /// Their processes, with how often each backend was given up by now.
    pub(super) losses: Vec<(Loss, u32)>,
    /// Backends that have another agent, or none.
    pub(super) agents: Vec<(usize, BackendSettings)>,
}

impl FleetChange {
    /// Whether there is news.
    #[must_use]
    pub const fn is_news(&self) -> bool {
        let Self { added, changed, leaving, removed, waiting: _ } = self;
        !(added.is_empty() && changed.is_empty() && leaving.is_empty() && removed.is_empty())
    }
}

impl FleetTable {
    /// The fleet is to be these backends, whose ids and URLs all differ.
    pub(super) fn want(&mut self, wanted: Vec<BackendSettings>, now: Time) -> Moves {
        self.wanted = wanted;
        let named: BTreeSet<_> = self.wanted.iter().map(|one| one.id.clone()).collect();
        self.retired.retain(|id| named.contains(id));
        self.settle(now)
    }

    /// Lets go who is not wanted and has no meeting left, and takes in who has waited for that.
    pub(super) fn settle(&mut self, now: Time) -> Moves {
        let mut moves = Moves::default();
        let by_id: BTreeMap<_, _> = self.wanted.iter().map(|one| (&one.id, one)).collect();
        for row in self.rows.values_mut() {
            let wanted = by_id.get(&row.view.id).filter(|one| one.url == row.view.url);
            let wanted = wanted.filter(|one| !self.retired.contains(&one.id)).copied();
            row.follow_wish(wanted, now, &mut moves);
            if row.is_drained(&self.expected) && row.removes_itself() {
                self.retired.insert(row.view.id.clone());
                row.follow_wish(None, now, &mut moves);
            }
        }
        self.let_go(&mut moves);
        self.take_in(now, &mut moves);
        if moves.change.is_news() {
            self.on_news();
        }
        moves
    }

    fn let_go(&mut self, moves: &mut Moves) {
        let expected = &self.expected;
        let has_left = |row: &mut Row| row.view.stay == Stay::Leaving && row.is_drained(expected);
        let gone: Vec<_> = self.rows.extract_if(.., |_, row| has_left(row)).collect();
        for (number, row) in gone {
            let mut losses = row.health.losses();
            // Some pins may be left of meetings without a pipeline. Should it come again, it counts as
            // another process, so that none of them holds.
            if let Some(incarnation) = row.health.incarnation() {
                losses += 1;
                let backend = row.view.id.clone();
                moves.losses.push((Loss { backend, incarnation }, losses));
            }
            if losses > 0 {
                self.losses.insert(row.view.id.clone(), losses);
            }
            while self.losses.len() > LOSSES_MAX {
                self.losses.pop_first();
            }
            moves.change.leaving.retain(|id| *id != row.view.id);
            moves.change.removed.push(row.view.id);
            moves.gone.push((number, row.view.lost));
        }
    }

    fn take_in(&mut self, now: Time, moves: &mut Moves) {
        let is_new = |table: &Self, one: &BackendSettings| {
            let has = |row: &Row| row.view.stay != Stay::Leaving && row.view.id == one.id;
            !table.retired.contains(&one.id) && !table.rows.values().any(has)
        };
        let new: Vec<_> = self.wanted.iter().filter(|one| is_new(self, one)).cloned().collect();
        for settings in new {
            let is_same = |row: &Row| row.view.id == settings.id || row.view.url == settings.url;
            if self.rows.values().any(is_same) {
                moves.change.waiting.push(settings.id);
            } else {
                moves.change.added.push(settings.id.clone());
                moves.recruits.push(self.add(settings, now));
            }
        }
    }

    /// Whether somebody leaves as soon as it has no meeting left.
    pub(super) fn is_moving(&self) -> bool {
        self.rows.values().any(|row| row.view.stay == Stay::Leaving || row.removes_itself())
    }

    /// An operator wants a backend drained, until `deadline` if one is given.
    pub(super) fn drain(
        &mut self,
        id: &BackendId,
        (deadline, then): (Option<Time>, AfterDrain),
        now: Time,
    ) -> Result<(), DrainError> {
        let row = self.row_to_drain(id)?;
        let since = row.drain.map_or(now, |drain| drain.since);
        let by = if row.settings.drain { DrainedBy::Config } else { DrainedBy::Operator };
        row.drain = Some(Drain { since, deadline, then, by });
        row.show_stay();
        self.on_news();
        Ok(())
    }

    /// An operator wants a backend to get meetings again.
    pub(super) fn undrain(&mut self, id: &BackendId) -> Result<(), DrainError> {
        if self.retired.remove(id) {
            let row = self.rows.values_mut().find(|row| row.view.id == *id);
            row.into_iter().for_each(|row| row.drain = None);
            return Ok(());
        }
        let row = self.row_to_drain(id)?;
        if row.settings.drain {
            return Err(DrainError::Configured);
        }
        row.drain = None;
        row.show_stay();
        self.on_news();
        Ok(())
    }

    fn row_to_drain(&mut self, id: &BackendId) -> Result<&mut Row, DrainError> {
        let row = self.rows.values_mut().find(|row| row.view.id == *id);
        let row = row.ok_or(DrainError::Unknown)?;
        match row.view.stay {
            Stay::Leaving => Err(DrainError::Leaving),
            Stay::Open | Stay::Draining(_) => Ok(row),
        }
    }
}

impl Row {
    /// Becomes what is wanted of it now; `None`: it is not wanted any more.
    fn follow_wish(&mut self, wanted: Option<&BackendSettings>, now: Time, moves: &mut Moves) {
        let Some(wanted) = wanted else {
            if self.view.stay != Stay::Leaving {
                self.view.stay = Stay::Leaving;
                moves.change.leaving.push(self.view.id.clone());
            }
            return;
        };
        let was_leaving = self.view.stay == Stay::Leaving;
        if self.settings == *wanted && !was_leaving {
            return;
        }
        moves.change.changed.push(self.view.id.clone());
        let old = std::mem::replace(&mut self.settings, wanted.clone());
        self.view.profile = Arc::new(wanted.profile());
        self.view.capacity = wanted.capacity;
        if old.report_url != wanted.report_url {
            moves.agents.push((self.view.number, wanted.clone()));
        }
        if (old.memory_mb, &old.report_url) != (wanted.memory_mb, &wanted.report_url) {
            self.view.samples = Arc::new(samples(wanted));
        }
        self.drain = match self.drain {
            None => configured_drain(wanted, now),
            Some(drain) if drain.by == DrainedBy::Config && !wanted.drain => None,
            Some(drain) if wanted.drain => Some(Drain { by: DrainedBy::Config, ..drain }),
            kept @ Some(_) => kept,
        };
        self.show_stay();
    }

    fn show_stay(&mut self) {
        self.view.stay = self.drain.map_or(Stay::Open, Stay::Draining);
    }

    /// Whether no meeting is left on it, nor may come to light.
    fn is_drained(&self, expected: &Expected) -> bool {
        self.view.load.meetings() == 0 && !expected.has(&self.view.id)
    }

    /// Whether it is to be removed when it is drained.
    fn removes_itself(&self) -> bool {
        match self.view.stay {
            Stay::Draining(drain) => drain.then == AfterDrain::Remove,
            Stay::Open | Stay::Leaving => false,
        }
    }
}

/// The drain that the config orders, from `now` on.
pub(super) fn configured_drain(settings: &BackendSettings, now: Time) -> Option<Drain> {
    let (deadline, then, by) = (None, AfterDrain::Stay, DrainedBy::Config);
    settings.drain.then_some(Drain { since: now, deadline, then, by })
}

#[cfg(test)]
mod tests;
