//! What operators see of the process: log lines and metrics.
//!
//! Not here: who logs or counts what, and the HTTP path that metrics are read from (`admin`).

pub mod log;
pub mod redact;

mod backends;
mod histogram;
mod labels;
mod local;
mod metrics;
mod per_label;
mod shards;

pub use self::labels::{
    ChoiceReason, DeepOutcome, Direction, DiscoverySource, ErrorClass, GeoipOutcome,
    HandshakeRejection, HealthLabel, LinkFailure, LocalAnswer, ProbeOutcome, ReloadOutcome,
    RoutingKind, SourceLabel,
};
pub use self::local::LocalCounts;
pub use self::metrics::{METRICS_CONTENT_TYPE, Metrics, OpenCount};
