//! The `pinfold` command: arguments to calls into the library, one file per subcommand.

mod backend;
mod bench;
mod check;
mod choose;
mod demo;
mod drain;
mod echo;
mod explain;
mod kms_sim;
mod reload;
mod serve;
mod simulate;
mod soak;
mod status;
pub mod table;
mod when;
mod why;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Exit status of a command that was understood and failed; one that was not understood ends in 2.
const FAILURE: u8 = 1;

#[derive(Debug, Parser)]
#[command(name = "pinfold", version, about, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the edge
    Serve(serve::ServeArgs),
    /// Show a whole fleet at work in one process: simulated servers, the edge, and meetings
    Demo(demo::DemoArgs),
    /// Run simulated Kurento Media Servers
    KmsSim(Box<kms_sim::KmsSimArgs>),
    /// Try the core in a made-up world, in virtual time
    Simulate(simulate::SimulateArgs),
    /// Measure an edge, or any proxy before the same backend
    Bench(Box<bench::BenchArgs>),
    /// Show that no call and no meeting is lost while servers die
    Soak(soak::SoakArgs),
    /// Check a config file and print every mistake in it
    Check(check::CheckArgs),
    /// Have a running edge read its config file again
    Reload(reload::ReloadArgs),
    /// Show the backends of a running edge
    Status(status::StatusArgs),
    /// Give a backend no new meetings, and move those that are left when a deadline is over
    Drain(drain::DrainArgs),
    /// Give a drained backend meetings again
    Undrain(drain::UndrainArgs),
    /// Add a backend to a running edge, or remove one that was added
    Backend(backend::BackendArgs),
    /// Tell why a meeting is where it is
    Why(why::WhyArgs),
    /// Tell where a meeting would go, by the state of a running edge or one that was saved
    Choose(choose::ChooseArgs),
    // Hidden: for whoever tests the framing, not for operators.
    #[command(hide = true)]
    Echo(echo::EchoArgs),
    /// Print a script that completes this command's arguments in a shell
    Completions {
        /// The shell to complete in
        shell: Shell,
    },
    /// Print the manual page, in troff, of this command and each subcommand
    Man,
}

/// Runs the command that the arguments of the process ask for.
#[must_use]
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::KmsSim(args) => kms_sim::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Bench(args) => bench::run(*args),
        Command::Soak(args) => soak::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Undrain(args) => drain::undo(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Backend(args) => backend::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Choose(args) => choose::run(&args),
        Command::Echo(args) => echo::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Completions { shell } => print(completions(shell)),
        Command::Man => man().and_then(print),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "pinfold: {error:#}"); // nobody left to tell
        ExitCode::from(FAILURE)
    })
}

/// Writes `text` to standard output; that the reader had enough is no failure.
fn print(text: impl AsRef<[u8]>) -> anyhow::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pinfold", &mut script);
    script
}

/// The page of the command, then those of its subcommands.
fn man() -> anyhow::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut pages = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut pages)?;
    let is_shown =
        |command: &&clap::Command| command.get_name() != "help" && !command.is_hide_set();
    for subcommand in command.get_subcommands().filter(is_shown) {
        clap_mangen::Man::new(subcommand.clone()).render(&mut pages)?;
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn completions_and_manual_know_the_subcommands() {
        let script = String::from_utf8(completions(Shell::Bash)).unwrap();
        let manual = String::from_utf8(man().unwrap()).unwrap();
        for text in [script, manual] {
            assert!(text.contains("check") && text.contains("config"), "{text}");
        }
    }
}
