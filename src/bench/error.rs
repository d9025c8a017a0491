//! Why a run could not be done.

use std::io;

/// Why there is no report. What is wrong with answers is in the report instead.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The URL is none. Carries it.
    #[error("not a URL of the form ws://HOST[:PORT]/PATH or wss://…: {0}")]
    Url(String),
    /// `wss://`, and nothing says whom to trust.
    #[error("a wss:// URL needs --ca FILE, or --insecure")]
    NoTrust,
    /// The file with certificates cannot be used. Carries its path and why.
    #[error("no certificates to trust in {0}: {1}")]
    Ca(String, String),
    /// No address for the host. Carries it.
    #[error("cannot find {0}")]
    Resolve(String, #[source] io::Error),
    /// No connection, or it ended while a client was getting ready.
    #[error("no connection to {0}")]
    Connect(String, #[source] io::Error),
    /// A call before the measurement was not answered as the bench backend does. Carries the step and
    /// what came.
    #[error("{0}: {1}")]
    Ready(&'static str, String),
    /// More connections than files that may be open. Carries how many are needed and allowed.
    #[error("{0} open files are needed and {1} allowed: raise the limit, as by ulimit -n {0}")]
    OpenFiles(u64, u64),
    /// Nothing can be read of a process. Carries its id.
    #[error("cannot read the usage of process {0}")]
    Process(u32, #[source] io::Error),
    /// A thread could not be started, or has panicked.
    #[error("a thread failed")]
    Thread(#[source] io::Error),
    /// No metrics of the edge. Carries the URL of its admin API.
    #[error("no metrics from {0}")]
    Metrics(String, #[source] crate::admin::client::FetchError),
    /// The metrics do not hold what is wanted. Carries its name.
    #[error("the metrics hold no {0}: is this the admin API of a Pinfold?")]
    NoMetric(&'static str),
}
