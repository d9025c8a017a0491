//! `pinfold choose`: a decision made again, or one that was not made yet.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, ensure};
use geoip::{Database, Place};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::runtime;

use crate::admin::MeetingRow;
use crate::admin::client::{DEFAULT_URL, FetchError, fetch_json};
use crate::model::{Labels, Legs, MeetingName};
use crate::policy::choose::{Scene, key_of};

use super::explain::{self, Facts, fact};

/// Longest state that is read, in bytes; a longer one is an error. So long is that of some 30,000
/// backends.
const STATE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Arguments of `pinfold choose`.
#[derive(Debug, clap::Args)]
pub(super) struct ChooseArgs {
    /// File with a saved state, `-` for standard input; see `pinfold why --state`
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    state: Option<PathBuf>,
    /// Where the admin API of the edge listens whose present state counts if there is no file
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    admin: String,
    /// The meeting's name; if it is left out, the one of the saved state
    #[arg(long, value_name = "NAME", required_unless_present = "state")]
    meeting: Option<String>,
    /// Where its people are: an address, looked up in the built-in database, or degrees
    #[arg(long, value_name = "ADDR|LAT,LON", allow_hyphen_values = true)]
    from: Option<Whence>,
    /// Legs that it is promised
    #[arg(long, value_name = "N")]
    reserve_legs: Option<u32>,
    /// A label that its backend must have, in place of those of the state; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    require: Vec<String>,
    /// Print the decision as JSON
    #[arg(long)]
    json: bool,
}

/// Where people are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whence {
    Addr(IpAddr),
    Place(Place),
}

impl FromStr for Whence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(addr) = text.parse() {
            return Ok(Self::Addr(addr));
        }
        let degrees = text.split_once(',').and_then(|(latitude, longitude)| {
            let (latitude, longitude) = (latitude.trim().parse(), longitude.trim().parse());
            Place::from_degrees(latitude.ok()?, longitude.ok()?)
        });
        let expected = "expected an IP address, or degrees north and east like 48.86,2.35";
        degrees.map(Self::Place).ok_or_else(|| expected.to_owned())
    }
}

impl Whence {
    fn place(self) -> anyhow::Result<Place> {
        match self {
            Self::Place(place) => Ok(place),
            Self::Addr(addr) => Database::builtin().place(addr).with_context(|| {
                format!("the built-in database knows no place of {addr}; give degrees instead")
            }),
        }
    }
}

/// Makes the decision and prints it.
pub(super) fn run(args: &ChooseArgs) -> anyhow::Result<ExitCode> {
    let (mut scene, note) = match &args.state {
        Some(path) => {
            (read(path).with_context(|| format!("no state in {}", path.display()))?, None)
        }
        None => ask(args).with_context(|| format!("no state from {}", args.admin))?,
    };
    let facts = change(&mut scene, args)?;
    let decision = scene.decide();
    if args.json {
        return super::print(serde_json::to_string_pretty(&decision)? + "\n");
    }
    let mut before = vec![fact("backend", explain::outcome(&decision))];
    before.extend(note.map(|note| fact("but", note)));
    before.extend(facts);
    super::print(explain::text(&decision, before))
}

fn read(path: &Path) -> anyhow::Result<Scene> {
    let is_stdin = path.as_os_str() == "-";
    let source: Box<dyn Read> =
        if is_stdin { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    let mut text = Vec::new();
    source.take(STATE_MAX_BYTES + 1).read_to_end(&mut text)?;
    ensure!(text.len() as u64 <= STATE_MAX_BYTES, "more than {STATE_MAX_BYTES} bytes");
    parse(&text)
}

/// Reads a state, which may have been written by hand.
fn parse(text: &[u8]) -> anyhow::Result<Scene> {
    let scene: Scene = serde_json::from_slice(text)?;
    ensure!(scene.rules.band_km >= 0.0, "rules.band_km is negative");
    Ok(scene)
}

/// The present state of a running edge, and what stands against it.
fn ask(args: &ChooseArgs) -> anyhow::Result<(Scene, Option<String>)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let name = args.meeting.as_deref().unwrap_or_default().trim();
    let path = format!("/api/v1/meetings/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
    runtime.block_on(async {
        let scene = fetch_json(&args.admin, "/api/v1/state").await?;
        let note = match fetch_json::<MeetingRow>(&args.admin, &path).await {
            Ok(row) => Some(format!("the meeting is on {}: whoever joins goes there", row.backend)),
            Err(FetchError::Status(404, _)) => None,
            Err(error) => return Err(error.into()),
        };
        Ok((scene, note))
    })
}

/// Puts into `scene` what the arguments say; returns what people are to be told of it.
fn change(scene: &mut Scene, args: &ChooseArgs) -> anyhow::Result<Facts> {
    let request = &mut scene.request;
    let mut facts = Facts::new();
    if let Some(meeting) = &args.meeting {
        let meeting = MeetingName::parse(meeting).context("the meeting's name")?;
        request.key = key_of(meeting.as_str());
        facts.push(fact("meeting", meeting.as_str()));
    }
    if let Some(from) = args.from {
        request.place = Some(from.place()?);
    }
    if let Some(legs) = args.reserve_legs {
        request.reserve = Legs(legs);
    }
    if !args.require.is_empty() {
        request.demands = Labels::parse(&args.require)?;
    }
    facts.push(fact("reserve", format!("{} legs", request.reserve)));
    if let Some(place) = request.place {
        let told = format!("{:.1}, {:.1}", place.latitude(), place.longitude());
        facts.push(fact("place", told));
    }
    if !request.demands.is_empty() {
        facts.push(fact("labels", request.demands.to_string()));
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_at_an_address_or_a_place() {
        assert_eq!("192.0.2.7".parse(), Ok(Whence::Addr("192.0.2.7".parse().unwrap())));
        assert_eq!("2001:db8::7".parse(), Ok(Whence::Addr("2001:db8::7".parse().unwrap())));
        let sydney = Place::from_degrees(-33.9, 151.2).unwrap();
        assert_eq!("-33.9, 151.2".parse(), Ok(Whence::Place(sydney)));
        for text in ["", "192.0.2", "1", "91,0", "0,181", "a,b", "1,2,3", "NaN,0"] {
            assert!(text.parse::<Whence>().is_err(), "{text}");
        }
        assert!(Whence::Addr("127.0.0.1".parse().unwrap()).place().is_err());
        let google = Whence::Addr("8.8.8.8".parse().unwrap()).place().unwrap();
        assert!((15.0..75.0).contains(&google.latitude()), "{google:?}");
    }

    #[test]
    fn a_state_written_by_hand_may_be_wrong() {
        for text in ["", "{}", "[]", "{\"config\":1,\"request\":{},\"rules\":{},\"backends\":[]}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
