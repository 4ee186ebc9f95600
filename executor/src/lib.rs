//! Does the work: claims from the queue, workers, run promises, the life of one attempt, drivers.
//!
//! Floor 2 of the house. Records every durable edge of the runs it does; never looks at schedules, never
//! decides which tasks exist.

mod driver;
mod error;
mod executor;
mod promise;
mod reservation;

pub use driver::{Attempt, Driver, Handle, RunSink, Stream};
pub use error::Error;
#[cfg(feature = "mock")]
pub use executor::MockExecutor;
pub use executor::{Dispatch, Executor};
#[cfg(feature = "mock")]
pub use promise::MockRunPromise;
pub use promise::RunPromise;
pub use reservation::Reservation;
