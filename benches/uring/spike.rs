//! The rounds and the table.

mod args;
mod buffers;
mod cpu;
mod load;
mod outgoing;
mod over_epoll;
mod over_tokio;
mod over_uring;
mod pair;

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;

use args::Args;
use load::{Load, Text};

/// How long a load runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(200);

/// The two sockets between which messages are forwarded: the client's and the backend's.
type Streams = [TcpStream; 2];

/// How the forwarder reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A task for each pair on a current-thread runtime, as in the edge.
    Tokio,
    /// A loop over epoll without a runtime: what of the gain is not the ring's.
    Epoll,
    /// One ring: multishot receives into buffers it picks, sends submitted together.
    Uring,
    /// The same ring in a tokio runtime, which waits for it with epoll: as the edge would have it.
    UringInTokio,
}

impl Form {
    const ALL: [Self; 4] = [Self::Tokio, Self::Epoll, Self::Uring, Self::UringInTokio];

    /// Forwards until every pair has lost an end.
    fn forward(self, pairs: Vec<Streams>) -> anyhow::Result<()> {
        match self {
            Self::Tokio => over_tokio::forward(pairs),
            Self::Epoll => over_epoll::forward(pairs),
            Self::Uring => over_uring::forward(pairs),
            Self::UringInTokio => over_uring::forward_in_tokio(pairs),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Epoll => "epoll",
            Self::Uring => "io_uring",
            Self::UringInTokio => "io_uring in tokio",
        }
    }
}

/// Microseconds of processor time a message, in the order of [`Form::ALL`].
type Costs = [f64; Form::ALL.len()];

/// What is measured.
struct Case {
    name: &'static str,
    text: Text,
    connections: usize,
}

const CASES: [Case; 4] = [
    Case { name: "441 B, 64 connections", text: Text::Candidate, connections: 64 },
    Case { name: "441 B, 8 connections", text: Text::Candidate, connections: 8 },
    Case { name: "4 kB, 64 connections", text: Text::Offer, connections: 64 },
    Case { name: "441 B, 1 connection", text: Text::Candidate, connections: 1 },
];

/// Measures all cases and prints what came out.
///
/// # Errors
/// There is more than one processor, the kernel gives no ring, or a reply was wrong.
pub(crate) fn run() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(thread::available_parallelism()?.get() == 1, "run it on one: taskset -c 1 …");
    println!("Medians (least..greatest) of {} rounds; ratios are of the same round\n", args.rounds);
    println!("| messages | over | CPU a message, µs | to tokio | to epoll |");
    println!("|---|---|---|---|---|");
    for case in &CASES {
        let mut rounds = Vec::new();
        for round in 0..args.rounds {
            rounds.push(measure_round(case, round, args.length())?);
        }
        print_rows(case, &rounds);
    }
    Ok(())
}

/// Each form in turn, the first another one from round to round.
fn measure_round(case: &Case, round: u8, length: Duration) -> anyhow::Result<Costs> {
    let mut costs = [0.0; Form::ALL.len()];
    for turn in 0..Form::ALL.len() {
        let index = (usize::from(round) + turn) % Form::ALL.len();
        let form = Form::ALL[index];
        costs[index] = measure(form, case, length).with_context(|| format!("{form:?}"))?;
    }
    Ok(costs)
}

/// Microseconds of processor time that `form` takes for one message.
fn measure(form: Form, case: &Case, length: Duration) -> anyhow::Result<f64> {
    let (mut load, pairs) = Load::connect(case.text, case.connections)?;
    let forwarder = thread::Builder::new().name("forwarder".to_owned());
    let forwarder = forwarder.spawn(move || form.forward(pairs))?;
    let measured = (|| {
        load.run(WARM_UP)?;
        let (nanos, messages) = (cpu::others_nanos()?, load.message_count());
        load.run(length)?;
        let nanos = cpu::others_nanos()? - nanos;
        anyhow::Ok(nanos as f64 / 1e3 / (load.message_count() - messages) as f64)
    })();
    drop(load);
    // If it failed, that is why the load did.
    forwarder.join().ok().context("the forwarder panicked")??;
    measured
}

fn print_rows(case: &Case, rounds: &[Costs]) {
    for form in Form::ALL {
        let cost = Spread::of(rounds.iter().map(|costs| costs[form as usize]).collect());
        let ratio = |to: Form| {
            let ratios = rounds.iter().map(|costs| costs[form as usize] / costs[to as usize]);
            Spread::of(ratios.collect()).text(2)
        };
        let (name, cost) = (form.name(), cost.text(2));
        let (to_tokio, to_epoll) = (ratio(Form::Tokio), ratio(Form::Epoll));
        println!("| {} | {name} | {cost} | {to_tokio} | {to_epoll} |", case.name);
    }
}

/// Measured values in order, one at least.
struct Spread(Vec<f64>);

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    fn text(&self, digits: usize) -> String {
        let values = &self.0;
        let (median, least, most) = (values[values.len() / 2], values[0], values[values.len() - 1]);
        format!("{median:.digits$} ({least:.digits$}..{most:.digits$})")
    }
}
