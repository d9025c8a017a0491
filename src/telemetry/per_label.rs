//! One metric for each value of a label, without a lock or a hash on the way to it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

use super::labels::Label;

/// A metric `M` for each variant of `L`, all there from the start; clones share them.
#[derive(Debug)]
pub(super) struct PerLabel<L, M> {
    metrics: Arc<[M]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, M> PerLabel<L, M> {
    /// Makes the metric of each variant with `make`.
    pub(super) fn new(make: impl Fn() -> M) -> Self {
        Self { metrics: L::ALL.iter().map(|_| make()).collect(), label: PhantomData }
    }

    /// The metric of `label`.
    pub(super) fn of(&self, label: L) -> &M {
        &self.metrics[label.index()]
    }

    /// The metrics in the order of their labels.
    pub(super) fn iter(&self) -> impl Iterator<Item = &M> {
        self.metrics.iter()
    }
}

impl<L, M> Clone for PerLabel<L, M> {
    fn clone(&self) -> Self {
        Self { metrics: Arc::clone(&self.metrics), label: PhantomData }
    }
}

impl<L: Label, M: EncodeMetric> EncodeMetric for PerLabel<L, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for ((_, value), metric) in L::ALL.iter().zip(self.metrics.iter()) {
            metric.encode(encoder.encode_family(&[(L::NAME, *value)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.metrics[0].metric_type()
    }
}
