//! The form of a recording.

use std::collections::BTreeSet;

/// One line of a recording.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Line {
    pub(super) t_ms: f64,
    pub(super) dir: String,
    pub(super) conn: u64,
    #[serde(default)]
    pub(super) op: Option<String>,
    #[serde(default)]
    code: Option<u16>,
    pub(super) text: String,
    #[serde(default)]
    pub(super) truncated: bool,
    #[serde(default)]
    unmasked: bool,
}

impl Line {
    /// Whether its connection is about frames and not about messages.
    fn is_about_frames(&self) -> bool {
        let op = self.op.as_deref().unwrap_or("text");
        let is_usual = matches!(
            op,
            "text"
                | "binary"
                | "http"
                | "tcp-open"
                | "tcp-fin"
                | "tcp-drop"
                | "tcp-error"
                | "ping"
                | "pong"
        );
        let is_refused = op == "close" && self.code != Some(1000);
        self.unmasked
            || is_refused
            || (self.dir == "c2s" && self.truncated)
            || !(is_usual || op == "close")
    }
}

/// Connections that no message came from, or that are about frames: the business of the sockets.
pub(super) fn without_messages(lines: &[Line]) -> BTreeSet<u64> {
    let mut skipped: BTreeSet<u64> = lines.iter().map(|line| line.conn).collect();
    for line in lines.iter().filter(|line| line.dir == "c2s" && line.op.is_none()) {
        skipped.remove(&line.conn);
    }
    skipped.extend(lines.iter().filter(|line| line.is_about_frames()).map(|line| line.conn));
    skipped
}
