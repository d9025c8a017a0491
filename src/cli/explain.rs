//! Decisions as text for people.

use crate::model::BackendId;
use crate::policy::choose::{Decision, Filter, NoBackend, Row, Strategy};
use crate::policy::decisions::Cause;
use crate::policy::promise::Source;

use super::table::aligned;

const COLUMNS: [&str; 7] = ["backend", "", "cost", "distance km", "in use", "load km", "price km"];

/// What is known of a decision, a line each: what, and what of it.
pub(super) type Facts = Vec<[String; 2]>;

/// One line of them.
pub(super) fn fact(what: &str, of_it: impl Into<String>) -> [String; 2] {
    [what.to_owned(), of_it.into()]
}

/// The decision: `before`, what it came to and why, and its candidates as a table.
pub(super) fn text(decision: &Decision, before: Facts) -> String {
    let mut facts = before;
    facts.extend(facts_of(decision));
    let mut text = aligned(&facts, 2);
    if !decision.rows.is_empty() {
        text.push('\n');
        text.push_str(&candidates(decision));
    }
    text
}

/// What it came to, in words.
pub(super) fn outcome(decision: &Decision) -> String {
    match (&decision.chosen, decision.refused) {
        (Some(chosen), _) if decision.is_overflow => {
            format!("{chosen}, the least bad: all are full")
        }
        (Some(chosen), _) => chosen.to_string(),
        (None, Some(why)) => format!("none: {}", refusal(why)),
        (None, None) => "none yet: all are full, and it waits".to_owned(),
    }
}

/// Where a reserve is from, in words.
pub(super) const fn source(source: Source) -> &'static str {
    match source {
        Source::Hint => "announced by the client",
        Source::Meeting => "as this meeting had before",
        Source::Pattern => "as meetings with such a name had before",
        Source::Default => "the default",
    }
}

/// Why there was a choice to make, in words.
pub(super) const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::New => "the meeting had no pin",
        Cause::Replaced => "its pin was of a process that has lost it",
    }
}

fn facts_of(decision: &Decision) -> Facts {
    let mut facts = vec![fact("strategy", strategy(decision))];
    if !decision.is_placed {
        facts.push(fact("place", "not known: distance counts for nothing"));
    }
    if !decision.drawn.is_empty() {
        facts.push(fact("drawn", drawn(decision)));
    }
    let fell: Vec<String> =
        decision.fell.iter().map(|fell| format!("{} {}", fell.count, verdict(fell.by))).collect();
    let fell = if fell.is_empty() { "none".to_owned() } else { fell.join(", ") };
    facts.push(fact("left out", format!("{fell}, of {}", decision.candidates)));
    facts.push(fact("config", decision.config.to_string()));
    facts
}

fn strategy(decision: &Decision) -> String {
    let by = match decision.strategy {
        Strategy::Score => "distance, load and price in one number",
        Strategy::Nearest => "distance alone",
        Strategy::LeastLoad => "load alone",
        Strategy::RoundRobin => "one after the other",
        Strategy::Rendezvous => "the draw alone",
    };
    format!("{}: {by}", decision.strategy.name())
}

fn drawn(decision: &Decision) -> String {
    let names: Vec<&str> = decision.drawn.iter().map(BackendId::as_str).collect();
    let by = match decision.strategy {
        Strategy::RoundRobin => return format!("{}, in turn", names.join(", ")),
        Strategy::Score | Strategy::Nearest | Strategy::LeastLoad | Strategy::Rendezvous => {
            format!("by key {:016x}", decision.key)
        }
    };
    match names.as_slice() {
        [_, _] => format!("{} {by}; the cheaper is taken", names.join(", ")),
        _ => format!("{} {by}, alone in the band", names.join(", ")),
    }
}

const fn refusal(why: NoBackend) -> &'static str {
    match why {
        NoBackend::NoneHealthy => "none takes new meetings",
        NoBackend::NoneLabelled => "none that takes new meetings has the labels",
        NoBackend::AllFull => "all are full",
    }
}

/// What is wrong with one that fell by it.
const fn verdict(filter: Filter) -> &'static str {
    match filter {
        Filter::PassedOver => "passed over",
        Filter::Unhealthy => "unhealthy",
        Filter::Draining => "draining",
        Filter::Labels => "without the labels",
        Filter::Unreported => "not reported yet",
        Filter::Room => "without room",
    }
}

fn candidates(decision: &Decision) -> String {
    let mut lines = vec![COLUMNS.map(str::to_owned)];
    lines.extend(decision.rows.iter().map(|row| candidate(row, decision)));
    let mut text = aligned(&lines, 2);
    if decision.candidates > decision.rows.len() {
        text.push_str(&format!("and {} more\n", decision.candidates - decision.rows.len()));
    }
    text
}

fn candidate(row: &Row, decision: &Decision) -> [String; 7] {
    let is_drawn = decision.drawn.contains(&row.backend);
    let verdict = match row.fell {
        _ if decision.chosen.as_ref() == Some(&row.backend) => "chosen",
        Some(filter) => verdict(filter),
        None if is_drawn => "drawn",
        None if row.in_band => "in the band",
        None => "dearer",
    };
    let km = |km: f64| format!("{km:.0}");
    // The cost of one that cannot be chosen says nothing: that of a full one is without bound.
    let if_open = |text: String| if row.fell.is_some() { "-".to_owned() } else { text };
    let cost = match decision.strategy {
        Strategy::LeastLoad => format!("{:.2}", row.terms.cost),
        Strategy::Score | Strategy::Nearest | Strategy::RoundRobin | Strategy::Rendezvous => {
            km(row.terms.cost)
        }
    };
    [
        row.backend.to_string(),
        verdict.to_owned(),
        if_open(cost),
        km(row.terms.km),
        format!("{:.0} %", row.terms.used * 100.0),
        if_open(km(row.terms.load_km)),
        km(row.terms.price_km),
    ]
}

#[cfg(test)]
mod tests;
