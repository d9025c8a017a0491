//! The metrics of the process.

mod fleet;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram as LockedHistogram;
use prometheus_client::registry::{Metric, Registry};

use fleet::FleetValues;

use super::histogram::Histogram;
use super::labels::{
    ChoiceReason, Direction, ErrorClass, GeoipOutcome, HandshakeRejection, Label, LinkFailure,
    LocalAnswer, RoutingKind,
};
use super::local::LocalCounts;
use super::per_label::PerLabel;
use super::shards::Shards;

/// `Content-Type` of [`Metrics::encode`]'s text.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the placement buckets, in seconds.
const PLACEMENT_BOUNDS_SECONDS: [f64; 13] =
    [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Every counter, gauge and histogram of the process; clones share them.
///
/// Nothing here waits for a lock but what concerns a backend's load or a placement.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    values: Values,
    shards: Shards,
}

/// The values behind the registry, which holds clones that share them.
#[derive(Debug)]
struct Values {
    connections_open: Gauge,
    connections: Counter,
    handshakes_rejected: PerLabel<HandshakeRejection, Counter>,
    geoip_look_ups: PerLabel<GeoipOutcome, Counter>,
    links_open: Gauge,
    links: Counter,
    link_failures: PerLabel<LinkFailure, Counter>,
    frames: PerLabel<Direction, Counter>,
    bytes: PerLabel<Direction, Counter>,
    local_answers: PerLabel<LocalAnswer, Counter>,
    strays: Counter,
    calls_resent: Counter,
    calls_timed_out: Counter,
    late_answers: Counter,
    pacing_waits: Counter,
    pacing_refused: Counter,
    events_dropped: Counter,
    errors_sent: PerLabel<ErrorClass, Counter>,
    pins: Gauge,
    choices: PerLabel<ChoiceReason, Counter>,
    placement: LockedHistogram,
    routing: PerLabel<RoutingKind, Histogram>,
    fleet: FleetValues,
}

/// Something open that a gauge counts until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends what it counts"]
pub struct OpenCount(Gauge);

