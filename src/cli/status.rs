//! `pinfold status`: the backends of a running edge.

use std::process::ExitCode;

use anyhow::Context;
use tokio::runtime;

use crate::admin::BackendRows;
use crate::admin::client::{DEFAULT_URL, fetch_json};

use super::table;

/// Arguments of `pinfold status`.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Where the admin API of the edge listens
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    admin: String,
}

/// Asks the edge and prints the table.
pub(super) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let rows: BackendRows = runtime
        .block_on(fetch_json(&args.admin, "/api/v1/backends"))
        .with_context(|| format!("no status from {}", args.admin))?;
    super::print(table::of_backends(&rows.backends))
}
