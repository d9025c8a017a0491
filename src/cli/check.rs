//! `pinfold check`: is this config file right, and what does it say?

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::settings::{self, Settings, SettingsError};

/// Arguments of `pinfold check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// The config file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Print the effective settings, every key with its value, as a config file
    #[arg(long)]
    dump: bool,
}

/// Prints what there is to say about the file; fails if that is a mistake.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    match settings::read(&args.config) {
        Ok(settings) if args.dump => super::print(settings::dump(&settings)),
        Ok(settings) => super::print(summary(&args.config, &settings)),
        Err(errors) => {
            io::stderr().write_all(report(&errors).as_bytes())?;
            Ok(ExitCode::from(super::FAILURE))
        }
    }
}

/// One line for a file without mistakes.
fn summary(file: &Path, settings: &Settings) -> String {
    let listeners = counted(settings.listeners.len(), "listener");
    let backends = counted(settings.backends.len(), "backend");
    format!("{}: ok ({listeners}, {backends})\n", file.display())
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Each mistake on a line, as `serve` also shows them.
pub(super) fn report(errors: &[SettingsError]) -> String {
    errors.iter().fold(String::new(), |mut text, error| {
        writeln!(text, "{error}").expect("a String takes all text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_file_is_summed_up() {
        let settings = settings::parse(&settings::example()).unwrap();
        let text = summary(Path::new("pinfold.toml"), &settings);
        assert_eq!(text, "pinfold.toml: ok (1 listener, 1 backend)\n");
        assert_eq!(counted(3, "backend"), "3 backends");
    }

    #[test]
    fn mistakes_stand_on_a_line_each() {
        let errors = settings::parse("").unwrap_err();
        assert_eq!(report(&errors).lines().count(), 2);
    }
}
