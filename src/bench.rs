//! The measuring client and the backend behind it: `pinfold bench`.
//!
//! Both are made to cost little beside what stands between them. A client sends frames that are made
//! ready beforehand and compares each answer with what the same call was answered before; the
//! `backend` answers without keeping anything. A `crew` of threads works on connections, each
//! thread on its own; what they measured is one `Tally` at the end, and a [`Report`] for people and
//! programs. Every answer is checked: the right id, once, from the backend of its meeting. One that is
//! wrong makes the run invalid.
//! Not here: other proxies to compare with, and how they are started.

mod backend;
mod cohort;
mod connection;
mod crew;
mod error;
mod events;
mod frames;
mod idle;
mod latency;
mod pacer;
mod process;
mod rate;
mod reply;
mod report;
mod routing;
mod storm;
mod stream;
mod tally;
mod target;
mod tls;

pub use self::backend::{BackendSettings, serve};
pub use self::crew::THREADS_MAX;
pub use self::error::BenchError;
pub use self::events::{EVENTS_MAX, EventsSettings};
pub use self::frames::Mix;
pub use self::idle::IdleSettings;
pub use self::latency::LatencySettings;
pub use self::process::raise_open_files;
pub use self::rate::{PER_SECOND_MAX, RateSettings};
pub use self::report::Report;
pub use self::routing::RoutingSettings;
pub use self::storm::{FirstMessage, StormSettings};
pub use self::target::{CONNECTIONS_MAX, Clients, Trust};
pub use self::tls::TlsSettings;

use self::tally::Tally;
