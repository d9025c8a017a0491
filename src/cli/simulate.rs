//! `pinfold simulate`: the core in a made-up world, in virtual time.

mod placement;

use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{FAILURE, print};
use crate::simulate::{self, Broken, Run, Tally};

/// Runs parts of the edge in a made-up world, in virtual time; every run can be repeated.
#[derive(Debug, clap::Args)]
pub(super) struct SimulateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Sessions, pins, placement and health, with clients, backends and a network that fail
    Session(SessionArgs),
    /// How well each strategy places a day of meetings
    Placement(placement::PlacementArgs),
}

/// Clients, edges, backends and a network in virtual time, around the code that runs under sockets.
///
/// After every step the world is checked: a meeting has one backend, a call is answered exactly once,
/// nothing reaches a client that is not meant for it, nothing is overtaken, every table keeps its
/// bound, and with everyone gone nothing is left. The first seed that breaks a rule is printed with
/// the command that shows its trace; exit status 1.
#[derive(Debug, clap::Args)]
struct SessionArgs {
    /// Seeds to run, the last excluded; or a single seed
    #[arg(long, value_name = "A..B", default_value = "0..256", value_parser = seeds)]
    seeds: Range<u64>,
    /// Steps of each run, before everybody leaves
    #[arg(long, value_name = "N", default_value_t = 3_000,
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    steps: u64,
    /// Print what happens, one line a step or message
    #[arg(long)]
    trace: bool,
}

/// `A..B` or `A`.
fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
    match text.split_once("..") {
        Some((first, end)) => {
            let (first, end) = (number(first)?, number(end)?);
            if first < end { Ok(first..end) } else { Err(format!("{text} is an empty range")) }
        }
        None => number(text).and_then(|seed| {
            let end = seed.checked_add(1).ok_or("that seed is too large")?;
            Ok(seed..end)
        }),
    }
}

pub(super) fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::Session(args) => sessions(args),
        What::Placement(args) => placement::run(args),
    }
}

fn sessions(args: &SessionArgs) -> anyhow::Result<ExitCode> {
    let workers = thread::available_parallelism().map_or(1, usize::from) as u64;
    let next = AtomicU64::new(args.seeds.start);
    let all = thread::scope(|scope| {
        let share = |_| scope.spawn(|| sweep(args, &next));
        let shares: Vec<_> = (0..workers).map(share).collect();
        let join =
            |share: thread::ScopedJoinHandle<'_, _>| share.join().expect("runs do not panic");
        shares.into_iter().map(join).collect::<Vec<Result<Tally, Broken>>>()
    });
    let broken = all.iter().filter_map(|share| share.as_ref().err()).min_by_key(|b| b.seed);
    if let Some(broken) = broken {
        print(lines(&broken.trace))?;
        let (seed, steps) = (broken.seed, args.steps);
        let again = format!("pinfold simulate session --seeds {seed} --steps {steps} --trace");
        writeln!(io::stderr(), "{broken}\nsee it with: {again}")?;
        return Ok(ExitCode::from(FAILURE));
    }
    let tally = all.into_iter().flatten().fold(Tally::default(), Tally::and);
    let count = args.seeds.end - args.seeds.start;
    print(format!("{count} seed(s), nothing broken: {tally}\n"))
}

fn lines(trace: &[String]) -> String {
    trace.iter().flat_map(|line| [line, "\n"]).collect()
}

/// Runs seeds that nobody has run yet, until there are none or one breaks. That ends it for all, and
/// the first to break is among those under way.
fn sweep(args: &SessionArgs, next: &AtomicU64) -> Result<Tally, Broken> {
    let mut tally = Tally::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if !args.seeds.contains(&seed) {
            return Ok(tally);
        }
        let run = Run { seed, steps: args.steps, bug: None, is_traced: args.trace };
        let done = simulate::session(&run)
            .inspect_err(|_| next.store(args.seeds.end, Ordering::Relaxed))?;
        tally = tally.and(done.tally);
        let _ = write!(io::stdout(), "{}", lines(&done.trace)); // nobody left to tell
        if io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\rseed {seed} ");
        }
    }
}
