//! `pinfold reload`: has a running edge read its config file again.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;
use tokio::runtime;

use crate::admin::client::{DEFAULT_URL, FetchError, post_json};
use crate::settings::Change;

/// Arguments of `pinfold reload`.
#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    /// Where the admin API of the edge listens
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    admin: String,
}

/// What the edge tells.
#[derive(Debug, Deserialize)]
struct Reloaded {
    changes: Vec<Change>,
}

/// Orders it and prints what has changed; fails with every mistake if nothing has.
pub(super) fn run(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let nothing = json!({});
    match runtime.block_on(post_json(&args.admin, "/api/v1/reload", &nothing)) {
        Ok(Reloaded { changes }) => super::print(shown(&changes)),
        // The edge has said what is wrong; that it is no success is said by the exit status.
        Err(FetchError::Status(_, reason)) => bail!("{reason}"),
        Err(error) => Err(error).with_context(|| format!("no reload by {}", args.admin)),
    }
}

fn shown(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "nothing to do: the config says what it said before\n".to_owned();
    }
    changes.iter().fold(String::new(), |mut text, change| {
        writeln!(text, "{change}").expect("a String takes all text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_a_line() {
        let change = |key: &str, before: Option<&str>, after: Option<&str>| Change {
            key: key.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let changes = [
            change("limits.calls_max", Some("1"), Some("2")),
            change("backends[a]", None, Some("{ id = \"a\" }")),
            change("backends[b]", Some("{ id = \"b\" }"), None),
        ];
        let expected = "limits.calls_max: 1 -> 2\nbackends[a]: added { id = \"a\" }\n\
                        backends[b]: removed { id = \"b\" }\n";
        assert_eq!(shown(&changes), expected);
        assert!(shown(&[]).contains("nothing to do"));
    }
}
