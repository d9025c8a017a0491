//! Work that stands back while something else is done that it must not meet.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Lets work in until it is closed. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<RwLock<()>>);

/// Somebody is in. Dropped, it has gone.
#[derive(Debug)]
pub struct Entered {
    _pass: OwnedRwLockReadGuard<()>,
}

/// The gate is closed. Dropped, it opens.
#[derive(Debug)]
pub struct Closed {
    _key: OwnedRwLockWriteGuard<()>,
}

impl Gate {
    /// Comes in, unless the gate is closed.
    #[must_use]
    pub fn try_enter(&self) -> Option<Entered> {
        Some(Entered { _pass: self.0.clone().try_read_owned().ok()? })
    }

    /// Comes in once the gate is open.
    pub async fn enter(&self) -> Entered {
        Entered { _pass: self.0.clone().read_owned().await }
    }

    /// Lets nobody in any more, and waits until nobody is in.
    pub async fn close(&self) -> Closed {
        Closed { _key: self.0.clone().write_owned().await }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn it_closes_when_all_have_gone_and_lets_nobody_in_until_it_opens() {
        let gate = Gate::default();
        let entered = (gate.enter().await, gate.try_enter().unwrap());
        let mut closing = Box::pin(gate.close());
        assert!((&mut closing).now_or_never().is_none());
        drop(entered);
        let closed = closing.await;
        assert!(gate.try_enter().is_none() && gate.clone().enter().now_or_never().is_none());
        drop(closed);
        assert!(gate.try_enter().is_some());
    }
}
