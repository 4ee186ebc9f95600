//! Punctual, the durable task scheduler that keeps its promises.
//!
//! A **task** says what to run, when and how. A **run** is one execution of a task for one logical time. A
//! **run promise** is the handle to a run: it resolves when the run has ended and that is durable, also after
//! the process that gave it out has died and come back.
//!
//! ```
//! use punctual::prelude::*;
//!
//! #[derive(serde::Deserialize)]
//! struct Report {
//!     tenant: String,
//! }
//!
//! async fn report(Args(report): Args<Report>, ctx: RunCtx) -> Result<usize, TaskError> {
//!     ctx.log(format!("rendering {} for {}", report.tenant, ctx.scheduled_for()));
//!     Ok(report.tenant.len())
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), punctual::Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let data = dir.path().join("data");
//! let punctual = Punctual::builder()
//!     .data_dir(data)
//!     .handlers(Handlers::new().add("report", report))
//!     .start()
//!     .await?;
//!
//! let work = Work::handler_with("report", serde_json::json!({"tenant": "acme"}));
//! let task = TaskSpec::new("report-acme", work).cron("30 2 * * 1-5").timezone("Europe/Berlin");
//! let written = punctual.tasks().upsert(task).await?;
//! println!("{}, next {}", written.schedule.schedules[0].sentence, written.schedule.next[0]);
//!
//! // Once more, now: durable when this returns, and so is its end when the promise resolves.
//! let accepted = punctual.tasks().run_now(written.stored.task.id, RunRequest::default()).await?;
//! let run = accepted.promise.wait().await?;
//! assert_eq!(run.state(), RunState::Succeeded);
//! # punctual.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The rooms of the house are here under their names: [`model`], [`clock`], [`store`], [`scheduler`],
//! [`executor`], [`coordinator`]. With the feature `testing` there is a test kit on a virtual clock; with `mock`
//! a mockable executor. The feature `cli` (on by default) only adds the binary: a program that embeds the
//! library turns default features off.

mod builder;
mod engine;
mod error;
mod leavings;
mod shutdown;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::Builder;
pub use engine::{Punctual, Stopped};
pub use error::Error;
pub use shutdown::shutdown_signal;

pub use punctual_clock as clock;
pub use punctual_coordinator as coordinator;
pub use punctual_executor as executor;
pub use punctual_executor::shim;
pub use punctual_model as model;
pub use punctual_scheduler as scheduler;
pub use punctual_store as store;

/// What most programs need.
pub mod prelude {
    pub use crate::{Builder, Punctual, shutdown_signal};
    pub use punctual_coordinator::{Accepted, Change, Resumption, RunQuery, RunRequest, TaskQuery, Tasks};
    pub use punctual_executor::drivers::handler::{Args, Handlers, RunCtx, State, TaskError};
    pub use punctual_executor::{Executor, RunPromise};
    pub use punctual_model::restart::RestartPolicy;
    pub use punctual_model::{
        CatchUp, CatchUpPolicy, Overlap, Run, RunId, RunState, Schedule, Task, TaskId, TaskSpec, TaskType,
        Work,
    };
}
