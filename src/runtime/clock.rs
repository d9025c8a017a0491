//! The one clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::Time;

/// Counts time from when it was made. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn now(self) -> Time {
        Time::from_micros(self.now_nanos() / 1_000)
    }

    /// Nanoseconds since the start, for measuring what takes less than a microsecond.
    #[must_use]
    pub fn now_nanos(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since 1970, for what is shown to people or other programs.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub fn unix_millis() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The same in whole seconds.
    #[must_use]
    pub fn unix_seconds() -> u64 {
        Self::unix_millis() / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first && clock.now_nanos() >= first.as_micros() * 1_000);
    }
}
