//! Log lines: standard error, for people or as JSON.

use std::fmt;
use std::io;
use std::sync::Arc;

use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, reload};

use crate::settings::{LogFormat, LogSettings};

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is malformed; checked settings hold none such.
    #[error("the log filter is malformed")]
    Filter(#[from] ParseError),
    /// The process logs already.
    #[error("logging was started before")]
    Started(#[from] TryInitError),
    /// Nothing logs any more.
    #[error("the log filter cannot be changed")]
    Change(#[from] reload::Error),
}

/// Which lines are logged; clones are of the same log.
#[derive(Clone)]
pub struct LogFilter(Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogFilter {
    /// From now on those of `filter`, in the syntax of `EnvFilter`.
    ///
    /// # Errors
    /// It is malformed, or nothing logs any more.
    pub fn set(&self, filter: &str) -> Result<(), LogError> {
        Ok((self.0)(EnvFilter::builder().parse(filter)?)?)
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFilter").finish_non_exhaustive()
    }
}

/// Starts logging to standard error, for the whole process. Returns what changes the filter.
///
/// # Errors
/// Logging was started before, or the filter is malformed.
pub fn init(settings: &LogSettings) -> Result<LogFilter, LogError> {
    let (subscriber, filter) = subscriber(settings, io::stderr)?;
    subscriber.try_init()?;
    Ok(filter)
}

/// What turns events into lines for `writer`, and what decides which.
fn subscriber<W>(
    settings: &LogSettings,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, LogFilter), ParseError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&settings.filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match settings.format {
        LogFormat::Pretty => {
            let builder = builder.with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            let filter = LogFilter(Arc::new(move |filter| handle.reload(filter)));
            (Box::new(builder.finish()), filter)
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let filter = LogFilter(Arc::new(move |filter| handle.reload(filter)));
            (Box::new(builder.finish()), filter)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer whose text can be read afterwards.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        let settings = LogSettings { format, filter: filter.to_owned() };
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _) = subscriber(&settings, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(meeting = "standup", "pinned");
            tracing::debug!("detail");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_hold_the_fields_at_their_top() {
        let text = logged(LogFormat::Json, "info");
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["meeting"], "standup");
        assert_eq!(line["message"], "pinned");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        assert!(logged(LogFormat::Pretty, "debug").contains("detail"));
        let text = logged(LogFormat::Pretty, "info");
        assert!(text.contains("meeting=\"standup\"") && !text.contains("detail"), "{text}");
        assert_eq!(logged(LogFormat::Pretty, "warn"), "");
    }

    #[test]
    fn the_filter_can_be_changed_meanwhile() {
        for format in [LogFormat::Pretty, LogFormat::Json] {
            let settings = LogSettings { format, filter: "warn".to_owned() };
            let written = Lines::default();
            let writer = written.clone();
            let (subscriber, filter) = subscriber(&settings, move || writer.clone()).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!("before");
                filter.set("debug").unwrap();
                tracing::debug!("after");
                assert!(filter.set("pinfold=nonsense").is_err());
                tracing::debug!("still");
            });
            let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(!text.contains("before"), "{text}");
            assert!(text.contains("after") && text.contains("still"), "{text}");
        }
    }
}
