//! `[reload]`: how a config that has changed is noticed.

use std::time::Duration;

use super::declare::{Keys, Section};

/// How a config that has changed is noticed: `[reload]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadSettings {
    /// Time between two looks at the files; zero for never.
    watch: Duration,
}

impl ReloadSettings {
    /// Time between two looks at the files; `None` for never.
    #[must_use]
    pub fn watch(&self) -> Option<Duration> {
        (!self.watch.is_zero()).then_some(self.watch)
    }
}

impl Section for ReloadSettings {
    fn example() -> Self {
        Self { watch: Duration::from_secs(1) }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "watch_ms",
            &mut self.watch,
            ("ms", 0..=3_600_000),
            "Time between two looks whether this file, or a certificate or key that it names, has \
             changed. What has changed and stays so for one look is taken up as after SIGHUP; 0 for \
             never.",
        );
    }
}
