//! The figures as a table, in Markdown that can be read as it is.

use crate::aims::{Bar, Better, Figure, Measure};
use crate::peer::Peer;
use crate::rounds::Row;
use crate::spread::Spread;

/// What is printed where there is nothing.
const NOTHING: &str = "-";

/// One line for each row.
pub(crate) fn figures(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = [
        "figure",
        "unit",
        "Pinfold",
        "HAProxy",
        "nginx",
        "/ HAProxy",
        "/ nginx",
        "must",
        "aim",
        "",
    ];
    aligned(&head, &rows.iter().map(Row::cells).collect::<Vec<_>>())
}

/// A table whose columns stand below each other.
pub(crate) fn aligned(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count(), 3]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = line(&mut head.iter().copied());
    text += &line(&mut rules.iter().map(String::as_str));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let Figure { title, unit, digits, better, bars, .. } = *self.figure;
        let mut cells = vec![title.to_owned(), unit.to_owned()];
        cells.extend(Peer::ALL.map(|peer| shown(self.values_of(peer), digits)));
        cells.extend([Peer::Haproxy, Peer::Nginx].map(|peer| shown(self.ratios_to(peer), 2)));
        let sign = if better == Better::Less { "≤" } else { "≥" };
        cells.push(all(bars.iter().filter_map(|bar| bar.must.map(|must| bar.words(sign, must)))));
        cells.push(all(bars.iter().map(|bar| bar.words(sign, bar.aim))));
        cells.push(self.verdict().to_owned());
        cells
    }

    fn values_of(&self, peer: Peer) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round[peer as usize]))
    }

    /// Pinfold's over the other's, round by round.
    fn ratios_to(&self, peer: Peer) -> Option<Spread> {
        let ratio = |round: &[f64; 3]| round[Peer::Pinfold as usize] / round[peer as usize];
        Spread::of(self.rounds.iter().map(ratio))
    }

    fn verdict(&self) -> &'static str {
        let Figure { bars, .. } = self.figure;
        let must = |bar: &Bar| bar.must.is_none_or(|must| self.reaches(bar.measure, must));
        let aim = |bar: &Bar| self.reaches(bar.measure, bar.aim);
        match (bars.iter().all(must), bars.iter().all(aim)) {
            (false, _) => "**missed**",
            (true, false) => "must met",
            (true, true) => "aim met",
        }
    }

    /// Whether what `measure` is about is as good as `bound`. Nothing measured is not.
    fn reaches(&self, measure: Measure, bound: f64) -> bool {
        let better = self.figure.better;
        let found = match measure {
            Measure::ToHaproxy => self.ratios_to(Peer::Haproxy).map(|ratio| ratio.median),
            Measure::ToNginx => self.ratios_to(Peer::Nginx).map(|ratio| ratio.median),
            Measure::Median => self.values_of(Peer::Pinfold).map(|value| value.median),
            Measure::Worst => self.values_of(Peer::Pinfold).map(|value| match better {
                Better::Less => value.max,
                Better::More => value.min,
            }),
        };
        found.is_some_and(|found| match better {
            Better::Less => found <= bound,
            Better::More => found >= bound,
        })
    }
}

impl Bar {
    fn words(&self, sign: &str, bound: f64) -> String {
        match self.measure {
            Measure::ToHaproxy => format!("{sign} {bound:.2} x HAProxy"),
            Measure::ToNginx => format!("{sign} {bound:.2} x nginx"),
            Measure::Median => format!("{sign} {bound}"),
            Measure::Worst => format!("{sign} {bound}, every round"),
        }
    }
}

/// Median, and the extremes in brackets where they differ from it.
fn shown(spread: Option<Spread>, digits: usize) -> String {
    let Some(Spread { median, min, max }) = spread else { return NOTHING.to_owned() };
    if min == max {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
}

fn all(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { NOTHING.to_owned() } else { words.join(", ") }
}
