//! What can be set about a simulated KMS.

use std::time::Duration;

use super::load::LoadModel;

/// Settings of one server; `Default` is a KMS as it comes, on two processors.
#[derive(Clone, Debug, PartialEq)]
pub struct KmsSettings {
    /// Milliseconds from 1970 to `Time::ZERO`; for times in events and answers.
    pub started_unix_millis: u64,
    /// Time between two collections of silent sessions.
    pub gc_period: Duration,
    /// Processors, as `getCpuCount` tells.
    pub cpu_count: u32,
    /// Calls that block an I/O thread and may do so at once. When all are busy, everyone waits.
    pub io_threads: usize,
    /// Added to the time of every answer, as by a long way to the server; blocks its connection and
    /// no I/O thread.
    pub latency: Duration,
    /// Address in candidates and in descriptions of plain RTP.
    pub media_address: String,
    /// Whether the far side of a WebRTC connection sends audio and video once ICE is connected.
    pub peers_send_media: bool,
    /// Whether `connect` to a sink that is no element ends the server, as it does a real one.
    pub dies: bool,
    /// Whether a small message waits until the one before is acknowledged, as TCP does it unless told
    /// otherwise. A real one leaves it so, and shows steps of 40 ms.
    pub uses_nagle: bool,
    /// Whether answers are kept for 20 s and given again: not `disableRequestCache`.
    pub keeps_answers: bool,
    /// Of the events that the first request of a connection causes, how many in a hundred are lost
    /// because they were raised before the connection was tied to its session.
    pub first_events_lost_percent: usize,
    /// When `create` is refused with 40009.
    pub limits: Limits,
    /// What things cost, and whether calls take time.
    pub load: LoadModel,
}

/// What a server may use up. Of descriptors and threads new objects get 80 %: KMS's default
/// `exceptionLimit`. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Open file descriptors of the process (`RLIMIT_NOFILE`). When all are gone, no further
    /// connection is taken.
    pub files_max: Option<usize>,
    /// Threads of the process (`RLIMIT_NPROC`).
    pub threads_max: Option<usize>,
    /// WebRTC and RTP endpoints: a capacity that is easier to think of than the two above. No real
    /// server has it; the error is that of threads.
    pub endpoints_max: Option<usize>,
    /// `killLimit`: a server whose last object went away while it uses more than this share of its
    /// descriptors or threads, in percent, ends as by SIGTERM.
    pub kill_percent: Option<usize>,
}

impl Default for KmsSettings {
    fn default() -> Self {
        Self {
            started_unix_millis: 0,
            gc_period: Duration::from_secs(240),
            cpu_count: 2,
            io_threads: 10,
            latency: Duration::ZERO,
            media_address: "127.0.0.1".to_owned(),
            peers_send_media: false,
            dies: true,
            uses_nagle: false,
            keeps_answers: true,
            first_events_lost_percent: 11,
            limits: Limits::default(),
            load: LoadModel::default(),
        }
    }
}
