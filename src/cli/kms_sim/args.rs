//! The options of `pinfold kms-sim`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, value_parser};

use crate::kms_sim::StartFaults;
use crate::sim::kms::{CpuWeights, Faults, KmsSettings, Limits, LoadModel, MemoryWeights};

/// Runs simulated Kurento Media Servers that a real client library cannot tell from real ones.
///
/// They speak the protocol at path `/kurento` but move no media. When all listen there is one line
/// for each, `kms-sim NAME listening on ws://IP:PORT/kurento`. They end on SIGTERM or SIGINT, as a
/// KMS does: connections are cut, the exit status is 0. The frame that kills a real one, `connect`
/// to a sink that is no element, kills the only one with exit status 134; of several only the one
/// that got it, whose address then refuses connections.
#[derive(Debug, clap::Args)]
#[command(after_help = CONTROL_HELP)]
pub(in crate::cli) struct KmsSimArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(super) listen: SocketAddr,
    /// Servers to play, on consecutive ports from that of --listen, or on free ones if it is 0
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=4096))]
    pub(super) count: u16,
    /// Name in the line that tells the address; of several, NAME-1, NAME-2 and so on
    #[arg(long, value_name = "NAME", default_value = "kms", value_parser = name)]
    pub(super) name: String,
    /// Decides every id, so that a run can be repeated; drawn at random if left out
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Address of the HTTP API that does harm at run time, see below; off if left out
    #[arg(long, value_name = "ADDR")]
    pub(super) control: Option<SocketAddr>,
    /// Allow --control on another address than loopback; it asks for no password
    #[arg(long, requires = "control")]
    pub(super) control_allow_public: bool,
    /// Registrar that each server tells its address over WebSocket, again after each loss
    #[arg(long, value_name = "ws://HOST[:PORT]/PATH", value_parser = registrar_url)]
    pub(super) registrar: Option<String>,
    /// Host to tell the registrar; the address listened on if left out
    #[arg(long, value_name = "HOST", requires = "registrar")]
    pub(super) registrar_local_address: Option<String>,
    #[command(flatten)]
    behaviour: BehaviourArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pub(super) faults: FaultArgs,
}

const CONTROL_HELP: &str = "\
Control API (--control ADDR): GET /servers lists the servers; POST /servers/NAME/FAULT answers with \
what the server then is:
  crash                        connections are cut, new ones refused, until `restart`
  freeze                       as if stopped: TCP connects, nothing is answered
  thaw                         a frozen or hung server goes on, and does all that waited
  slow?factor=F                every call takes F times as long; 1 is as usual
  full[?on=false]              `create` is refused with 40009
  hang?after=N                 freezes when N further requests are answered
  cut-links                    connections are cut; sessions and objects live on
  refuse-handshakes[?on=false] new connections get HTTP 503
  restart                      a new process at the same address: new serverId, nothing in it
Example: curl -X POST 'http://127.0.0.1:9000/servers/kms/slow?factor=10'";

/// How the servers behave.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Behaviour")]
struct BehaviourArgs {
    /// Seconds between two collections of sessions that nobody uses
    #[arg(long, value_name = "SECONDS", default_value_t = 240,
          value_parser = value_parser!(u64).range(1..=86_400))]
    gc_period: u64,
    /// Milliseconds that every answer takes longer, as by a long way
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = value_parser!(u64).range(0..=60_000))]
    latency_ms: u64,
    /// Calls take the time they take on a real server, longer under load; false: none at all
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    timed: bool,
    /// Let small messages wait until those before are acknowledged, as a real KMS does: Nagle's
    /// algorithm
    #[arg(long)]
    nagle: bool,
    /// Acts as if the far side of every WebRTC endpoint sent audio and video once it is connected
    #[arg(long)]
    media: bool,
    /// The frame that kills a real server kills this one; false: it gets an error
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    dies: bool,
    /// Answers are kept for 20 s and given again to requests with the same id
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    answer_cache: bool,
    /// Percent of the events of a connection's first request that are lost
    #[arg(long, value_name = "PERCENT", default_value_t = 11, value_parser = percent)]
    first_events_lost: usize,
    /// IP address in candidates and session descriptions
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    media_address: std::net::IpAddr,
}

