//! Does the work: claims from the queue, workers, run promises, the life of one attempt, drivers.
//!
//! Floor 2 of the house. Records every durable edge of the runs it does; never looks at schedules, never
//! decides which tasks exist.

mod asked;
mod attempt;
mod claimer;
#[cfg(feature = "http")]
pub mod client;
mod collector;
mod counters;
mod driver;
pub mod drivers;
#[cfg(feature = "http")]
pub mod egress;
mod engine;
mod error;
mod executor;
#[cfg(feature = "http")]
pub mod fetch;
mod flag;
mod guard;
mod hook;
pub mod hooks;
mod looks;
pub mod output;
mod pool;
mod promise;
mod promises;
mod registry;
mod reservation;
pub mod restart;
mod resume;
#[cfg(any(test, feature = "testing"))]
pub mod scripted;
mod seats;
pub mod shim;
mod teller;
mod working;

pub use asked::Asked;
pub use counters::{Counters, Figures};
pub use driver::{Attempt, Class, Driver, Handle, Killed, Recovered, RunSink, Seen, Stream};
pub use error::Error;
#[cfg(feature = "mock")]
pub use executor::MockExecutor;
pub use executor::{Dispatch, Executor};
pub use hook::{Around, Ending, Hook, HookError, MakeHook, Prestarted, Setup};
pub use output::Outputs;
pub use pool::{Pool, PoolBuilder, StopReport};
#[cfg(feature = "mock")]
pub use promise::MockRunPromise;
pub use promise::{RunPromise, Told};
pub use reservation::{GiveBack, Reservation};
pub use seats::{Limits, Workers};
