//! `pinfold backend`: adds backends to a running edge, and removes them.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::runtime;

use crate::admin::BackendRow;
use crate::admin::client::{DEFAULT_URL, delete_json, post_json};

use super::table;

const PATH: &str = "/api/v1/backends";

/// Arguments of `pinfold backend`.
#[derive(Debug, Args)]
pub(super) struct BackendArgs {
    #[command(subcommand)]
    change: Change,
    /// Where the admin API of the edge listens
    #[arg(long, global = true, value_name = "URL", default_value = DEFAULT_URL)]
    admin: String,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Add a backend, or say something else of one that was added before
    Add(AddArgs),
    /// Remove a backend that was added: it gets no new meetings, and goes when it has none
    Remove {
        /// Its id
        id: String,
    },
}

/// What the edge is told of a backend: keys of `[[backends]]`, which it checks.
#[derive(Debug, Args)]
struct AddArgs {
    /// Its id
    id: String,
    /// Where it listens, like `ws://10.0.0.5:8888/kurento`
    url: String,
    /// Load it can bear, in legs
    #[arg(long, value_name = "LEGS")]
    capacity: Option<u32>,
    /// Tickets it has in the draw among equals
    #[arg(long, value_name = "TICKETS")]
    weight: Option<u32>,
    /// What it costs
    #[arg(long)]
    price: Option<f64>,
    /// What it may be asked for; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Where it stands, in degrees, like `48.86,2.35`
    #[arg(long, value_name = "LATITUDE,LONGITUDE", value_parser = parse_place, allow_hyphen_values = true)]
    place: Option<(f64, f64)>,
    /// Memory that it may use at most, in MB
    #[arg(long, value_name = "MB")]
    memory_mb: Option<u32>,
    /// Where an agent beside it tells how busy its machine is
    #[arg(long, value_name = "URL")]
    report_url: Option<String>,
}

/// What the edge tells of a change.
#[derive(Deserialize)]
struct Changed {
    backend: Option<BackendRow>,
}

/// Tells the edge and prints what has come of it.
pub(super) fn run(args: &BackendArgs) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (id, changed) = match &args.change {
        Change::Add(add) => {
            let changed = runtime.block_on(post_json(&args.admin, PATH, &add.to_json()));
            (&add.id, changed)
        }
        Change::Remove { id } => {
            let path = format!("{PATH}/{id}");
            (id, runtime.block_on(delete_json(&args.admin, &path)))
        }
    };
    let changed: Changed =
        changed.with_context(|| format!("{}: nothing has changed", args.admin))?;
    super::print(match changed.backend {
        Some(row) => table::of_backends(&[row]),
        None => format!("{id} is not in the fleet now\n"),
    })
}

impl AddArgs {
    /// The keys that were given.
    fn to_json(&self) -> Value {
        let place = self
            .place
            .map(|(latitude, longitude)| json!({ "latitude": latitude, "longitude": longitude }));
        let keys = [
            ("id", Some(json!(self.id))),
            ("url", Some(json!(self.url))),
            ("capacity", self.capacity.map(Value::from)),
            ("weight", self.weight.map(Value::from)),
            ("price", self.price.map(Value::from)),
            ("labels", Some(json!(self.labels))),
            ("place", place),
            ("memory_mb", self.memory_mb.map(Value::from)),
            ("report_url", self.report_url.as_deref().map(Value::from)),
        ];
        let given = keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Value::Object(given.collect::<Map<_, _>>())
    }
}

fn parse_place(text: &str) -> Result<(f64, f64), String> {
    let expected = || "expected degrees like 48.86,2.35".to_owned();
    let (latitude, longitude) = text.split_once(',').ok_or_else(expected)?;
    let degrees = |text: &str| text.trim().parse().map_err(|_| expected());
    Ok((degrees(latitude)?, degrees(longitude)?))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::settings::parse_backend;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        backend: BackendArgs,
    }

    #[test]
    fn what_is_given_is_what_the_edge_reads() {
        let line = "x add kms-c ws://10.0.0.7:8888 --capacity 90 --label region=eu --label tier=gold \
                    --place -33.87,151.2 --price 1.5";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Change::Add(add) = cli.backend.change else { panic!("not added") };
        let backend = parse_backend(&add.to_json().to_string()).unwrap();
        assert_eq!((backend.id.as_str(), backend.capacity.0, backend.weight), ("kms-c", 90, 1));
        assert_eq!(backend.labels.to_string(), "region=eu tier=gold");
        assert!((backend.place.unwrap().latitude + 33.87).abs() < 1e-9);
        for place in ["5", "a,b", "1,2,3"] {
            assert!(parse_place(place).is_err(), "{place}");
        }
    }
}
