//! Judges a history from outside: `cargo run --example check_history DIRECTORY`, with the files that
//! `tests/checker/history.rs` names. The crash tests leave such a directory behind when something is wrong.

#[path = "../tests/checker/mod.rs"]
mod checker;

use checker::history::History;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("error: expected the directory of a history");
        return ExitCode::from(2);
    };
    let history = match History::read(Path::new(&directory)) {
        Ok(history) => history,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let found = checker::check(&history);
    for violation in &found {
        println!("{violation}");
    }
    let (records, lines, told) = (history.records.len(), history.witness.len(), history.told.len());
    println!("{records} records, {lines} lines of jobs, {told} acknowledgements: {} violations", found.len());
    if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
