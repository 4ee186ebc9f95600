//! Commands that drive a daemon through its door. They ask and print; every decision is the daemon's.

mod apply;
mod client;
mod find;
mod logs;
mod quote;
mod run;
mod status;
mod target;
mod task;
mod task_show;
mod wait;

pub(crate) use apply::Apply;
pub(crate) use logs::Logs;
pub(crate) use run::{Cancel, Now, Restart, Resume, Retry, Signal, Wait, listed, shown};
pub(crate) use status::Status;
pub(crate) use target::Target;
pub(crate) use task::{Create, Delete, List, Pause, Resume as TaskResume};
pub(crate) use task_show::Show;
