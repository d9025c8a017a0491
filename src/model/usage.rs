//! What backends measure of themselves.

/// One measurement of a backend, or of several together. What is not known is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processors.
    pub cpu_count: Option<u32>,
    /// How busy all its processors together are: 0 to 100 percent.
    pub cpu_percent: Option<f64>,
    /// Resident memory, in units of 1,024 bytes.
    pub memory_kb: Option<u64>,
}

/// How much of a backend's machine is in use, as an agent beside it says. `None`: it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MachineUsage {
    /// Of its processors: 0 to 100 percent.
    pub cpu_percent: Option<f64>,
    /// Of its memory: 0 to 100 percent.
    pub memory_percent: Option<f64>,
    /// Of its network: 0 to 100 percent.
    pub network_percent: Option<f64>,
}

impl Usage {
    /// That of one big server made of these: processors and memory are added up, and how busy they
    /// are is weighted by processors, one for a backend that told none. What nobody told is `None`.
    #[must_use]
    pub fn total(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut total = Self::default();
        let (mut busy, mut weight) = (0.0, 0.0);
        for part in parts {
            if let Some(count) = part.cpu_count {
                total.cpu_count = Some(total.cpu_count.unwrap_or(0).saturating_add(count));
            }
            if let Some(memory) = part.memory_kb {
                total.memory_kb = Some(total.memory_kb.unwrap_or(0).saturating_add(memory));
            }
            if let Some(percent) = part.cpu_percent {
                let count = f64::from(part.cpu_count.unwrap_or(1));
                busy += percent * count;
                weight += count;
            }
        }
        total.cpu_percent = (weight > 0.0).then(|| busy / weight);
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(cpu_count: u32, cpu_percent: f64, memory_kb: u64) -> Usage {
        let (cpu_count, cpu_percent) = (Some(cpu_count), Some(cpu_percent));
        Usage { cpu_count, cpu_percent, memory_kb: Some(memory_kb) }
    }

    #[test]
    fn a_fleet_counts_as_one_big_server() {
        let total = Usage::total([usage(2, 80.0, 1_000), usage(6, 20.0, 500)]);
        assert_eq!(total, usage(8, 35.0, 1_500));
        assert_eq!(Usage::total([]), Usage::default());
    }

    #[test]
    fn what_is_not_known_yet_is_left_out() {
        let counted = Usage { cpu_count: Some(4), ..Usage::default() };
        let old = Usage { cpu_percent: Some(30.0), memory_kb: Some(7), cpu_count: None };
        let total = Usage::total([counted, old]);
        assert_eq!(
            total,
            Usage { cpu_count: Some(4), cpu_percent: Some(30.0), memory_kb: Some(7) }
        );
        let none = Usage { cpu_count: Some(0), cpu_percent: Some(50.0), memory_kb: None };
        assert_eq!(Usage::total([none]).cpu_percent, None);
    }
}