/// What a server can take.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Processors of each server
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..=1024))]
    cpus: u32,
    /// Threads that work on calls; when all are busy, nothing is answered
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u16).range(1..=1024))]
    io_threads: u16,
    /// WebRTC and RTP endpoints at most; further ones are refused with 40009. No real server has it
    #[arg(long, value_name = "N")]
    capacity: Option<usize>,
    /// Open files of the process (its limit "nofile"); `create` is refused above 80 %
    #[arg(long, value_name = "N")]
    files_max: Option<usize>,
    /// Threads of the process (its limit "nproc"); `create` is refused above 80 %
    #[arg(long, value_name = "N")]
    threads_max: Option<usize>,
    /// killLimit: an emptied server that uses more than this share of files or threads ends itself
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    kill_percent: Option<usize>,
}

/// What things cost: percent of one processor, kilobytes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Load model")]
struct LoadArgs {
    /// Percent of one processor: a negotiated endpoint
    #[arg(long, value_name = "PERCENT", default_value_t = CpuWeights::default().leg, value_parser = weight)]
    cpu_leg: f64,
    /// The same: a port of a mixer in use
    #[arg(long, value_name = "PERCENT", default_value_t = CpuWeights::default().mixer_port, value_parser = weight)]
    cpu_mixer_port: f64,
    /// The same: a recorder at work
    #[arg(long, value_name = "PERCENT", default_value_t = CpuWeights::default().recorder, value_parser = weight)]
    cpu_recorder: f64,
    /// The same: a player at work
    #[arg(long, value_name = "PERCENT", default_value_t = CpuWeights::default().player, value_parser = weight)]
    cpu_player: f64,
    /// The same: a picture that is decoded and encoded anew
    #[arg(long, value_name = "PERCENT", default_value_t = CpuWeights::default().transcoding, value_parser = weight)]
    cpu_transcoding: f64,
    /// Kilobytes of memory: the server itself
    #[arg(long, value_name = "KB", default_value_t = MemoryWeights::default().idle_kb)]
    memory_idle: usize,
    /// The same: an endpoint, before it is negotiated
    #[arg(long, value_name = "KB", default_value_t = MemoryWeights::default().endpoint_kb)]
    memory_endpoint: usize,
    /// The same: what a negotiated endpoint takes besides
    #[arg(long, value_name = "KB", default_value_t = MemoryWeights::default().negotiated_kb)]
    memory_negotiated: usize,
    /// The same: a port of a mixer
    #[arg(long, value_name = "KB", default_value_t = MemoryWeights::default().mixer_port_kb)]
    memory_mixer_port: usize,
    /// The same: a recorder
    #[arg(long, value_name = "KB", default_value_t = MemoryWeights::default().recorder_kb)]
    memory_recorder: usize,
}

/// What is wrong with every server from the start of each of its processes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Faults from the start, also after a restart")]
pub(super) struct FaultArgs {
    /// Every call takes this many times as long
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    slow: f64,
    /// `create` is refused with 40009
    #[arg(long)]
    full: bool,
    /// The server hangs when it has answered this many requests: TCP connects, no more; 0 is at once
    #[arg(long, value_name = "N")]
    hang_after: Option<u32>,
    /// New connections get HTTP 503
    #[arg(long)]
    refuse_handshakes: bool,
}

impl FaultArgs {
    /// What is wrong from the start.
    pub(super) const fn at_start(&self) -> StartFaults {
        let kms = Faults { slow: self.slow, is_full: self.full, hang_after: self.hang_after };
        StartFaults { kms, refuses_handshakes: self.refuse_handshakes }
    }
}

impl KmsSimArgs {
    /// The settings of every server, whose clocks start at `started_unix_millis`.
    pub(super) fn kms(&self, started_unix_millis: u64) -> KmsSettings {
        let behaviour = &self.behaviour;
        KmsSettings {
            started_unix_millis,
            gc_period: Duration::from_secs(behaviour.gc_period),
            cpu_count: self.limits.cpus,
            io_threads: self.limits.io_threads.into(),
            latency: Duration::from_millis(behaviour.latency_ms),
            media_address: behaviour.media_address.to_string(),
            peers_send_media: behaviour.media,
            uses_nagle: behaviour.nagle,
            dies: behaviour.dies,
            keeps_answers: behaviour.answer_cache,
            first_events_lost_percent: behaviour.first_events_lost,
            limits: Limits {
                files_max: self.limits.files_max,
                threads_max: self.limits.threads_max,
                endpoints_max: self.limits.capacity,
                kill_percent: self.limits.kill_percent,
            },
            load: self.load.model(behaviour.timed),
        }
    }
}

