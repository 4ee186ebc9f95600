//! The binary: the daemon and everything a person does with it from a terminal.

mod cli;

use std::process::ExitCode;

/// A run is made on one thread and ends on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Nothing comes before this: it may be what keeps processes, and then it gets no further.
    punctual::shim::enter();
    cli::main()
}
