//! The ledger as the clients share it, with the clock of the run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ledger::Ledger;
use crate::model::Time;
use crate::runtime::Clock;

/// One ledger for everybody. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Books {
    ledger: Arc<Mutex<Ledger>>,
    clock: Clock,
}

impl Books {
    /// Empty books. A call that is open for longer than `answer_within` is lost.
    pub(super) fn new(clock: Clock, answer_within: Duration) -> Self {
        Self { ledger: Arc::new(Mutex::new(Ledger::new(answer_within))), clock }
    }

    /// Time since the start of the run.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Reads or writes the ledger, at the time that it is given. `verb` is short and does not wait.
    pub(super) fn enter<T>(&self, verb: impl FnOnce(&mut Ledger, Time) -> T) -> T {
        let mut ledger = self.lock();
        // Asked for behind the lock, so that the ledger sees no time run backwards.
        let now = self.clock.now();
        verb(&mut ledger, now)
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
