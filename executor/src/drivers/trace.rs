//! The trace of a run for whoever its work talks to, as W3C trace context has it.

use punctual_model::{Run, Task};

/// That of whoever asked for the run, if it said one. Else one trace a run, one span an attempt, both to be had from the
/// ids: whoever finds them in a trace finds the run.
pub(crate) fn traceparent(run: &Run, task: &Task) -> String {
    if let Some(parent) = run.trace {
        return parent.to_string();
    }
    let span = run.id.get().rotate_left(32) ^ u64::from(run.life.attempt);
    // A span of zeros means none at all.
    let span = if span == 0 { 1 } else { span };
    format!("00-{}{}-{span:016x}-01", task.id, run.id)
}
