//! What a server has in use, and what follows: whether it is full, and how long its calls take.

use std::time::Duration;

use serde_json::Value;

use super::fault::Fault;
use super::load::Census;
use super::methods::Params;
use super::server::Server;
use super::settings::Limits;
use super::timing;

/// Share of descriptors and threads that new objects may use, in percent. Source: KMS's default
/// `exceptionLimit`.
const EXCEPTION_PERCENT: usize = 80;

/// Threads of an idle server besides those for I/O and one a processor. An assumption.
const IDLE_THREADS: usize = 4;

/// How long a reading of the processors counts, so that not every call counts all objects.
const BUSY_FOR: Duration = Duration::from_millis(100);

impl Server {
    /// Whether there is room for one more object.
    ///
    /// # Errors
    /// 40009 if there is not.
    pub(super) fn check_room(&self) -> Result<(), Fault> {
        let limits = self.settings.limits;
        let threads_limit = limits.threads_max.map(share);
        if self.faults.is_full {
            let limit = threads_limit.unwrap_or_else(|| self.threads(&self.census()));
            return Err(Fault::no_resources("threads", limit));
        }
        if limits == Limits::default() {
            return Ok(());
        }
        let census = self.census();
        let rules = [
            ("threads", self.threads(&census), threads_limit),
            ("files", self.files(&census), limits.files_max.map(share)),
            // One more than now, because the others are limits to be passed.
            ("threads", census.endpoints + 1, limits.endpoints_max),
        ];
        let passed = rules.into_iter().find_map(|(what, used, limit)| {
            limit.filter(|limit| used > *limit).map(|limit| Fault::no_resources(what, limit))
        });
        passed.map_or(Ok(()), Err)
    }

    /// Whether it was emptied while it used more than its `killLimit`.
    pub(super) fn takes_its_leave(&mut self) -> bool {
        let is_emptied = std::mem::take(&mut self.is_emptied);
        let limits = self.settings.limits;
        let Some(percent) = limits.kill_percent.filter(|_| is_emptied) else {
            return false;
        };
        let census = self.census();
        let is_above = |used: usize, max: Option<usize>| {
            max.is_some_and(|max| used > max.saturating_mul(percent) / 100)
        };
        is_above(self.files(&census), limits.files_max)
            || is_above(self.threads(&census), limits.threads_max)
    }

    /// Whether a descriptor is left for one more connection.
    pub(super) fn has_file(&self) -> bool {
        self.settings.limits.files_max.is_none_or(|max| self.files(&self.census()) < max)
    }

    fn threads(&self, census: &Census) -> usize {
        let processors = usize::try_from(self.settings.cpu_count).unwrap_or(usize::MAX);
        IDLE_THREADS + self.settings.io_threads + processors + census.threads()
    }

    fn files(&self, census: &Census) -> usize {
        census.files() + self.conn_count
    }

    /// Adds the work of one call to that of the request under way.
    pub(super) fn note_work(&mut self, method: &str, params: &Params) {
        self.work += timing::work(method, params);
        let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
        let makes_endpoint = method == "create" && text("type").ends_with("WebRtcEndpoint");
        if makes_endpoint && !std::mem::replace(&mut self.has_had_endpoint, true) {
            self.work += timing::FIRST_ENDPOINT;
        }
        let operation = text("operation");
        let negotiates = method == "invoke"
            && matches!(operation, "generateOffer" | "processOffer" | "processAnswer");
        if negotiates && !std::mem::replace(&mut self.has_negotiated, true) {
            self.work += timing::FIRST_NEGOTIATION;
        }
    }

    /// How long the request that was just run works, which holds its thread: nothing if calls take
    /// no time here and none are slowed down.
    pub(super) fn take_work(&mut self) -> Duration {
        let work = std::mem::take(&mut self.work) + timing::MESSAGE;
        let slowness = self.faults.slowness();
        if self.settings.load.is_timed {
            let busy = self.busy_percent();
            let factor = timing::stretch(busy) * timing::tail(&mut self.draws) * slowness;
            return timing::times(work, factor);
        }
        if slowness > 1.0 { timing::times(work, slowness) } else { Duration::ZERO }
    }

    fn busy_percent(&mut self) -> f64 {
        match self.busy {
            Some((at, percent)) if self.now.since(at) < BUSY_FOR => percent,
            Some(_) | None => {
                let percent = self.used_cpu();
                self.busy = Some((self.now, percent));
                percent
            }
        }
    }
}

fn share(max: usize) -> usize {
    max.saturating_mul(EXCEPTION_PERCENT) / 100
}
