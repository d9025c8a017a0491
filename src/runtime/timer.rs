//! Time as asynchronous code takes it: what it is, and waiting for it to pass.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::clock::Clock;
use crate::model::Time;

/// A clock that can be waited for: the system's, or one that a simulation moves.
pub trait Timer: Debug + Send + Sync {
    /// Time since the start.
    fn now(&self) -> Time;

    /// Waits until `duration` has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Milliseconds since 1970, for what outlives the process.
    fn unix_millis(&self) -> u64;
}

impl Timer for Clock {
    fn now(&self) -> Time {
        Self::now(*self)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }

    fn unix_millis(&self) -> u64 {
        Self::unix_millis()
    }
}
