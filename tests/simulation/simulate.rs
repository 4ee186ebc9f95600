//! Lives through as many seeds as asked for, on all cores, and says which of them fail and how to see it again.
//!
//! `cargo run --profile simulation --features testing --example simulate -- --seeds 1..1001`
//!
//! `--weeks` takes two weeks around a clock change instead of a year; `--seed N` is one seed; `--trace` prints all
//! that happens; `--twice` lives through each seed twice and compares the traces.

mod deeds;
mod definitions;
mod oracle;
mod plan;
#[path = "../../scheduler/tests/cron_oracle/spec.rs"]
mod spec;
mod trace;
mod truth;
#[expect(dead_code, reason = "the scheduler's own test also reads where a wall ends")]
#[path = "../../scheduler/tests/cron_oracle/wall.rs"]
mod wall;
mod watched;
mod work;
mod year;

use plan::Scale;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

struct Asked {
    seeds: std::ops::Range<u64>,
    scale: Scale,
    loud: bool,
    twice: bool,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { seeds: 1..41, scale: Scale::Year, loud: false, twice: false };
    let mut words = std::env::args().skip(1);
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--seeds" => {
                let text = value()?;
                let (from, until) = text.split_once("..").ok_or("seeds are given as 1..41")?;
                asked.seeds = number(from)?..number(until)?;
            }
            "--seed" => {
                let seed = number(&value()?)?;
                asked.seeds = seed..seed + 1;
            }
            "--weeks" => asked.scale = Scale::Weeks,
            "--trace" => asked.loud = true,
            "--twice" => asked.twice = true,
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    // Panics are part of the plot; what is wrong is reported at the end.
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicU64::new(asked.seeds.start);
    let failed = Mutex::new(Vec::new());
    let cores = if asked.loud { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= asked.seeds.end {
                        return;
                    }
                    if !live(seed, &asked) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    let weeks = if asked.scale == Scale::Weeks { "--weeks " } else { "" };
    for seed in &failed {
        println!(
            "again: cargo run --profile simulation --features testing --example simulate -- {weeks}--seed {seed}"
        );
    }
    println!("{} seeds, {} failed", asked.seeds.end - asked.seeds.start, failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn live(seed: u64, asked: &Asked) -> bool {
    let report = year::simulate(seed, asked.scale, asked.loud);
    let mut wrong = report.wrong.clone();
    if asked.twice {
        let again = year::simulate(seed, asked.scale, asked.loud);
        if again.hash != report.hash {
            wrong.push(format!("a second life had the trace {:016x}", again.hash));
        }
    }
    let verdict = if wrong.is_empty() { "ok" } else { "FAILED" };
    println!(
        "seed {seed} {verdict}: trace {:016x}, {} lines, {:?}",
        report.hash, report.lines, report.counts
    );
    for wrong in &wrong {
        println!("seed {seed}: {wrong}");
    }
    if !wrong.is_empty() && !asked.loud {
        for line in &report.last {
            println!("seed {seed} ... {line}");
        }
    }
    wrong.is_empty()
}
