//! What goes over the wire: twins of the model's types, joined to them by conversions, so that renaming a field
//! inside breaks no client. What is written by clients refuses unknown fields; what is read by them may grow.

mod answer;
mod around;
mod counts;
mod parameters;
mod restart;
mod run;
mod spec;
mod work;

pub use answer::{
    Due, Error, EventLine, Explained, Health, Judged, LogLine, Owner, Page, Progress, Quarantined,
    Resumption, RunNow, RunTotals, ScheduleText, Scheduling, StoreFigures, Task, TaskResume, Unschedulable,
    Warned, Zones,
};
pub use around::{Artifact, Call, Hooks, HttpCall, OnHookError, Output, UserHook};
pub use counts::RunCounts;
pub use parameters::{Parameters, Payload};
pub use restart::{Backoff, OnLost, Restart, RestartMode};
pub use run::{
    CancelWhy, Event, Exit, Failure, Life, LostWhy, Missed, MissedWhy, Outcome, OutputSummary, Restarts, Run,
    SkipWhy, State, StopWhy, Trigger, Usage,
};
pub use spec::{
    CatchUp, CatchUpPolicy, Concurrency, Cron, DstGap, DstOverlap, Every, Kill, Overlap, Retention, Schedule,
    Status, TaskSpec,
};
pub use work::{Handler, KeepDir, Process, Resources, Shell, Work, WorkDir};

/// Twins of an enum without data: the same variants, both ways.
macro_rules! twin {
    ($wire:ident, $model:path { $($variant:ident),+ $(,)? }) => {
        impl From<$wire> for $model {
            fn from(value: $wire) -> Self {
                match value { $($wire::$variant => Self::$variant),+ }
            }
        }

        impl From<$model> for $wire {
            fn from(value: $model) -> Self {
                use $model as Model;
                match value { $(Model::$variant => Self::$variant),+ }
            }
        }
    };
}
pub(crate) use twin;

#[cfg(test)]
mod tests;
