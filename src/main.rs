//! The binary: the daemon and everything a person does with it from a terminal.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
