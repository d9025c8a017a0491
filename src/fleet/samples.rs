//! What backends, and agents beside them, last measured, as a choice reads it: without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::{MachineUsage, Time};
use crate::policy::load::{Sample, Sampled};

/// Steps that a part in use is kept in: finer than any sampler measures.
const STEPS: f64 = 10_000.0;

/// The last sample of one dimension; shared and written as [`ProbeTime`](super::ProbeTime) is.
///
/// One number, so that value and time are of one sample: the part in use in the lower 16 bits, in
/// [`STEPS`] up to 6.5 times what there is, milliseconds above, for 8,900 years. Zero: none.
#[derive(Debug, Default)]
struct LastSample(AtomicU64);

impl LastSample {
    fn last(&self) -> Option<Sample> {
        let packed = self.0.load(Ordering::Relaxed);
        let millis = (packed >> 16).checked_sub(1)?;
        let at = Time::ZERO + Duration::from_millis(millis);
        Some(Sample {
            used: f64::from(u16::try_from(packed & 0xffff).unwrap_or(u16::MAX)) / STEPS,
            at,
        })
    }

    fn set(&self, sample: Option<Sample>) {
        self.0.store(sample.map_or(0, Self::pack), Ordering::Relaxed);
    }

    fn pack(Sample { used, at }: Sample) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast saturates"
        )]
        let steps = (used * STEPS).round() as u16;
        (at.as_micros() / 1_000 + 1) << 16 | u64::from(steps)
    }
}

/// The last samples of one backend: shared by all snapshots, written by the fleet task alone.
#[derive(Debug)]
pub struct Samples {
    /// Memory that a server may use at most, in units of 1,024 bytes; `None` if that is not declared.
    memory_max_kb: Option<u64>,
    /// Whether an agent is asked.
    has_agent: bool,
    /// What the server says of itself.
    server: Measurements,
    /// What the agent says of the machine.
    agent: Measurements,
}

#[derive(Debug, Default)]
struct Measurements {
    cpu: LastSample,
    memory: LastSample,
    network: LastSample,
}

impl Measurements {
    fn all(&self) -> [&LastSample; 3] {
        [&self.cpu, &self.memory, &self.network]
    }
}

/// Processors, memory and network, as a choice reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dimensions {
    /// Processors.
    pub cpu: Sampled,
    /// Memory.
    pub memory: Sampled,
    /// Network.
    pub network: Sampled,
}

impl Samples {
    /// None yet. A server may use that much memory, in units of 1,024 bytes, if that is known.
    pub(super) fn new(memory_max_kb: Option<u64>, has_agent: bool) -> Self {
        let (server, agent) = (Measurements::default(), Measurements::default());
        Self { memory_max_kb, has_agent, server, agent }
    }

    /// What is known at `now` of a process that was first heard from at `heard`. What the agent says
    /// of a dimension counts before what the server says.
    ///
    /// An agent that never reported is awaited for `patience`. Then the backend counts as if it had
    /// been idle when it was heard from: an agent that is missing everywhere closes nothing.
    #[must_use]
    pub fn dimensions(&self, heard: Time, patience: Duration, now: Time) -> Dimensions {
        let awaits = self.has_agent && self.agent.all().iter().all(|one| one.last().is_none());
        let unknown = match (awaits, now.since(heard) < patience) {
            (false, _) => Sampled::Undeclared,
            (true, true) => Sampled::Awaited,
            (true, false) => Sampled::Last(Sample { used: 0.0, at: heard }),
        };
        let read = |agent: &LastSample, server: &LastSample| {
            agent.last().or_else(|| server.last()).map(Sampled::Last)
        };
        let (agent, server) = (&self.agent, &self.server);
        Dimensions {
            cpu: read(&agent.cpu, &server.cpu).unwrap_or_default(),
            memory: read(&agent.memory, &server.memory).unwrap_or_default(),
            network: read(&agent.network, &server.network).unwrap_or(unknown),
        }
    }

    /// The server says that its processors are that busy, and how much memory it uses.
    pub(super) fn on_server(&self, cpu_percent: Option<f64>, memory_kb: Option<u64>, at: Time) {
        let sample = |used: f64| Sample { used, at };
        self.server.cpu.set(cpu_percent.map(|percent| sample(percent / 100.0)));
        let memory = memory_kb.zip(self.memory_max_kb);
        self.server.memory.set(memory.map(|(used, max)| sample(used as f64 / max as f64)));
    }

    /// The agent says this of the machine.
    pub(super) fn on_agent(&self, usage: &MachineUsage, at: Time) {
        let percents = [usage.cpu_percent, usage.memory_percent, usage.network_percent];
        for (last, percent) in self.agent.all().into_iter().zip(percents) {
            last.set(percent.map(|percent| Sample { used: percent / 100.0, at }));
        }
    }

    /// Another process is there: what was measured of the one before says nothing about it.
    pub(super) fn on_new_process(&self) {
        self.server.all().into_iter().for_each(|last| last.set(None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    const fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn sample(used: f64, seconds: u64) -> Sampled {
        Sampled::Last(Sample { used, at: at(seconds) })
    }

    #[test]
    fn a_sample_is_kept_with_its_time() {
        let last = LastSample::default();
        assert_eq!(last.last(), None);
        for (used, kept) in [(0.0, 0.0), (0.1234, 0.1234), (1.0, 1.0), (9.0, 6.5535)] {
            let at = Time::from_micros(7_000);
            last.set(Some(Sample { used, at }));
            assert_eq!(last.last(), Some(Sample { used: kept, at }));
        }
        last.set(Some(Sample { used: 0.5, at: Time::ZERO }));
        assert!(last.last().is_some(), "the first moment is one");
        last.set(None);
        assert_eq!(last.last(), None);
    }

    #[test]
    fn what_the_agent_says_counts_before_what_the_server_says() {
        let samples = Samples::new(Some(1_000), true);
        let usage = MachineUsage { cpu_percent: Some(80.0), ..MachineUsage::default() };
        samples.on_server(Some(20.0), Some(500), at(3));
        samples.on_agent(&usage, at(4));
        let cpu = sample(0.8, 4);
        let seen = samples.dimensions(at(0), PATIENCE, at(5));
        let network = Sampled::Undeclared;
        assert_eq!(seen, Dimensions { cpu, memory: sample(0.5, 3), network });
        samples.on_new_process();
        let seen = samples.dimensions(at(0), PATIENCE, at(5));
        assert_eq!(seen, Dimensions { cpu, ..Dimensions::default() });
    }

    #[test]
    fn memory_counts_only_where_its_bound_is_known() {
        let samples = Samples::new(None, false);
        samples.on_server(None, Some(500), at(3));
        assert_eq!(samples.dimensions(at(0), PATIENCE, at(5)), Dimensions::default());
    }

    #[test]
    fn an_agent_that_never_reports_is_awaited_only_so_long() {
        let samples = Samples::new(None, true);
        let network = |now| samples.dimensions(at(10), PATIENCE, at(now)).network;
        assert_eq!(network(10), Sampled::Awaited);
        assert_eq!(network(39), Sampled::Awaited);
        assert_eq!(network(40), sample(0.0, 10));
        let usage = MachineUsage { memory_percent: Some(5.0), ..MachineUsage::default() };
        samples.on_agent(&usage, at(50));
        assert_eq!(network(51), Sampled::Undeclared);
    }
}
