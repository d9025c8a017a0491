//! `pinfold drain` and `pinfold undrain`: empty a backend, or change one's mind.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::runtime;

use crate::admin::client::{DEFAULT_URL, FetchError, fetch_json, post_json};
use crate::admin::{BackendRow, BackendRows, DrainOrder, Then};

use super::table;

/// How often the progress is asked for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Arguments of `pinfold drain`.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// The backend's id
    backend: String,
    /// Time until the meetings that are left are moved, like 90s, 30m or 1h; without it none is
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    deadline: Option<Duration>,
    /// What becomes of the backend when no meeting is left
    #[arg(long, value_name = "WHAT", default_value = "stay", value_parser = parse_then)]
    then: Then,
    /// Wait until no meeting is left, and show the progress
    #[arg(long)]
    wait: bool,
    /// Where the admin API of the edge listens
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    admin: String,
}

/// Arguments of `pinfold undrain`.
#[derive(Debug, clap::Args)]
pub(super) struct UndrainArgs {
    /// The backend's id
    backend: String,
    /// Where the admin API of the edge listens
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    admin: String,
}

/// What is told of an order: the backend's row, `null` if it is gone.
#[derive(Deserialize)]
struct Told {
    backend: Option<BackendRow>,
}

/// Gives the order, and shows how far it is.
pub(super) fn run(args: &DrainArgs) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drain(args))
}

/// Takes the order back.
pub(super) fn undo(args: &UndrainArgs) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let UndrainArgs { backend, admin } = args;
    let told = runtime.block_on(order(admin, backend, "undrain", &serde_json::json!({})));
    let told = told.with_context(|| format!("{backend} is not undrained"))?;
    super::print(match told.backend {
        Some(row) => table::of_backends(&[row]),
        None => format!("{backend} is not here now; it gets meetings when it comes\n"),
    })
}

async fn drain(args: &DrainArgs) -> anyhow::Result<ExitCode> {
    let DrainArgs { backend, deadline, then, wait, admin } = args;
    let deadline_ms = deadline.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let how = DrainOrder { deadline_ms, then: *then };
    let told = order(admin, backend, "drain", &how).await;
    let mut row = told.with_context(|| format!("{backend} is not drained"))?.backend;
    let mut last = String::new();
    loop {
        let line = progress(backend, row.as_ref());
        if line != last {
            super::print(&line)?;
            last = line;
        }
        if !wait || row.as_ref().is_none_or(|row| !is_going_on(row)) {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        let rows: BackendRows = fetch_json(admin, "/api/v1/backends")
            .await
            .with_context(|| format!("no status from {admin}"))?;
        row = rows.backends.into_iter().find(|row| row.id == *backend);
    }
}

async fn order(
    admin: &str,
    backend: &str,
    verb: &str,
    body: &impl serde::Serialize,
) -> Result<Told, FetchError> {
    let id = utf8_percent_encode(backend, NON_ALPHANUMERIC);
    post_json(admin, &format!("/api/v1/backends/{id}/{verb}"), body).await
}

/// Whether there is something to wait for: not if somebody has undrained it meanwhile.
fn is_going_on(row: &BackendRow) -> bool {
    match &row.drain {
        Some(drain) => drain.meetings > 0 || drain.then == Then::Remove,
        None => row.stay == "leaving",
    }
}

fn progress(backend: &str, row: Option<&BackendRow>) -> String {
    match row {
        None => format!("{backend} is removed\n"),
        Some(row) => table::of_drain(row).unwrap_or_else(|| format!("{backend}: {}\n", row.stay)),
    }
}

fn parse_then(text: &str) -> Result<Then, String> {
    match text {
        "stay" => Ok(Then::Stay),
        "remove" => Ok(Then::Remove),
        _ => Err("expected stay or remove".to_owned()),
    }
}

/// Reads a whole number with its unit: `ms`, `s`, `m`, `h` or `d`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let expected = || "expected a whole number and a unit, like 90s, 30m or 1h".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("1h", 3_600), ("2d", 172_800)] {
            assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_time("0ms"), Ok(Duration::ZERO));
        for text in ["", "5", "h", "1.5h", "-1h", "1 h", "1w", "99999999999999999999s", "9e9d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert!(parse_time("18446744073709551615h").is_err());
    }
}
