//! `next` and `explain`: what a cron expression means, without any server.

use super::error::CliError;
use super::{Output, OutputArg, print_json, print_text};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use punctual::clock::{Clock, SystemClock};
use punctual::model::schedule::{Cron, DstGap, DstOverlap, Schedule};
use punctual::scheduler::schedule::{Preview, Timeline, Zone, explain, preview};
use serde_json::json;
use std::fmt::Write;
use std::sync::Arc;

/// Most instants that one call lists.
const MAX_NEXT: usize = 10_000;

#[derive(Debug, Args)]
pub(crate) struct Next {
    /// The expression: 5 fields, 6 with seconds first, 7 with the year last, or @daily and the like
    #[arg(long, value_name = "EXPR")]
    cron: String,
    #[command(flatten)]
    zone: ZoneArgs,
    /// List instants after this one [default: now]
    #[arg(long, value_name = "INSTANT")]
    from: Option<Timestamp>,
    /// How many
    #[arg(short, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=MAX_NEXT as u64))]
    n: u64,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The expression
    #[arg(value_name = "EXPR")]
    cron: String,
    #[command(flatten)]
    zone: ZoneArgs,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
struct ZoneArgs {
    /// IANA time zone on whose wall clock it is read
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// For fixed times that the spring change skips
    #[arg(long, value_enum, default_value_t = Gap::RunAtEnd)]
    dst_gap: Gap,
    /// For fixed times that the autumn change repeats
    #[arg(long, value_enum, default_value_t = Repeat::First)]
    dst_overlap: Repeat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Gap {
    /// Once, at the end of the gap
    #[value(name = "run_at_end", alias = "run-at-end")]
    RunAtEnd,
    /// Not on that day
    Skip,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Repeat {
    /// The first pass
    First,
    /// The second pass
    Second,
    /// Both passes
    Both,
}

impl ZoneArgs {
    fn cron(&self, expr: &str) -> Cron {
        let mut cron = Cron::new(expr);
        cron.dst_gap = match self.dst_gap {
            Gap::RunAtEnd => DstGap::RunAtEnd,
            Gap::Skip => DstGap::Skip,
        };
        cron.dst_overlap = match self.dst_overlap {
            Repeat::First => DstOverlap::First,
            Repeat::Second => DstOverlap::Second,
            Repeat::Both => DstOverlap::Both,
        };
        cron
    }

    fn compile(&self, expr: &str) -> Result<(Zone, Schedule, Arc<Timeline>), CliError> {
        let zone = Zone::get(&self.tz).map_err(CliError::usage)?;
        let schedule = Schedule::Cron(self.cron(expr));
        let timeline = Timeline::compile(std::slice::from_ref(&schedule), &zone).map_err(CliError::usage)?;
        Ok((zone, schedule, timeline))
    }
}

pub(crate) fn now() -> Result<Timestamp, CliError> {
    let clock = SystemClock::new().map_err(|error| CliError::failed(format_args!("no clock: {error}")))?;
    Ok(clock.now())
}

impl Next {
    pub(crate) fn run(&self) -> Result<(), CliError> {
        let (zone, _, timeline) = self.zone.compile(&self.cron)?;
        let from = match self.from {
            Some(from) => from,
            None => now()?,
        };
        let next = preview(&timeline, from, usize::try_from(self.n).unwrap_or(MAX_NEXT));
        match self.output.output {
            Output::Json => {
                let instants: Vec<String> = next.iter().map(|preview| preview.at.to_string()).collect();
                print_json(&json!({ "next": instants }))
            }
            Output::Text if next.is_empty() => {
                print_text(&format!("{:?} never fires after {from} ({})\n", self.cron, zone.name()))
            }
            Output::Text => print_text(&lines(&next)),
        }
    }
}

fn lines(next: &[Preview]) -> String {
    next.iter().fold(String::new(), |mut text, preview| {
        let _ = writeln!(text, "{preview}");
        text
    })
}

impl Explain {
    pub(crate) fn run(&self) -> Result<(), CliError> {
        let (zone, schedule, timeline) = self.zone.compile(&self.cron)?;
        let now = now()?;
        let explained = explain(&schedule, &zone, now).map_err(CliError::usage)?;
        let next = preview(&timeline, now, 5);
        match self.output.output {
            Output::Json => print_json(&json!({
                "normalised": explained.normalised,
                "sentence": explained.sentence,
                "timezone": zone.name(),
                "next": next.iter().map(|preview| preview.at.to_string()).collect::<Vec<_>>(),
                "warnings": explained.warnings.iter().map(|warning| json!({
                    "code": warning.code(),
                    "message": warning.to_string(),
                })).collect::<Vec<_>>(),
            })),
            Output::Text => {
                let mut text =
                    format!("{}\nnormalised: {}\nnext:\n", explained.sentence, explained.normalised);
                for preview in &next {
                    let _ = writeln!(text, "  {preview}");
                }
                for warning in &explained.warnings {
                    let _ = writeln!(text, "note: {warning}");
                }
                print_text(&text)
            }
        }
    }
}
