//! `pinfold simulate placement`: a day of meetings, placed by each strategy.

use std::process::ExitCode;

use crate::cli::print;
use crate::policy::choose::{Rules, Strategy};
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
    /// Cost of a kilometre instead of the default
    #[arg(long, value_name = "KM")]
    km_weight: Option<f64>,
    /// Width of the band instead of the default
    #[arg(long, value_name = "KM")]
    band_km: Option<f64>,
    /// Soft limit in percent instead of the default
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    soft_percent: Option<u8>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl PlacementArgs {
    fn rules(&self, strategy: Strategy) -> Rules {
        let usual = Rules::default();
        Rules {
            strategy,
            km_weight: self.km_weight.unwrap_or(usual.km_weight),
            band_km: self.band_km.unwrap_or(usual.band_km),
            soft: self.soft_percent.map_or(usual.soft, |percent| f64::from(percent) / 100.0),
            ..usual
        }
    }
}

fn strategy(name: &str) -> Result<Strategy, String> {
    let names = || Strategy::ALL.map(Strategy::name).join(", ");
    let found = Strategy::ALL.into_iter().find(|strategy| strategy.name() == name);
    found.ok_or_else(|| format!("expected one of {}", names()))
}

pub(super) fn run(args: &PlacementArgs) -> anyhow::Result<ExitCode> {
    let case = Case::day(args.seed, args.hours);
    let strategies = args.strategy.map_or_else(|| Strategy::ALL.to_vec(), |one| vec![one]);
    let run = |one| case.run(&args.rules(one));
    let runs: Vec<Measures> = strategies.into_iter().map(run).collect();
    if args.json {
        return print(format!("{}\n", serde_json::to_string_pretty(&runs)?));
    }
    print(table(&runs))
}
