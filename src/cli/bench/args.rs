//! The arguments of `pinfold bench`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::admin::client::DEFAULT_URL;
use crate::bench::{
    BackendSettings, BenchError, CONNECTIONS_MAX, Clients, EVENTS_MAX, EventsSettings,
    FirstMessage, IdleSettings, LatencySettings, Mix, PER_SECOND_MAX, RateSettings, Report,
    RoutingSettings, StormSettings, THREADS_MAX, TlsSettings, Trust,
};
use crate::runtime::random;

/// Longest time that is measured, in seconds: an hour.
const SECONDS_MAX: f64 = 3_600.0;

/// Measure an edge, or any proxy before the same backend
///
/// Start `pinfold bench backend`, let what is measured pass to it, and run one of the others against
/// that. Every reply is checked: right id, once, from the one backend of its meeting. After a wrong one
/// the figures count for nothing, and the exit status is 1.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BenchArgs {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, clap::Subcommand)]
enum Mode {
    /// Play a backend that costs little; prints its address, ends on SIGTERM or SIGINT
    Backend(BackendArgs),
    /// Closed loop: every client calls again as soon as it has its reply
    Latency(LatencyArgs),
    /// Open loop: calls at a fixed rate; latency counts from when each was due
    Rate(RateArgs),
    /// All connect at once: from TCP to the reply to the first message
    Storm(StormArgs),
    /// One call makes events for all of its meeting, round after round
    Events(EventsArgs),
    /// Connect, stay silent, and see what that costs in memory (--pid)
    Idle(IdleArgs),
    /// TLS connections one after another: full handshakes, then resumed ones
    Tls(TlsArgs),
    /// What routing takes inside an edge, by kind, as its metrics tell
    Routing(RoutingArgs),
}

/// A measurement that is ready to be made.
pub(super) type Measuring = Box<dyn FnOnce() -> Result<Report, BenchError>>;

/// What to do.
pub(super) enum Run {
    Backend(BackendArgs),
    /// Measure, one report after the other.
    Measure(Vec<Measuring>, Output),
}

#[derive(Debug, clap::Args)]
pub(super) struct BackendArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(super) listen: SocketAddr,
    /// Its name, which every reply tells; two backends of a fleet must have two
    #[arg(long, value_name = "NAME", default_value = "bench", value_parser = name)]
    name: String,
    /// Threads that answer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads)]
    threads: usize,
}

impl BackendArgs {
    pub(super) fn settings(&self) -> BackendSettings {
        BackendSettings { name: self.name.clone(), threads: self.threads, seed: random::seed() }
    }
}

/// How the report is printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Output {
    /// Print one line of JSON for each report instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
struct ClientArgs {
    /// Where the clients connect: ws:// or wss://; each adds its meeting to the query
    #[arg(long, value_name = "URL")]
    url: String,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = connections)]
    connections: usize,
    /// Connections that share a meeting
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = connections)]
    meeting_size: usize,
    /// Threads of the clients
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = threads)]
    threads: usize,
    /// For wss://: PEM file of the certificates to trust
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// For wss://: trust any certificate
    #[arg(long)]
    insecure: bool,
    /// Process whose processor time and memory are reported; may be given several times
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
    #[command(flatten)]
    output: Output,
}

impl ClientArgs {
    fn clients(&self) -> Clients {
        let trust = match (&self.ca, self.insecure) {
            (Some(path), _) => Trust::Ca(path.clone()),
            (None, true) => Trust::Anybody,
            (None, false) => Trust::Nobody,
        };
        Clients {
            url: self.url.clone(),
            connections: self.connections,
            meeting_size: self.meeting_size,
            threads: self.threads,
            trust,
            pids: self.pids.clone(),
        }
    }
}

/// How long is measured.
#[derive(Debug, clap::Args)]
struct TimeArgs {
    /// Time that is measured, like 5s or 500ms
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = time)]
    time: Duration,
}

#[derive(Debug, clap::Args)]
struct WarmUpArgs {
    /// Time before the measurement, which does not count
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    warm_up: Duration,
}

