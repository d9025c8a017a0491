//! What a soak is made of.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Fewest backends: one is troubled, and two stay.
pub const BACKENDS_MIN: u8 = 3;

/// Most backends: each has a loopback address of its own.
pub const BACKENDS_MAX: u8 = 100;

/// Most sessions.
pub const SESSIONS_MAX: u32 = 10_000;

/// What a soak does. A time of zero means never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoakSettings {
    /// The program that is tried: `PROGRAM serve`, `PROGRAM kms-sim`.
    pub program: PathBuf,
    /// How long clients are at work.
    pub time: Duration,
    /// Clients, each with a session: 2 to [`SESSIONS_MAX`].
    pub sessions: u32,
    /// Simulated backends: [`BACKENDS_MIN`] to [`BACKENDS_MAX`].
    pub backends: u8,
    /// Time between two kills of a backend. For every sixth kill another is filled.
    pub kill_every: Duration,
    /// Time between two stops of a backend, for a moment and for long in turn.
    pub stop_every: Duration,
    /// Time between two drains of a backend.
    pub drain_every: Duration,
    /// Time between two reloads of the config, of another kind each.
    pub reload_every: Duration,
    /// Time between two restarts of the edge, in another way each.
    pub restart_every: Duration,
    /// Time after which a call without an answer on an open connection is lost.
    pub answer_within: Duration,
    /// Decides every choice, but not the order in which things happen.
    pub seed: u64,
    /// Where config, pins and logs are; created, and left behind.
    pub state_dir: PathBuf,
    /// Where clients connect if not to the edge itself: a proxy before it.
    pub via: Option<SocketAddr>,
}