impl LoadArgs {
    fn model(&self, is_timed: bool) -> LoadModel {
        LoadModel {
            is_timed,
            cpu: CpuWeights {
                leg: self.cpu_leg,
                mixer_port: self.cpu_mixer_port,
                recorder: self.cpu_recorder,
                player: self.cpu_player,
                transcoding: self.cpu_transcoding,
            },
            memory: MemoryWeights {
                idle_kb: self.memory_idle,
                endpoint_kb: self.memory_endpoint,
                negotiated_kb: self.memory_negotiated,
                mixer_port_kb: self.memory_mixer_port,
                recorder_kb: self.memory_recorder,
                ..MemoryWeights::default()
            },
        }
    }
}

/// A name that can stand in a path of the control API.
fn name(text: &str) -> Result<String, String> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.chars().all(is_valid) {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits, '-', '_' and '.'".to_owned())
    }
}

fn registrar_url(text: &str) -> Result<String, String> {
    let uri: hyper::Uri = text.parse().map_err(|_| "expected ws://HOST[:PORT]/PATH".to_owned())?;
    if uri.scheme_str() == Some("ws") && uri.host().is_some_and(|host| !host.is_empty()) {
        Ok(text.to_owned())
    } else {
        Err("expected ws://HOST[:PORT]/PATH".to_owned())
    }
}

fn percent(text: &str) -> Result<usize, String> {
    let percent = text.parse().ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| "expected a whole number from 0 to 100".to_owned())
}

fn weight(text: &str) -> Result<f64, String> {
    number(text, 100_000.0)
}

fn factor(text: &str) -> Result<f64, String> {
    number(text, 1_000_000.0)
}

fn number(text: &str, max: f64) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=max).contains(number));
    number.ok_or_else(|| format!("expected a number from 0 to {max}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: KmsSimArgs,
    }

    fn parse(line: &str) -> Result<KmsSimArgs, String> {
        let words = std::iter::once("kms-sim").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.args)
    }

    #[test]
    fn without_options_it_is_a_kms_as_it_comes() {
        let args = parse("").unwrap();
        let timed = LoadModel { is_timed: true, ..LoadModel::default() };
        assert_eq!(args.kms(0), KmsSettings { load: timed, ..KmsSettings::default() });
        assert_eq!(args.faults.at_start(), StartFaults::default());
    }

    #[test]
    fn every_option_sets_what_it_says() {
        let args = parse(
            "--gc-period 9 --latency-ms 8 --timed false --nagle --media --dies false --answer-cache false
             --first-events-lost 7 --media-address 10.0.0.6 --cpus 5 --io-threads 4 --capacity 31
             --files-max 32 --threads-max 33 --kill-percent 34 --cpu-leg 41 --cpu-mixer-port 42
             --cpu-recorder 43 --cpu-player 44 --cpu-transcoding 45 --memory-idle 51
             --memory-endpoint 52 --memory-negotiated 53 --memory-mixer-port 54
             --memory-recorder 55",
        );
        let expected = KmsSettings {
            started_unix_millis: 3,
            gc_period: Duration::from_secs(9),
            cpu_count: 5,
            io_threads: 4,
            latency: Duration::from_millis(8),
            media_address: "10.0.0.6".to_owned(),
            peers_send_media: true,
            uses_nagle: true,
            dies: false,
            keeps_answers: false,
            first_events_lost_percent: 7,
            limits: Limits {
                files_max: Some(32),
                threads_max: Some(33),
                endpoints_max: Some(31),
                kill_percent: Some(34),
            },
            load: LoadModel {
                is_timed: false,
                cpu: CpuWeights {
                    leg: 41.0,
                    mixer_port: 42.0,
                    recorder: 43.0,
                    player: 44.0,
                    transcoding: 45.0,
                },
                memory: MemoryWeights {
                    idle_kb: 51,
                    endpoint_kb: 52,
                    negotiated_kb: 53,
                    mixer_port_kb: 54,
                    recorder_kb: 55,
                    ..MemoryWeights::default()
                },
            },
        };
        assert_eq!(args.unwrap().kms(3), expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--count 0",
            "--name a/b",
            "--slow -1",
            "--slow NaN",
            "--kill-percent 101",
            "--registrar http://a/",
            "--registrar ws://",
            "--registrar-local-address a",
            "--control-allow-public",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--registrar ws://a:1/b --registrar-local-address c").is_ok());
    }
}
