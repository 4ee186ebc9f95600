//! When a task is due: schedules compiled into a [`Timeline`] that answers "what is the next due
//! strictly after this instant?".
//!
//! Everything here is arithmetic on instants that the caller passes in: no clock is read, nothing
//! waits, nothing knows of runs. The timetable and the catch-up rules ask a `Timeline`; the API and
//! the command line ask [`explain`] for the words. The zone database is the only thing looked up.

mod cache;
mod cron;
mod error;
mod every;
mod explain;
mod preview;
mod spread;
mod timeline;
mod zone;

pub use cache::ScheduleCache;
pub use cron::{CronError, MAX_CRON_BYTES, MAX_CRON_ITEMS};
pub use error::{ScheduleError, ZoneError};
pub use explain::{Explanation, Warning, explain};
pub use preview::{Preview, preview};
pub use spread::Spread;
pub use timeline::{Count, Timeline};
pub use zone::Zone;
