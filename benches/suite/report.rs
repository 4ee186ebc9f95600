//! One row of figures, as it is printed and as it is kept.

use crate::machine;
use crate::place::Place;
use crate::targets::{Better, Target};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What all rows have in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Heading {
    pub(crate) version: String,
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) file_system: String,
    /// Programs that wanted a core when it began: on a machine that is not quiet only ratios mean anything.
    pub(crate) load: String,
    pub(crate) command: String,
}

impl Heading {
    pub(crate) fn now(place: &Place) -> Self {
        let arguments: Vec<String> =
            std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
        let command = match arguments.is_empty() {
            true => "cargo bench".to_owned(),
            false => format!("cargo bench -- {}", arguments.join(" ")),
        };
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            machine: machine::described(),
            file_system: place.file_system.clone(),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            command,
        }
    }
}

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, date, machine, file_system, load, command } = self;
        writeln!(f, "punctual {version}, {date}, {command}")?;
        write!(f, "{machine}; data on {file_system}; load {load}")
    }
}

/// Several measurements of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one.
    pub(crate) fn of(mut all: Vec<f64>) -> Self {
        all.sort_unstable_by(f64::total_cmp);
        Self { median: all[all.len() / 2], min: all[0], max: all[all.len() - 1] }
    }
}

/// What the machine can do without us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) what: String,
    #[serde(flatten)]
    pub(crate) spread: Spread,
}

/// One figure at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) figure: u32,
    pub(crate) what: String,
    /// None where the figure has no size.
    pub(crate) size: Option<u64>,
    pub(crate) unit: String,
    pub(crate) rounds: usize,
    #[serde(flatten)]
    pub(crate) spread: Spread,
    pub(crate) limit: Option<Limit>,
    /// Ours over the limit, or the other way round where less is better: 1 is as good as it can be.
    pub(crate) ratio: Option<f64>,
    pub(crate) target: Option<Target>,
}

impl Row {
    pub(crate) fn new(figure: u32, what: &str, unit: &str, values: Vec<f64>) -> Self {
        let (rounds, spread) = (values.len(), Spread::of(values));
        let (what, unit) = (what.to_owned(), unit.to_owned());
        Self { figure, what, size: None, unit, rounds, spread, limit: None, ratio: None, target: None }
    }

    pub(crate) fn size(self, size: u64) -> Self {
        Self { size: Some(size), ..self }
    }

    /// Beside what the machine can do.
    pub(crate) fn limit(self, what: &str, values: Vec<f64>, better: Better) -> Self {
        let spread = Spread::of(values);
        let ratio = match better {
            Better::More => self.spread.median / spread.median,
            Better::Less => spread.median / self.spread.median,
        };
        let limit = Some(Limit { what: what.to_owned(), spread });
        Self { limit, ratio: ratio.is_finite().then_some(ratio), ..self }
    }

    /// What is asked of it; only at the size that it is asked at.
    pub(crate) fn target(self, asked: bool, target: Target) -> Self {
        Self { target: asked.then_some(target), ..self }
    }
}

/// As many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        ..0.1 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

/// Digits in groups of three.
pub(crate) fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { figure, what, size, unit, rounds, spread, limit, ratio, target } = self;
        let size = size.map(|size| grouped(&size.to_string())).unwrap_or_default();
        write!(f, "{figure:>2} {what:<50} {size:>9}  {:>9} {unit:<7}", number(spread.median))?;
        if *rounds > 1 {
            write!(f, " ({} … {})", number(spread.min), number(spread.max))?;
        }
        if let Some(limit) = limit {
            write!(f, "  limit {} {}", number(limit.spread.median), limit.what)?;
        }
        if let Some(ratio) = ratio {
            write!(f, "  = {:.0} %", ratio * 100.0)?;
        }
        if let Some(target) = target {
            write!(f, "  {}", target.verdict(spread.median))?;
        }
        Ok(())
    }
}