impl OpenCount {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pinfold");
        let values = Values::register(&mut registry);
        Self(Arc::new(Inner { registry, values, shards: Shards::default() }))
    }

    /// Every metric in the `OpenMetrics` text format; see [`METRICS_CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        self.collect();
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("a String takes all text");
        text
    }

    /// Adds what a task counted for itself, and empties `local`.
    pub fn flush(&self, local: &mut LocalCounts) {
        self.0.shards.flush(local);
    }

    fn collect(&self) {
        let values = &self.0.values;
        let (hits, answers) = (RoutingKind::TableHit, RoutingKind::LocalAnswer);
        let (hits, answers) = (values.routing.of(hits), values.routing.of(answers));
        let collected = self.0.shards.collect(hits, answers);
        add_all(&values.frames, collected.frames);
        add_all(&values.bytes, collected.bytes);
    }

    /// Counts a client connection that became a session; keep the count as long as it lives.
    pub fn on_connection(&self) -> OpenCount {
        self.0.values.connections.inc();
        OpenCount::new(&self.0.values.connections_open)
    }

    /// Client connections that are a session now.
    #[must_use]
    pub fn connections_open(&self) -> i64 {
        self.0.values.connections_open.get()
    }

    /// Counts a connection that did not become a session.
    pub fn on_handshake_rejected(&self, reason: HandshakeRejection) {
        self.0.values.handshakes_rejected.of(reason).inc();
    }

    /// The place of an address was looked up.
    pub fn on_geoip_look_up(&self, outcome: GeoipOutcome) {
        self.0.values.geoip_look_ups.of(outcome).inc();
    }

    /// Counts a link that was opened; keep the count as long as it lives.
    pub fn on_link(&self) -> OpenCount {
        self.0.values.links.inc();
        OpenCount::new(&self.0.values.links_open)
    }

    /// Counts a link that failed.
    pub fn on_link_failure(&self, reason: LinkFailure) {
        self.0.values.link_failures.of(reason).inc();
    }

    /// Counts a request that the edge answered itself.
    pub fn on_local_answer(&self, reason: LocalAnswer) {
        self.0.values.local_answers.of(reason).inc();
    }

    /// Counts an error with this JSON-RPC code that the edge sent to a client.
    pub fn on_error_sent(&self, code: i32) {
        self.0.values.errors_sent.of(ErrorClass::of_code(code)).inc();
    }

    /// Counts a message of a backend that answered no call and was dropped.
    pub fn on_stray(&self) {
        self.0.values.strays.inc();
    }

    /// Counts a call that was sent again because its link broke.
    pub fn on_resent(&self) {
        self.0.values.calls_resent.inc();
    }

    /// Counts calls that a backend has not answered in time.
    pub fn on_timed_out(&self, count: usize) {
        self.0.values.calls_timed_out.inc_by(count as u64);
    }

    /// Counts an answer that came after its call had timed out.
    pub fn on_late(&self) {
        self.0.values.late_answers.inc();
    }

    /// Counts a costly call that has to wait for its turn.
    pub fn on_pacing_wait(&self) {
        self.0.values.pacing_waits.inc();
    }

    /// Counts a costly call that was refused, because too many wait or it would for too long.
    pub fn on_pacing_refused(&self) {
        self.0.values.pacing_refused.inc();
    }

    /// Counts events of the manager that a client did not get because it took too few.
    pub fn on_events_dropped(&self, count: u64) {
        self.0.values.events_dropped.inc_by(count);
    }

    /// Shows the number of pins.
    pub fn set_pins(&self, count: usize) {
        self.0.values.pins.set(signed(count));
    }

    /// Counts a choice of a backend, and the time from asking to knowing.
    pub fn on_choice(&self, reason: ChoiceReason, took: Duration) {
        self.0.values.choices.of(reason).inc();
        self.0.values.placement.observe(took.as_secs_f64());
    }

    /// Counts a message that waited for something before it could be routed, and how long it was here.
    pub fn on_routed_late(&self, kind: RoutingKind, took: Duration) {
        self.0.values.routing.of(kind).observe(took);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Values {
    /// Makes every metric and registers it under its name; `_total` is added to counters.
    fn register(r: &mut Registry) -> Self {
        Self {
            connections_open: gauge(r, "connections_open", "Client connections open now"),
            connections: counter(r, "connections", "Client connections that became a session"),
            handshakes_rejected: counters(r, "handshakes_rejected", "Connections turned away"),
            geoip_look_ups: counters(r, "geoip_look_ups", "Places looked up for addresses"),
            links_open: gauge(r, "links_open", "Links to backends open now"),
            links: counter(r, "links", "Links to backends opened"),
            link_failures: counters(r, "link_failures", "Links that failed"),
            frames: counters(r, "frames", "Messages passed between clients, edge and backends"),
            bytes: counters(r, "bytes", "Payload of these messages in bytes"),
            local_answers: counters(r, "local_answers", "Requests answered without a backend"),
            strays: counter(r, "strays", "Messages of backends that answered no call"),
            calls_resent: counter(r, "calls_resent", "Calls sent again after their link broke"),
            calls_timed_out: counter(r, "calls_timed_out", "Calls not answered in time"),
            late_answers: counter(r, "late_answers", "Answers to calls that had timed out"),
            pacing_waits: counter(
                r,
                "pacing_waits",
                "Costly calls that had to wait for their turn",
            ),
            pacing_refused: counter(r, "pacing_refused", "Costly calls refused by pacing"),
            events_dropped: counter(
                r,
                "manager_events_dropped",
                "Events of the server manager that clients were too slow for",
            ),
            errors_sent: counters(r, "errors_sent", "Errors of the edge itself sent to clients"),
            pins: gauge(r, "pins", "Meetings that have a place here now, named and unnamed"),
            choices: counters(r, "choices", "Meetings and pipelines that asked for a backend"),
            placement: register(
                r,
                "placement_seconds",
                "Time from asking for a backend to knowing it",
                LockedHistogram::new(PLACEMENT_BOUNDS_SECONDS),
            ),
            routing: register(
                r,
                "routing_seconds",
                "Time from the last byte of a client's message read to its first byte written",
                PerLabel::new(Histogram::default),
            ),
            fleet: FleetValues::register(r),
        }
    }
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    register(registry, name, help, Gauge::default())
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    register(registry, name, help, Counter::default())
}

fn counters<L: Label>(registry: &mut Registry, name: &str, help: &str) -> PerLabel<L, Counter> {
    register(registry, name, help, PerLabel::new(Counter::default))
}

/// Adds to each counter what stands at its position.
fn add_all<L: Label, const N: usize>(counters: &PerLabel<L, Counter>, counts: [u64; N]) {
    for (counter, count) in counters.iter().zip(counts) {
        if count > 0 {
            counter.inc_by(count);
        }
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BackendId, Legs, Usage};
    use crate::policy::health::Cause;
    use crate::policy::tally::Counts;
    use crate::protocol::media::ElementKind;
    use crate::telemetry::labels::{DeepOutcome, HealthLabel, ProbeOutcome, ReloadOutcome};

    fn assert_shows(metrics: &Metrics, lines: &[&str]) {
        let text = metrics.encode();
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} in\n{text}");
        }
    }

    #[test]
    fn what_is_open_is_counted_until_it_is_dropped() {
        let metrics = Metrics::new();
        let (first, second) = (metrics.on_connection(), metrics.on_connection());
        let link = metrics.on_link();
        drop(first);
        assert_shows(&metrics, &["pinfold_connections_open 1", "pinfold_links_open 1"]);
        drop((second, link));
        assert_shows(
            &metrics,
            &[
                "pinfold_connections_open 0",
                "pinfold_connections_total 2",
                "pinfold_links_open 0",
                "pinfold_links_total 1",
            ],
        );
    }

    #[test]
    fn what_a_task_counted_for_itself_arrives_once() {
        let metrics = Metrics::new();
        let mut local = LocalCounts::default();
        local.on_frame(Direction::ClientIn, 441);
        local.on_frame(Direction::ClientIn, 9);
        local.on_frame(Direction::BackendOut, 9);
        local.on_table_hits(Duration::from_nanos(300), 2);
        metrics.on_routed_late(RoutingKind::NewPin, Duration::from_micros(40));
        metrics.flush(&mut local);
        metrics.flush(&mut local);
        assert_shows(
            &metrics,
            &[
                "pinfold_frames_total{direction=\"client_in\"} 2",
                "pinfold_bytes_total{direction=\"client_in\"} 450",
                "pinfold_frames_total{direction=\"client_out\"} 0",
                "pinfold_bytes_total{direction=\"backend_out\"} 9",
                "pinfold_routing_seconds_count{kind=\"table_hit\"} 2",
                "pinfold_routing_seconds_bucket{le=\"5e-7\",kind=\"table_hit\"} 2",
                "pinfold_routing_seconds_count{kind=\"new_pin\"} 1",
            ],
        );
    }

    #[test]
    fn events_are_counted_by_their_reason() {
        let metrics = Metrics::new();
        metrics.on_choice(ChoiceReason::Joined, Duration::from_millis(2));
        metrics.on_error_sent(40009);
        metrics.on_probe(ProbeOutcome::Timeout);
        metrics.on_handshake_rejected(HandshakeRejection::Path);
        metrics.on_link_failure(LinkFailure::Dial);
        metrics.on_local_answer(LocalAnswer::Ping);
        assert_shows(
            &metrics,
            &[
                "pinfold_choices_total{reason=\"joined\"} 1",
                "pinfold_choices_total{reason=\"all_full\"} 0",
                "pinfold_placement_seconds_bucket{le=\"0.0025\"} 1",
                "pinfold_errors_sent_total{class=\"resources\"} 1",
                "pinfold_probes_total{outcome=\"timeout\"} 1",
                "pinfold_handshakes_rejected_total{reason=\"path\"} 1",
                "pinfold_link_failures_total{reason=\"dial\"} 1",
                "pinfold_local_answers_total{reason=\"ping\"} 1",
            ],
        );
    }

    #[test]
    fn a_reload_that_fails_is_seen_until_one_goes_well() {
        let metrics = Metrics::new();
        metrics.on_config(1_000);
        metrics.on_reload(ReloadOutcome::Refused, 2_000);
        let (success, at) = (
            "pinfold_config_last_reload_success",
            "pinfold_config_last_reload_success_timestamp_seconds",
        );
        assert_shows(&metrics, &[&format!("{success} 0"), &format!("{at} 1000")]);
        metrics.on_reload(ReloadOutcome::Unchanged, 3_000);
        assert_shows(&metrics, &[&format!("{success} 1"), &format!("{at} 3000")]);
        assert_shows(&metrics, &["pinfold_config_reloads_total{outcome=\"refused\"} 1"]);
    }

    #[test]
    fn a_backend_is_shown_until_it_is_forgotten() {
        let metrics = Metrics::new();
        let backend = BackendId::parse("kms-a").unwrap();
        metrics.set_backend_load(&backend, Legs(12), Legs(400));
        let mut counts = Counts { publishing: 2, receiving: 5, ..Counts::default() };
        counts.elements[ElementKind::WebRtc as usize] = 6;
        metrics.set_backend_media(&backend, Legs(7), &counts);
        metrics.set_backends(HealthLabel::Healthy, 3);
        metrics.set_pins(7);
        let usage = Usage { cpu_count: Some(8), cpu_percent: Some(12.5), memory_kb: Some(2) };
        metrics.set_backend_usage(&backend, usage);
        metrics.on_events_dropped(5);
        metrics.set_backend_deep(&backend, Some(Duration::from_millis(2)));
        metrics.on_deep_probe(DeepOutcome::Refused);
        metrics.on_ejection(Cause::Full);
        metrics.set_spared(1);
        assert_shows(
            &metrics,
            &[
                "pinfold_backend_load_legs{backend=\"kms-a\"} 12",
                "pinfold_backend_capacity_legs{backend=\"kms-a\"} 400",
                "pinfold_backend_measured_legs{backend=\"kms-a\"} 7",
                "pinfold_backend_elements{backend=\"kms-a\",kind=\"webrtc\"} 6",
                "pinfold_backend_elements{backend=\"kms-a\",kind=\"mixer_port\"} 0",
                "pinfold_backend_connected_legs{backend=\"kms-a\",kind=\"receiving\"} 5",
                "pinfold_backends{health=\"healthy\"} 3",
                "pinfold_pins 7",
                "pinfold_backend_cpu_count{backend=\"kms-a\"} 8",
                "pinfold_backend_cpu_percent{backend=\"kms-a\"} 12.5",
                "pinfold_backend_memory_bytes{backend=\"kms-a\"} 2048",
                "pinfold_manager_events_dropped_total 5",
                "pinfold_backend_deep_probe_seconds{backend=\"kms-a\"} 0.002",
                "pinfold_deep_probes_total{outcome=\"refused\"} 1",
                "pinfold_ejections_total{cause=\"full\"} 1",
                "pinfold_backends_spared 1",
            ],
        );
        metrics.forget_backend(&backend);
        assert!(!metrics.encode().contains("kms-a"));
    }
}
