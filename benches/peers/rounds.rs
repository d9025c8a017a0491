//! Rounds, in which the three take turns.

use anyhow::{Context, ensure};

use crate::aims::{FIGURES, Figure};
use crate::args::Args;
use crate::bench::Bench;
use crate::group::Group;
use crate::peer::Peer;

/// A figure with what was measured.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) figure: &'static Figure,
    /// By round, and in it by peer in the order of [`Peer::ALL`].
    pub(crate) rounds: Vec<[f64; Peer::ALL.len()]>,
}

/// Measures all that is asked for, and says on standard error what comes in.
pub(crate) async fn run(bench: &Bench, args: &Args) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for group in args.groups() {
        rows.extend(measure(bench, group, args.rounds).await?);
    }
    Ok(rows)
}

async fn measure(bench: &Bench, group: Group, round_count: usize) -> anyhow::Result<Vec<Row>> {
    let figures = FIGURES.iter().filter(|figure| figure.group == group);
    let mut rows: Vec<Row> = figures
        .map(|figure| Row { figure, rounds: vec![Default::default(); round_count] })
        .collect();
    for round in 0..round_count {
        for turn in 0..Peer::ALL.len() {
            let index = (round + turn) % Peer::ALL.len();
            let peer = Peer::ALL[index];
            let measured = group.measure(bench, peer).await;
            let values =
                measured.with_context(|| format!("{} of {}", group.name(), peer.name()))?;
            ensure!(values.len() == rows.len(), "{} figures measured", values.len());
            let shown: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
            let (name, shown) = (group.name(), shown.join("  "));
            eprintln!("{name:<11} {}/{round_count}  {:<8} {shown}", round + 1, peer.name());
            for (row, value) in rows.iter_mut().zip(values) {
                row.rounds[round][index] = value;
            }
        }
    }
    Ok(rows)
}
