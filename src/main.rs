//! The `pinfold` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pinfold::cli::run()
}
