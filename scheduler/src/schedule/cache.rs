//! Equal schedules share one compiled form: a million tasks `0 2 * * *` in one zone cost one.
//!
//! Holds compiled schedules only as long as some task does; zones are kept, there are few.

use super::cron::Expression;
use super::error::{ScheduleError, ZoneError};
use super::timeline::Timeline;
use super::zone::Zone;
use jiff::tz::TimeZoneDatabase;
use punctual_model::schedule::Schedule;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Below this many entries looking for dead ones is not worth it.
const SWEEP_FROM: usize = 1_024;

/// Compiles schedules and remembers what is in use. Safe to share between threads.
#[derive(Debug, Default)]
pub struct ScheduleCache {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By lower-case name, so bounded by the database's few hundred names.
    zones: HashMap<String, Zone>,
    expressions: Interned<Expression>,
    timelines: Interned<Timeline>,
}

impl ScheduleCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The zone of that name, from the process's time zone database.
    ///
    /// # Errors
    /// As [`Zone::get`].
    pub fn zone(&self, name: &str) -> Result<Zone, ZoneError> {
        self.zone_of(jiff::tz::db(), name)
    }

    /// The zone of that name. The database is asked only the first time.
    ///
    /// # Errors
    /// As [`Zone::find`].
    pub fn zone_of(&self, database: &TimeZoneDatabase, name: &str) -> Result<Zone, ZoneError> {
        let key = name.to_ascii_lowercase();
        if let Some(zone) = self.lock().zones.get(&key) {
            return Ok(zone.clone());
        }
        let zone = Zone::find(database, name)?;
        Ok(self.lock().zones.entry(key).or_insert(zone).clone())
    }

    /// As [`Timeline::compile`]; equal schedules in one zone give the same timeline, equal
    /// expressions share their walk in all zones.
    ///
    /// # Errors
    /// As [`Timeline::compile`].
    pub fn compile(&self, schedules: &[Schedule], zone: &Zone) -> Result<Arc<Timeline>, ScheduleError> {
        let mut known = self.lock();
        let Known { expressions, timelines, .. } = &mut *known;
        let timeline = Timeline::build(schedules, zone, |parsed| {
            let text = parsed.normalised();
            match expressions.get(&text) {
                Some(expression) => Ok(expression),
                None => Ok(expressions.insert(text, Arc::new(Expression::new(parsed)?))),
            }
        })?;
        let key = timeline.key();
        Ok(match timelines.get(&key) {
            Some(timeline) => timeline,
            None => timelines.insert(key, Arc::new(timeline)),
        })
    }

    /// How many distinct timelines are in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.lock().timelines.live()
    }

    /// A panic elsewhere leaves the maps whole: they only gain entries that are complete.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Values by text, alive as long as somebody else holds them.
#[derive(Debug)]
struct Interned<T> {
    by_text: HashMap<String, Weak<T>>,
    sweep_at: usize,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { by_text: HashMap::new(), sweep_at: SWEEP_FROM }
    }
}

impl<T> Interned<T> {
    fn get(&self, text: &str) -> Option<Arc<T>> {
        self.by_text.get(text).and_then(Weak::upgrade)
    }

    /// Adds a value; dead entries are dropped whenever the map has doubled since the last time, so
    /// the work is spread evenly and the map is at most twice as large as what is alive.
    fn insert(&mut self, text: String, value: Arc<T>) -> Arc<T> {
        if self.by_text.len() >= self.sweep_at {
            self.by_text.retain(|_, value| value.strong_count() > 0);
            self.sweep_at = SWEEP_FROM.max(self.by_text.len() * 2);
        }
        self.by_text.insert(text, Arc::downgrade(&value));
        value
    }

    fn live(&self) -> usize {
        self.by_text.values().filter(|value| value.strong_count() > 0).count()
    }
}
