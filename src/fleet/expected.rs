//! Backends that may have meetings of which nobody here has heard yet: those that the process before
//! has left pins on. Until the pins are judged such a backend is not taken for empty, or an order to
//! remove it when it is would end meetings that live.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::BackendId;

/// How many expect something of each backend. No more backends than pins were found on.
#[derive(Debug, Default)]
pub(super) struct Expected(Mutex<BTreeMap<BackendId, usize>>);

/// Somebody expects meetings on a backend, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Expectation {
    all: Arc<Expected>,
    backend: BackendId,
}

impl Expected {
    /// Meetings are expected on `backend` from now on.
    pub(super) fn add(self: &Arc<Self>, backend: BackendId) -> Expectation {
        *self.lock().entry(backend.clone()).or_default() += 1;
        Expectation { all: self.clone(), backend }
    }

    /// Whether meetings may come to light on `backend`.
    pub(super) fn has(&self, backend: &BackendId) -> bool {
        self.lock().contains_key(backend)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BackendId, usize>> {
        // Nothing that can panic is done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        let count = all.remove(&self.backend).unwrap_or_default();
        if count > 1 {
            all.insert(self.backend.clone(), count - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_expected_to_have_meetings_until_the_last_has_looked() {
        let (all, id) = (Arc::new(Expected::default()), BackendId::parse("kms-1").unwrap());
        let one = all.add(id.clone());
        let other = all.add(id.clone());
        drop(one);
        assert!(all.has(&id));
        drop(other);
        assert!(!all.has(&id));
    }
}
