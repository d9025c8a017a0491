//! `pinfold simulate placement`: a day of meetings, placed by each strategy.

use std::process::ExitCode;

use crate::cli::print;
use crate::policy::choose::Strategy;
use crate::simulate::placement::{Case, Measures, table};

/// A day of made-up meetings on 50 backends in eight cities, placed by each strategy.
///
/// Prints a table: distance of the people, load of the backends, minutes that people spent on
/// overloaded ones, meetings refused, and how uneven new meetings fell within ten seconds. One seed
/// gives one result.
#[derive(Debug, clap::Args)]
pub(super) struct PlacementArgs {
    /// Decides the meetings
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this strategy; all if left out
    #[arg(long, value_name = "NAME", value_parser = strategy)]
    strategy: Option<Strategy>,
    /// Hours to simulate, from 13:00 UTC
    #[arg(long, value_name = "N", default_value_t = 24,
          value_parser = clap::value_parser!(u32).range(1..=240))]
    hours: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn strategy(name: &str) -> Result<Strategy, String> {
    let names = || Strategy::ALL.map(Strategy::name).join(", ");
    let found = Strategy::ALL.into_iter().find(|strategy| strategy.name() == name);
    found.ok_or_else(|| format!("expected one of {}", names()))
}

pub(super) fn run(args: &PlacementArgs) -> anyhow::Result<ExitCode> {
    let case = Case::day(args.seed, args.hours);
    let strategies = args.strategy.map_or_else(|| Strategy::ALL.to_vec(), |one| vec![one]);
    let runs: Vec<Measures> = strategies.into_iter().map(|one| case.run_strategy(one)).collect();
    if args.json {
        return print(format!("{}\n", serde_json::to_string_pretty(&runs)?));
    }
    print(table(&runs))
}
