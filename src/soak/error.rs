//! Why a soak could not be made.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::admin::client::FetchError;
use crate::bench::BenchError;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum SoakError {
    /// The limit of open files is too low, and may not be raised.
    #[error(transparent)]
    OpenFiles(#[from] BenchError),
    /// A file or directory cannot be written. Carries its path.
    #[error("cannot write {0}")]
    File(PathBuf, #[source] io::Error),
    /// A process cannot be started or spoken to. Carries its name.
    #[error("cannot run {0}")]
    Process(String, #[source] io::Error),
    /// A process has ended, or its output, before it said what it was to say. Carries its name and
    /// what was waited for.
    #[error("{0} ended before it said {1:?}; see its log")]
    Ended(String, &'static str),
    /// A process that was to end well has not. Carries its name and status.
    #[error("{0} has ended with {1}; see its log")]
    Failed(String, String),
    /// The edge has ended, and nobody had asked it to.
    #[error("the edge has ended unasked; see its log")]
    EdgeDied,
    /// Something took too long. Carries what, and how long was waited.
    #[error("not within {1:?}: {0}")]
    Late(String, Duration),
    /// The control API of a simulated server, or the admin API of the edge, refused. Carries the
    /// request and the answer's first line.
    #[error("{0} was answered {1:?}")]
    Refused(String, String),
    /// The admin API did not answer.
    #[error("the edge does not answer")]
    Admin(#[from] FetchError),
    /// A task of the soak itself ended: it has a bug. Carries its name.
    #[error("the task {0:?} ended unasked")]
    Task(&'static str),
    /// Stopped by a signal.
    #[error("interrupted; nothing was shown")]
    Interrupted,
}
