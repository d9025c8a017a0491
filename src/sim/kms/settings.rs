//! What can be set about a simulated KMS.

use std::time::Duration;

/// Settings of one server; `Default` is a KMS as it comes, on two processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsSettings {
    /// Milliseconds from 1970 to `Time::ZERO`; for times in events and answers.
    pub started_unix_millis: u64,
    /// Time between two collections of silent sessions.
    pub gc_period: Duration,
    /// Processors, as `getCpuCount` tells.
    pub cpu_count: u32,
    /// Calls that block an I/O thread and may do so at once. When all are busy, everyone waits.
    pub io_threads: usize,
    /// Added to the time of every answer; blocks its connection and no I/O thread.
    pub latency: Duration,
    /// Address in candidates and in descriptions of plain RTP.
    pub media_address: String,
    /// Whether the far side of a WebRTC connection sends audio and video once ICE is connected.
    pub peers_send_media: bool,
    /// Whether `connect` to a sink that is no element ends the server, as it does a real one.
    pub dies: bool,
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
        }
    }
}
