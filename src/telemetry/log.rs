//! Log lines: standard error, for people or as JSON.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

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
}

/// Starts logging to standard error, for the whole process.
///
/// # Errors
/// Logging was started before, or the filter is malformed.
pub fn init(settings: &LogSettings) -> Result<(), LogError> {
    Ok(subscriber(settings, io::stderr)?.try_init()?)
}

/// What turns events into lines for `writer`.
fn subscriber<W>(
    settings: &LogSettings,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, ParseError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&settings.filter)?;
    let builder = fmt().with_env_filter(filter).with_writer(writer);
    Ok(match settings.format {
        LogFormat::Pretty => Box::new(builder.with_ansi(false).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
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
        let subscriber = subscriber(&settings, move || writer.clone()).unwrap();
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
}
