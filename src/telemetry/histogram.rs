//! Histograms that cost a message one addition.
//!
//! The library's own takes a lock for each observation. Here a session task fills a plain
//! [`LocalHistogram`] message by message and adds it to the shared [`Histogram`], which is made of
//! atomics, now and then.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

/// Upper bounds of the buckets, in nanoseconds, three to a decade: 250 ns to 100 ms. Longer ones go
/// to a last bucket without bound.
const BOUNDS_NANOS: [u64; 18] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
];

/// Buckets, the one without bound included.
const BUCKET_COUNT: usize = BOUNDS_NANOS.len() + 1;

const NANOS_PER_SECOND: f64 = 1e9;

/// A distribution of durations that tasks add to without waiting for each other.
///
/// A reader may see an observation in a bucket and not yet in the sum: fine for statistics.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKET_COUNT],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Adds one duration.
    pub(super) fn observe(&self, took: Duration) {
        self.buckets[bucket_of(took)].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(nanos(took), Relaxed);
    }

    /// Adds all that `other` has, and empties it.
    pub(super) fn take_from(&self, other: &Self) {
        let mine = self.buckets.iter().chain([&self.sum_nanos]);
        for (sum, more) in mine.zip(other.buckets.iter().chain([&other.sum_nanos])) {
            if more.load(Relaxed) > 0 {
                sum.fetch_add(more.swap(0, Relaxed), Relaxed);
            }
        }
    }

    /// Adds all of `local` and empties it.
    pub(super) fn flush(&self, local: &mut LocalHistogram) {
        if local.sum_nanos == 0 && local.buckets[0] == 0 {
            return; // nothing above 0 ns and nothing at 0 ns: nothing at all
        }
        for (bucket, count) in self.buckets.iter().zip(&local.buckets) {
            if *count > 0 {
                bucket.fetch_add(u64::from(*count), Relaxed);
            }
        }
        self.sum_nanos.fetch_add(local.sum_nanos, Relaxed);
        *local = LocalHistogram::default();
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS_NANOS.iter().map(|bound| *bound as f64 / NANOS_PER_SECOND);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.sum_nanos.load(Relaxed) as f64 / NANOS_PER_SECOND;
        let exemplars: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
        encoder.encode_histogram(sum, count, &buckets, exemplars)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A distribution that one task fills for itself: 88 bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalHistogram {
    buckets: [u32; BUCKET_COUNT],
    sum_nanos: u64,
}

impl LocalHistogram {
    /// Adds `count` times the same duration.
    pub(super) fn observe(&mut self, took: Duration, count: u32) {
        let bucket = &mut self.buckets[bucket_of(took)];
        *bucket = bucket.saturating_add(count);
        self.sum_nanos = self.sum_nanos.saturating_add(nanos(took).saturating_mul(count.into()));
    }
}

/// The bucket whose bound is the least that is not below `took`.
fn bucket_of(took: Duration) -> usize {
    let nanos = nanos(took);
    BOUNDS_NANOS.partition_point(|bound| *bound < nanos)
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;

    fn encoded(histogram: Histogram) -> String {
        let mut registry = Registry::default();
        registry.register_with_unit("took", "Help", Unit::Seconds, histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let cases = [(0, 0), (250, 0), (251, 1), (1_000, 2), (100_000_000, 17), (100_000_001, 18)];
        for (nanos, bucket) in cases {
            assert_eq!(bucket_of(Duration::from_nanos(nanos)), bucket, "{nanos}");
        }
        assert_eq!(bucket_of(Duration::MAX), BUCKET_COUNT - 1);
        assert!(BOUNDS_NANOS.is_sorted());
    }

    #[test]
    fn what_a_task_saw_arrives_once() {
        let (shared, mut local) = (Histogram::default(), LocalHistogram::default());
        local.observe(Duration::from_micros(2), 1);
        local.observe(Duration::from_millis(500), 1);
        shared.observe(Duration::ZERO);
        shared.flush(&mut local);
        shared.flush(&mut local);
        let text = encoded(shared);
        for line in [
            "took_seconds_sum 0.500002",
            "took_seconds_count 3",
            "took_seconds_bucket{le=\"2.5e-7\"} 1",
            "took_seconds_bucket{le=\"0.0000025\"} 2",
            "took_seconds_bucket{le=\"0.1\"} 2",
            "took_seconds_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn durations_of_nothing_are_counted_too() {
        let (shared, mut local) = (Histogram::default(), LocalHistogram::default());
        local.observe(Duration::ZERO, 2);
        shared.flush(&mut local);
        assert!(encoded(shared).contains("took_seconds_count 2"));
    }
}
