//! Whether this process should be sent clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What `/readyz` tells; clones share it. Not ready until a backend takes pins.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Flags>);

/// Two flags, each with one writer.
#[derive(Debug, Default)]
struct Flags {
    /// Written by the owner of the fleet.
    has_backend: AtomicBool,
    /// Written by the shutdown.
    is_stopping: AtomicBool,
}

/// Why the process should get no clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// No backend takes pins.
    #[error("no backend takes new meetings")]
    NoBackend,
    /// The process is ending.
    #[error("shutting down")]
    Stopping,
}

impl Readiness {
    /// Says whether any backend takes pins. For the owner of the fleet.
    pub fn set_has_backend(&self, has_backend: bool) {
        self.0.has_backend.store(has_backend, Relaxed);
    }

    /// Ends readiness for good. For the shutdown.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Relaxed);
    }

    /// Whether the process should get clients.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), NotReady> {
        if self.0.is_stopping.load(Relaxed) {
            return Err(NotReady::Stopping);
        }
        if !self.0.has_backend.load(Relaxed) {
            return Err(NotReady::NoBackend);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_follows_the_fleet_until_the_process_ends() {
        let readiness = Readiness::default();
        assert_eq!(readiness.check(), Err(NotReady::NoBackend));
        readiness.set_has_backend(true);
        assert_eq!(readiness.check(), Ok(()));
        readiness.set_has_backend(false);
        assert_eq!(readiness.check(), Err(NotReady::NoBackend));
        readiness.stop();
        readiness.set_has_backend(true);
        assert_eq!(readiness.check(), Err(NotReady::Stopping));
    }
}
