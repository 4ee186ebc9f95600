//! The real binary, killed again and again, and then judged from outside by the checker.
//!
//! `cargo test --features inject --test crash`, with `CRASH_SEED` to repeat a sequence of kills, `CRASH_CYCLES` for
//! more of them, and the names of scenarios as arguments. Each prints what it did; the history of one that found
//! something is kept, and `cargo run --example check_history` judges it again.
//!
//! Without libtest: the program is also the work of the tasks (see [`job`]).
#![cfg(target_os = "linux")]

mod callers;
mod chance;
#[path = "../checker/mod.rs"]
mod checker;
mod daemon;
mod job;
mod place;
mod scenarios;
mod tasks;
mod time;

use chance::Chance;
use std::process::ExitCode;

/// Kills in a run of the suite that says nothing else.
const CYCLES: u64 = 100;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, witness, milliseconds, codes] = &args[..]
        && word == "job"
    {
        std::process::exit(job::work(witness, milliseconds, codes));
    }
    // A crash point aborts; its core is of no use to anybody.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);

    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("CRASH_SEED").unwrap_or_else(|| time::wall().unsigned_abs());
    let cycles = number("CRASH_CYCLES").unwrap_or(CYCLES);
    println!("seed {seed} (CRASH_SEED), {cycles} kills (CRASH_CYCLES)");

    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let all = scenarios::all(cycles);
    let chosen = all
        .into_iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted.as_str())));
    time::since_start();
    assert!(daemon::has_crash_points(), "the binary was built without the feature inject");
    // Side by side: most of the time they wait for a second to pass or a process to start.
    let running: Vec<_> = chosen
        .zip(1..)
        .map(|((name, scenario), nth)| {
            let chance = Chance(seed ^ nth);
            (name, std::thread::spawn(move || scenario(chance)))
        })
        .collect();
    let (mut met, mut failed) = (scenarios::Met::default(), false);
    for (name, thread) in running {
        match thread.join() {
            Ok(report) => {
                println!("{name}: passed ({:.1} s since the start)", time::since_start());
                met.add(report);
            }
            Err(_) => {
                println!("{name}: FAILED (seed {seed})");
                failed = true;
            }
        }
    }
    let enough = met.tell();
    // Of chosen scenarios not everything can be wanted.
    failed |= wanted.is_empty() && !enough;
    let _ = std::fs::remove_file(daemon::binary());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
