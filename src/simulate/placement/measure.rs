//! What a run is judged by.

use serde::Serialize;

use super::SAMPLE_SECONDS;
use crate::policy::choose::Strategy;

/// What came of one run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measures {
    /// How backends were chosen.
    pub strategy: Strategy,
    /// Meetings that were placed.
    pub meetings: usize,
    /// Meetings that were refused.
    pub refused: usize,
    /// People who came.
    pub people: usize,
    /// Distance to the backend that half of the people had at most, in kilometres.
    pub km_p50: f64,
    /// The same of 95 in a hundred.
    pub km_p95: f64,
    /// Part of its capacity that a backend had in use at most, 99 of 100 times.
    pub used_p99: f64,
    /// The same of all times.
    pub used_max: f64,
    /// Minutes that people spent on backends that carried more than they can bear, all together.
    pub overload_minutes: f64,
    /// New meetings on one backend in ten seconds against the mean of all, at the worst; only of times
    /// with one meeting for each backend or more. `0` if there were none.
    pub herd: f64,
}

/// Counts while a run is under way.
#[derive(Debug)]
pub(super) struct Gauge {
    km: Vec<f64>,
    used: Vec<f64>,
    overload_seconds: f64,
    refused: usize,
    meetings: usize,
    /// New meetings by backend since the last sample.
    window: Vec<u32>,
    herd: f64,
}

impl Gauge {
    pub(super) fn new(backends: usize) -> Self {
        let (km, used) = (Vec::new(), Vec::new());
        let window = vec![0; backends];
        Self { km, used, overload_seconds: 0.0, refused: 0, meetings: 0, window, herd: 0.0 }
    }

    pub(super) fn on_refusal(&mut self) {
        self.refused += 1;
    }

    pub(super) fn on_meeting(&mut self, backend: usize) {
        self.meetings += 1;
        self.window[backend] += 1;
    }

    pub(super) fn on_person(&mut self, km: f64) {
        self.km.push(km);
    }

    pub(super) fn on_sample(&mut self, used: f64, people: u32) {
        self.used.push(used);
        if used > 1.0 {
            self.overload_seconds += SAMPLE_SECONDS * f64::from(people);
        }
    }

    pub(super) fn on_window(&mut self) {
        let total: u32 = self.window.iter().sum();
        let mean = f64::from(total) / self.window.len() as f64;
        if mean >= 1.0 {
            let most = self.window.iter().copied().max().unwrap_or(0);
            self.herd = self.herd.max(f64::from(most) / mean);
        }
        self.window.fill(0);
    }

    pub(super) fn measures(mut self, strategy: Strategy) -> Measures {
        self.km.sort_by(f64::total_cmp);
        self.used.sort_by(f64::total_cmp);
        Measures {
            strategy,
            meetings: self.meetings,
            refused: self.refused,
            people: self.km.len(),
            km_p50: part(&self.km, 50),
            km_p95: part(&self.km, 95),
            used_p99: part(&self.used, 99),
            used_max: part(&self.used, 100),
            overload_minutes: self.overload_seconds / 60.0,
            herd: self.herd,
        }
    }
}

/// The value that `percent` of the `sorted` do not exceed; zero if there are none.
fn part(sorted: &[f64], percent: usize) -> f64 {
    let nth = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(nth).copied().unwrap_or(0.0)
}

/// The runs as a table in Markdown.
#[must_use]
pub fn table(runs: &[Measures]) -> String {
    let mut text = String::from(
        "| strategy | km p50 | km p95 | load p99 | load max | overload, people x min | refused | herd |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for run in runs {
        let Measures { strategy, km_p50, km_p95, used_p99, used_max, refused, herd, .. } = run;
        let (used_p99, used_max) = (used_p99 * 100.0, used_max * 100.0);
        let row = format!(
            "| `{}` | {km_p50:.0} | {km_p95:.0} | {used_p99:.0} % | {used_max:.0} % | {:.0} | \
             {refused} | {herd:.1} |\n",
            strategy.name(),
            run.overload_minutes
        );
        text.push_str(&row);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_from_the_sorted() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        for (percent, value) in [(50, 100.0), (95, 190.0), (99, 198.0), (100, 200.0)] {
            assert_eq!(part(&sorted, percent), value);
        }
        assert_eq!(part(&[], 50), 0.0);
    }

    #[test]
    fn overload_and_herd_are_counted_by_window() {
        let mut gauge = Gauge::new(2);
        for backend in [0, 0, 0, 1] {
            gauge.on_meeting(backend);
        }
        gauge.on_sample(1.2, 6);
        gauge.on_sample(1.0, 60);
        gauge.on_window();
        gauge.on_meeting(1);
        gauge.on_window();
        let measures = gauge.measures(Strategy::Score);
        assert_eq!((measures.overload_minutes, measures.herd), (1.0, 1.5));
        assert!(table(&[measures]).contains("| `score` | 0 | 0 | 120 % | 120 % | 1 | 0 | 1.5 |"));
    }
}
