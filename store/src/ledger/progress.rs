//! What runs move in the head of their task: its progress, which only goes forward, and how much history is
//! kept. Called with each run that ends and each record that is pruned; decides nothing about the run.

use super::tables::{Head, HeadStatus};
use jiff::Timestamp;
use punctual_model::{Run, RunState, TaskProgress};

/// Whether the record stands for dues that never became a run.
pub(super) fn is_mark(run: &Run) -> bool {
    matches!(run.state(), RunState::Skipped { .. } | RunState::Missed(_))
}

fn raise(mark: &mut Option<Timestamp>, to: Timestamp) {
    *mark = (*mark).max(Some(to));
}

/// A due became a run.
pub(super) fn count_due(head: &mut Head, run: &Run) {
    if run.trigger.is_due() && !is_mark(run) {
        raise(&mut head.progress.latest_scheduled, run.scheduled_for);
    }
}

/// A record of a run that has ended is there.
pub(super) fn count_end(head: &mut Head, run: &Run) {
    if is_mark(run) {
        head.kept_marks += 1;
        return;
    }
    head.kept_runs += 1;
    let progress = &mut head.progress;
    raise(&mut progress.latest_completed, run.scheduled_for);
    match run.state() {
        RunState::Succeeded => {
            raise(&mut progress.latest_success, run.scheduled_for);
            progress.failures_in_row = 0;
        }
        state if state.is_failure() => {
            raise(&mut progress.latest_failure, run.scheduled_for);
            progress.failures_in_row = progress.failures_in_row.saturating_add(1);
        }
        // Canceled is neither.
        _ => {}
    }
    if progress.last_finished_at <= run.finished_at {
        progress.last_finished_at = run.finished_at;
        progress.last_status = Some(run.state().name());
        progress.last_error = error(run);
    }
}

/// How many failures in a row there are with this end, if that is what its task is to be paused for.
pub(super) fn one_too_many(head: &Head, run: &Run) -> Option<u32> {
    let failures = head.progress.failures_in_row.saturating_add(1);
    let wanted =
        head.status == HeadStatus::Active && head.digest.pause_after.is_some_and(|most| failures >= most);
    (wanted && run.state().is_failure()).then_some(failures)
}

/// A definition was written by another hand than the engine's.
pub(super) fn redefined(progress: &mut TaskProgress, from: Option<HeadStatus>, to: HeadStatus) {
    progress.paused_after = None;
    if from != Some(to) && to == HeadStatus::Active {
        progress.failures_in_row = 0;
    }
}

/// A record is gone.
pub(super) fn discount(head: &mut Head, run: &Run) {
    let kept = if is_mark(run) { &mut head.kept_marks } else { &mut head.kept_runs };
    *kept = kept.saturating_sub(1);
}

fn error(run: &Run) -> Option<String> {
    if run.state() == RunState::Succeeded {
        return None;
    }
    let outcome = run.outcome.as_ref();
    let failure = outcome.and_then(|outcome| outcome.error.as_ref()).map(|failure| failure.message.clone());
    let exit = || outcome.and_then(|outcome| outcome.exit).map(|exit| exit.to_string());
    let reason = run.state().reason();
    // What a run was ended for says more than how its work took that.
    if run.state().is_failure() { failure.or_else(exit).or(reason) } else { reason.or(failure) }
}
