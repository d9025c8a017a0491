//! The figures, and what they must and should be.

use crate::group::Group;

/// One figure of the table.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) group: Group,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// Digits behind the point that are worth printing.
    pub(crate) digits: usize,
    pub(crate) better: Better,
    pub(crate) bars: &'static [Bar],
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

/// What is asked of Pinfold's figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    pub(crate) measure: Measure,
    /// `None` where there is an aim only.
    pub(crate) must: Option<f64>,
    pub(crate) aim: f64,
}

/// What of a figure a bar is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Median of its ratios to HAProxy's.
    ToHaproxy,
    /// Median of its ratios to nginx's.
    ToNginx,
    /// Its median.
    Median,
    /// Its worst round.
    Worst,
}

/// The figures of all groups, each group's in the order in which it measures them.
pub(crate) const FIGURES: [Figure; 21] = [
    less(Group::Cpu, "CPU a message, 441 B, 64 connections", "µs", 2)
        .with(&[to_haproxy(1.0, 0.9), TO_NGINX_441]),
    more(Group::Cpu, "messages/s, same run", "/s").with(&[to_haproxy(1.0, 1.1)]),
    less(Group::Cpu, "CPU a message, 4 kB offers, 64 connections", "µs", 2)
        .with(&[to_haproxy(1.05, 0.95)]),
    more(Group::Cpu, "messages/s, same run of offers", "/s").with(&[to_haproxy(1.0, 1.1)]),
    less(Group::Latency, "added p50, 1 connection", "µs", 1).with(&[to_haproxy(1.0, 0.85)]),
    less(Group::Rate, "p99 at 5,000 messages/s, open loop", "µs", 0).with(&[to_haproxy(1.0, 0.85)]),
    less(Group::Events, "CPU an event", "µs", 2).with(&[to_haproxy(0.95, 0.7)]),
    less(Group::Storm1000, "storm of 1,000: connections failed", "", 0).with(&[worst(0.0, 0.0)]),
    more(Group::Storm1000, "storm of 1,000: connects/s", "/s").with(&[to_haproxy(1.0, 1.15)]),
    less(Group::Storm1000, "storm of 1,000: longest", "ms", 0).with(&[worst(1e3, 1e3)]),
    less(Group::Storm1000, "storm of 1,000: CPU a connection", "µs", 0)
        .with(&[to_haproxy(1.25, 1.0)]),
    less(Group::Storm5000, "storm of 5,000: connections failed", "", 0).with(&[worst(0.0, 0.0)]),
    more(Group::Storm5000, "storm of 5,000: connects/s", "/s").with(&[to_haproxy(1.0, 1.15)]),
    less(Group::Storm5000, "storm of 5,000: longest", "ms", 0).with(&[worst(1e3, 1e3)]),
    less(Group::Storm5000, "storm of 5,000: CPU a connection", "µs", 0)
        .with(&[to_haproxy(1.25, 1.0)]),
    less(Group::IdlePlain, "memory of an idle connection pair, plain", "KiB", 1)
        .with(&[median(4.7, 2.0)]),
    less(Group::IdleTls, "memory of an idle connection pair, TLS", "KiB", 1)
        .with(&[median(19.0, 12.0)]),
    less(Group::Tls, "CPU a TLS connect, full handshake", "µs", 0).with(&[to_haproxy(0.65, 0.45)]),
    less(Group::Tls, "CPU a TLS connect, resumed", "µs", 0).with(&[to_haproxy(0.65, 0.45)]),
    less(Group::Growth, "CPU a message, 640 connections over 64", "x", 3)
        .with(&[median(1.1, 1.03)]),
    less(Group::Growth, "CPU a message, 1,000 meetings over 100", "x", 3)
        .with(&[median(1.1, 1.03)]),
];

const TO_NGINX_441: Bar = Bar { measure: Measure::ToNginx, must: None, aim: 0.97 };

const fn less(group: Group, title: &'static str, unit: &'static str, digits: usize) -> Figure {
    Figure { group, title, unit, digits, better: Better::Less, bars: &[] }
}

const fn more(group: Group, title: &'static str, unit: &'static str) -> Figure {
    Figure { group, title, unit, digits: 0, better: Better::More, bars: &[] }
}

impl Figure {
    const fn with(mut self, bars: &'static [Bar]) -> Self {
        self.bars = bars;
        self
    }
}

const fn to_haproxy(must: f64, aim: f64) -> Bar {
    Bar { measure: Measure::ToHaproxy, must: Some(must), aim }
}

const fn median(must: f64, aim: f64) -> Bar {
    Bar { measure: Measure::Median, must: Some(must), aim }
}

const fn worst(must: f64, aim: f64) -> Bar {
    Bar { measure: Measure::Worst, must: Some(must), aim }
}
