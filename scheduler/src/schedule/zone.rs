//! A time zone as the schedules see it: a finite table of stretches of constant offset.
//!
//! Looked up once by IANA name, then plain data shared by all tasks in the zone. The table spans the
//! years in which cron can fire, so no later query touches the database.

use super::error::{ZoneError, quoted};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::fmt;
use std::sync::Arc;

/// The stretches start before 1970-01-01T00:00 of the most eastern zone …
const FIRST: i64 = -2 * 86_400;
/// … and go on past the end of 2099 of the most western one (2100-01-03T00:00Z).
const LAST: i64 = 4_102_617_600;
/// Longest name that is looked up; the longest of the database has 32 bytes.
const MAX_NAME: usize = 64;
/// A misspelt name is guessed at up to this many wrong letters; beyond it a guess misleads.
const MAX_TYPOS: usize = 3;

/// A zone of the database. Cheap to clone; equal by name.
#[derive(Clone)]
pub struct Zone(Arc<Inner>);

struct Inner {
    name: Box<str>,
    tz: TimeZone,
    stretches: Box<[Stretch]>,
}

/// Real time from `start` (seconds since 1970 UTC) to the start of the next stretch, with one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: i64,
    /// Seconds to add to UTC.
    pub(super) offset: i32,
}

impl Zone {
    /// The zone of tasks that name none and have no configured default.
    #[must_use]
    pub fn utc() -> Self {
        Self::new("UTC", TimeZone::UTC)
    }

    /// Looks a name up (any case) in the system's database, or in the bundled one where there is none.
    ///
    /// # Errors
    /// An unknown name, with the most similar known one as a hint.
    pub fn get(name: &str) -> Result<Self, ZoneError> {
        Self::find(jiff::tz::db(), name)
    }

    /// Looks a name up in a given database.
    ///
    /// # Errors
    /// As [`Zone::get`].
    pub fn find(database: &TimeZoneDatabase, name: &str) -> Result<Self, ZoneError> {
        let unknown = |hint| ZoneError { name: quoted(name), hint };
        if name.len() > MAX_NAME {
            return Err(unknown(None));
        }
        match database.get(name) {
            Ok(tz) if !tz.is_unknown() => {
                let canonical = tz.iana_name().unwrap_or(name).to_owned();
                Ok(Self::new(&canonical, tz))
            }
            _ => Err(unknown(suggestion(database, name))),
        }
    }

    fn new(name: &str, tz: TimeZone) -> Self {
        let first = Timestamp::from_second(FIRST).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut stretches = vec![Stretch { start: FIRST, offset: tz.to_offset(first).seconds() }];
        for transition in tz.following(first) {
            let (start, offset) = (transition.timestamp().as_second(), transition.offset().seconds());
            if start >= LAST {
                break;
            }
            // Changes of the name or of the daylight flag alone are none for us.
            if stretches.last().is_none_or(|last| last.offset != offset) {
                stretches.push(Stretch { start, offset });
            }
        }
        Self(Arc::new(Inner { name: name.into(), tz, stretches: stretches.into() }))
    }

    /// The IANA name, spelt as in the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The zone itself, for showing local times.
    #[must_use]
    pub fn time_zone(&self) -> &TimeZone {
        &self.0.tz
    }

    pub(super) fn stretches(&self) -> &[Stretch] {
        &self.0.stretches
    }

    /// Index of the stretch that `second` is in; times before the table count as its start.
    pub(super) fn stretch_at(&self, second: i64) -> usize {
        self.0.stretches.partition_point(|stretch| stretch.start <= second).saturating_sub(1)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name()).finish()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the user may have meant.
fn suggestion(database: &TimeZoneDatabase, name: &str) -> Option<String> {
    let plain = name.trim();
    if plain.is_empty() {
        return Some("UTC is the default".to_owned());
    }
    if let Some(rest) = plain.strip_prefix("UTC").or_else(|| plain.strip_prefix("GMT")).or(Some(plain))
        && rest.starts_with(['+', '-'])
    {
        return Some("an offset is not a zone; Etc/GMT-2 is two hours east of Greenwich".to_owned());
    }
    let wanted = plain.to_ascii_lowercase().replace(' ', "_");
    let mut best: Option<(usize, String)> = None;
    for known in database.available() {
        let known = known.as_str();
        let lower = known.to_ascii_lowercase();
        let city = lower.rsplit('/').next().unwrap_or(&lower);
        let distance = distance(&wanted, &lower).min(distance(&wanted, city));
        let candidate = (distance, known.to_owned());
        if distance <= MAX_TYPOS.min(wanted.len() / 2) && best.as_ref().is_none_or(|best| candidate < *best) {
            best = Some(candidate);
        }
    }
    best.map(|(_, known)| format!("did you mean {known}?"))
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replace = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