#[derive(Debug, clap::Args)]
struct LoadArgs {
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    warm_up: WarmUpArgs,
    /// What is sent
    #[arg(long, value_enum, default_value_t = Mix::Candidate)]
    mix: Mix,
}

#[derive(Debug, clap::Args)]
struct LatencyArgs {
    #[command(flatten)]
    clients: ClientArgs,
    #[command(flatten)]
    load: LoadArgs,
}

impl LatencyArgs {
    fn settings(&self) -> LatencySettings {
        LatencySettings {
            clients: self.clients.clients(),
            mix: self.load.mix,
            warm_up: self.load.warm_up.warm_up,
            time: self.load.time.time,
        }
    }
}

#[derive(Debug, clap::Args)]
struct RateArgs {
    /// Calls a second, of all clients together
    #[arg(long, value_name = "N", value_parser = per_second)]
    per_second: usize,
    #[command(flatten)]
    clients: ClientArgs,
    #[command(flatten)]
    load: LoadArgs,
}

impl RateArgs {
    fn settings(&self) -> RateSettings {
        RateSettings {
            clients: self.clients.clients(),
            mix: self.load.mix,
            per_second: self.per_second,
            warm_up: self.load.warm_up.warm_up,
            time: self.load.time.time,
        }
    }
}

/// What a client that only connects says.
#[derive(Debug, clap::Args)]
struct FirstArgs {
    /// What each says first
    #[arg(long, value_enum, default_value_t = FirstMessage::Create)]
    first: FirstMessage,
}

#[derive(Debug, clap::Args)]
struct StormArgs {
    #[command(flatten)]
    clients: ClientArgs,
    #[command(flatten)]
    first: FirstArgs,
}

#[derive(Debug, clap::Args)]
struct EventsArgs {
    #[command(flatten)]
    clients: ClientArgs,
    /// Events that one call makes for each client of the meeting
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = events)]
    per_call: usize,
    #[command(flatten)]
    warm_up: WarmUpArgs,
    #[command(flatten)]
    time: TimeArgs,
}

impl EventsArgs {
    fn settings(&self) -> EventsSettings {
        EventsSettings {
            clients: self.clients.clients(),
            per_call: self.per_call,
            warm_up: self.warm_up.warm_up,
            time: self.time.time,
        }
    }
}

#[derive(Debug, clap::Args)]
struct IdleArgs {
    #[command(flatten)]
    clients: ClientArgs,
    #[command(flatten)]
    first: FirstArgs,
    #[command(flatten)]
    time: TimeArgs,
}

#[derive(Debug, clap::Args)]
struct TlsArgs {
    #[command(flatten)]
    clients: ClientArgs,
    #[command(flatten)]
    time: TimeArgs,
}

#[derive(Debug, clap::Args)]
struct RoutingArgs {
    /// Where the admin API of the edge listens
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    admin: String,
    #[command(flatten)]
    latency: LatencyArgs,
}

impl BenchArgs {
    /// What the arguments ask for.
    pub(super) fn into_run(self) -> Run {
        let one = |run: Measuring, output| Run::Measure(vec![run], output);
        match self.mode {
            Mode::Backend(args) => Run::Backend(args),
            Mode::Latency(args) => {
                let settings = args.settings();
                one(Box::new(move || settings.run()), args.clients.output)
            }
            Mode::Rate(args) => {
                let settings = args.settings();
                one(Box::new(move || settings.run()), args.clients.output)
            }
            Mode::Storm(args) => {
                let clients = args.clients.clients();
                let settings = StormSettings { clients, first: args.first.first };
                one(Box::new(move || settings.run()), args.clients.output)
            }
            Mode::Events(args) => {
                let settings = args.settings();
                one(Box::new(move || settings.run()), args.clients.output)
            }
            Mode::Idle(args) => {
                let (clients, first) = (args.clients.clients(), args.first.first);
                let settings = IdleSettings { clients, first, time: args.time.time };
                one(Box::new(move || settings.run()), args.clients.output)
            }
            Mode::Tls(args) => {
                let tls = |resumes| -> Measuring {
                    let clients = args.clients.clients();
                    let settings = TlsSettings { clients, resumes, time: args.time.time };
                    Box::new(move || settings.run())
                };
                Run::Measure(vec![tls(false), tls(true)], args.clients.output)
            }
            Mode::Routing(args) => {
                let settings = RoutingSettings { load: args.latency.settings(), admin: args.admin };
                one(Box::new(move || settings.run()), args.latency.clients.output)
            }
        }
    }
}

