//! `pinfold why`: how a meeting came to its backend.

use std::process::ExitCode;

use anyhow::{Context, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::runtime;

use crate::admin::client::{DEFAULT_URL, FetchError, fetch_json, fetch_text};
use crate::admin::{DecisionRow, DecisionRows, MeetingRow};

use super::explain::{self, Facts, fact};
use super::table::aligned;
use super::when;

/// Arguments of `pinfold why`.
#[derive(Debug, clap::Args)]
pub(super) struct WhyArgs {
    /// The meeting's name
    meeting: String,
    /// Where the admin API of the edge listens
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    admin: String,
    /// Decisions about it to ask for, newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Print what the edge answers, JSON
    #[arg(long)]
    json: bool,
    /// Print all that the decision depended on, JSON, for `pinfold choose --state`
    #[arg(long, conflicts_with = "json")]
    state: bool,
}

/// Asks the edge and prints its reasons.
pub(super) fn run(args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    super::print(runtime.block_on(answer(args))?)
}

async fn answer(args: &WhyArgs) -> anyhow::Result<String> {
    let WhyArgs { meeting, admin, limit, .. } = args;
    let failed = || format!("no decision from {admin}");
    let name = utf8_percent_encode(meeting.trim(), NON_ALPHANUMERIC);
    let path = format!("/api/v1/decisions?meeting={name}&limit={limit}");
    let rows: DecisionRows = fetch_json(admin, &path).await.with_context(failed)?;
    let Some(row) = standing(&rows.decisions) else {
        bail!("nothing is known of {meeting:?}: {}", absence(args).await.with_context(failed)?);
    };
    if args.state {
        let path = format!("/api/v1/decisions/{}/state", row.id);
        return Ok(fetch_text(admin, &path).await.with_context(failed)? + "\n");
    }
    if args.json {
        return Ok(serde_json::to_string_pretty(&rows)? + "\n");
    }
    let others: Vec<_> = rows.decisions.iter().filter(|other| other.id != row.id).collect();
    Ok(explain::text(&row.decision, facts(row)) + &in_short(&others))
}

/// The last decision that pinned the meeting, else the last one.
fn standing(rows: &[DecisionRow]) -> Option<&DecisionRow> {
    rows.iter().find(|row| row.epoch.is_some()).or(rows.first())
}

/// Why there is no decision about the meeting.
async fn absence(args: &WhyArgs) -> Result<String, FetchError> {
    let name = utf8_percent_encode(args.meeting.trim(), NON_ALPHANUMERIC);
    let row = fetch_json::<MeetingRow>(&args.admin, &format!("/api/v1/meetings/{name}")).await;
    match row {
        Ok(row) => Ok(format!(
            "it is on {}, but was placed before this edge started, by another one, or longer ago \
             than decisions are kept (placement.decisions_max)",
            row.backend
        )),
        Err(FetchError::Status(404, _)) => {
            Ok("no such meeting, and no decision about one is kept".to_owned())
        }
        Err(error) => Err(error),
    }
}

fn facts(row: &DecisionRow) -> Facts {
    let DecisionRow { id, at_ms, took_us, .. } = row;
    let mut facts = vec![
        fact("meeting", row.meeting.as_deref().unwrap_or("without a name")),
        fact("backend", explain::outcome(&row.decision)),
        fact("pinned", pinned(row)),
        fact("decision", format!("{id}, {} UTC, in {took_us} us", when::utc(*at_ms))),
        fact("because", explain::cause(row.cause)),
    ];
    if let Some(session) = &row.session {
        facts.push(fact("session", format!("{session}…")));
    }
    let (legs, source) = (row.decision.reserve, explain::source(row.reserve_from));
    facts.push(fact("reserve", format!("{legs} legs, {source}")));
    if let Some(place) = row.place {
        facts.push(fact("place", format!("{}, {}", place.latitude, place.longitude)));
    }
    if !row.demands.is_empty() {
        facts.push(fact("labels", row.demands.to_string()));
    }
    facts
}

fn pinned(row: &DecisionRow) -> String {
    match row.epoch {
        Some(epoch) => format!("yes, epoch {epoch}"),
        None if row.decision.chosen.is_some() => {
            "no: another client was faster, or the pin store did not answer".to_owned()
        }
        None => "no".to_owned(),
    }
}

/// The other decisions about the meeting, a line each; nothing if there are none.
fn in_short(others: &[&DecisionRow]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let line = |row: &&DecisionRow| {
        let pinned = row.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
        let when = format!("{} UTC", when::utc(row.at_ms));
        [row.id.to_string(), when, pinned, explain::outcome(&row.decision)]
    };
    let mut lines = vec![["other", "when", "epoch", "backend"].map(str::to_owned)];
    lines.extend(others.iter().map(line));
    format!("\n{}", aligned(&lines, 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BackendId, Labels, Legs};
    use crate::policy::choose::{NoBackend, Profile, Request, Rules, Scene, Stand, Standing};
    use crate::policy::decisions::Cause;
    use crate::policy::load::Load;
    use crate::policy::promise::Source;

    fn row(id: u64, epoch: Option<u64>, legs: u32) -> DecisionRow {
        let profile = Profile::new(BackendId::parse("kms-a").unwrap());
        let load = Load::of_legs(Legs(legs), Legs(400));
        let backends = vec![Stand { profile, standing: Standing::Open, load }];
        let (reserve, demands) = (Legs(4), Labels::default());
        let request = Request { key: 1, place: None, reserve, demands, turn: 1 };
        let scene = Scene { config: 1, request, rules: Rules::default(), backends };
        DecisionRow {
            id,
            at_ms: 1_700_000_000_123,
            took_us: 12,
            meeting: Some("standup".to_owned()),
            session: Some("42f11eab".to_owned()),
            cause: Cause::New,
            epoch,
            reserve_from: Source::Default,
            place: None,
            demands: Labels::default(),
            decision: scene.decide(),
        }
    }

    #[test]
    fn the_decision_that_pinned_the_meeting_is_told() {
        let rows = [row(3, None, 400), row(2, Some(7), 0), row(1, Some(5), 0)];
        assert_eq!(rows[0].decision.refused, Some(NoBackend::AllFull));
        assert_eq!(standing(&rows).unwrap().id, 2);
        assert_eq!(standing(&rows[..1]).unwrap().id, 3);
        assert!(standing(&[]).is_none());
    }

    #[test]
    fn a_decision_reads_like_an_answer() {
        let (row, other) = (row(2, Some(7), 0), row(1, None, 400));
        let told = explain::text(&row.decision, facts(&row)) + &in_short(&[&other]);
        let expected = "\
meeting   standup
backend   kms-a
pinned    yes, epoch 7
decision  2, 2023-11-14 22:13:20.123 UTC, in 12 us
because   the meeting had no pin
session   42f11eab…
reserve   4 legs, the default
strategy  score: distance, load and price in one number
place     not known: distance counts for nothing
drawn     kms-a by key 0000000000000001, alone in the band
left out  none, of 1
config    1

backend          cost  distance km  in use  load km  price km
kms-a    chosen     0            0     1 %        0         0

other  when                         epoch  backend
1      2023-11-14 22:13:20.123 UTC  -      none: all are full
";
        assert_eq!(told, expected);
    }
}