/// A name that can stand in JSON and before a space.
fn name(text: &str) -> Result<String, String> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = (1..=64).contains(&text.len()) && text.chars().all(is_valid);
    is_name.then(|| text.to_owned()).ok_or("expected up to 64 of a-z, A-Z, 0-9, - _ .".to_owned())
}

fn connections(text: &str) -> Result<usize, String> {
    number(text, CONNECTIONS_MAX)
}

fn threads(text: &str) -> Result<usize, String> {
    number(text, THREADS_MAX)
}

fn per_second(text: &str) -> Result<usize, String> {
    number(text, PER_SECOND_MAX)
}

fn events(text: &str) -> Result<usize, String> {
    number(text, EVENTS_MAX)
}

fn number(text: &str, max: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("expected a whole number from 1 to {max}"))
}

/// A time like `5s`, `1.5s` or `500ms`.
fn time(text: &str) -> Result<Duration, String> {
    let seconds = match text.strip_suffix("ms") {
        Some(millis) => millis.parse::<f64>().map(|millis| millis / 1e3),
        None => text.strip_suffix('s').unwrap_or(text).parse(),
    };
    let seconds = seconds.ok().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    let seconds =
        seconds.ok_or(format!("expected a time like 5s or 500ms, up to {SECONDS_MAX}s"))?;
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn parse(line: &str) -> Result<BenchArgs, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.args)
    }

    #[test]
    fn every_option_of_a_run_sets_what_it_says() {
        let line = "latency --url ws://a/ --connections 9 --meeting-size 3 --threads 2 --ca c.pem \
                    --pid 7 --pid 8 --for 250ms --warm-up 2s --mix offer";
        let Mode::Latency(args) = parse(line).unwrap().mode else { panic!("latency") };
        let LatencySettings { clients, mix, warm_up, time } = args.settings();
        assert_eq!((mix, warm_up), (Mix::Offer, Duration::from_secs(2)));
        assert_eq!(time, Duration::from_millis(250));
        assert_eq!((clients.url.as_str(), clients.connections), ("ws://a/", 9));
        assert_eq!((clients.meeting_size, clients.threads, clients.pids), (3, 2, vec![7, 8]));
        assert_eq!(clients.trust, Trust::Ca("c.pem".into()));
        let line = "rate --url wss://a/ --per-second 70 --insecure --mix mixed";
        let Mode::Rate(args) = parse(line).unwrap().mode else { panic!("rate") };
        let settings = args.settings();
        assert_eq!((settings.per_second, settings.mix), (70, Mix::Mixed));
        assert_eq!(settings.clients.trust, Trust::Anybody);
        let Mode::Events(args) = parse("events --url ws://a/ --per-call 5").unwrap().mode else {
            panic!("events")
        };
        assert_eq!(args.settings().per_call, 5);
    }

    #[test]
    fn a_tls_run_is_two_measurements() {
        let Run::Measure(runs, output) = parse("tls --url wss://a/ --json").unwrap().into_run()
        else {
            panic!("a measurement")
        };
        assert_eq!((runs.len(), output.json), (2, true));
    }

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, expected) in [("5s", 5_000), ("1.5s", 1_500), ("500ms", 500), ("2", 2_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["", "s", "-1s", "2h", "3601s", "NaN", "inf"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "latency",
            "latency --url ws://a/ --threads 65",
            "latency --url ws://a/ --per-second 5",
            "rate --url ws://a/ --per-second 0",
            "events --url ws://a/ --per-call 100001",
            "latency --url wss://a/ --ca c --insecure",
            "storm --url ws://a/ --for 5s",
            "backend --threads 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
