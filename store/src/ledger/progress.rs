//! What runs move in the head of their task: its progress, which only goes forward, and how much history is
//! kept. Called with each run that ends and each record that is pruned; decides nothing about the run.

use super::tables::{Head, HeadStatus};
use jiff::Timestamp;
use punctual_model::{Run, RunState, TaskProgress, Trigger};

/// Whether the record stands for dues that never became a run.
fn is_mark(run: &Run) -> bool {
    matches!(run.state(), RunState::Skipped { .. } | RunState::Missed(_))
}

/// Whether the record is no run of the task's own work: kept in a number of its own, so that it drives none of those
/// out, and without a say in what the task has come to.
pub(super) fn is_apart(run: &Run) -> bool {
    is_mark(run) || run.trigger.follows().is_some()
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
    if is_apart(run) {
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
            progress.failing = false;
        }
        state if state.is_failure() => {
            raise(&mut progress.latest_failure, run.scheduled_for);
            progress.failures_in_row = progress.failures_in_row.saturating_add(1);
            progress.failing = true;
        }
        // Canceled is neither.
        _ => {}
    }
    if progress.last_finished_at <= run.finished_at {
        progress.last_finished_at = run.finished_at;
        progress.last_status = Some(run.state().name());
        progress.last_error = run.error_text();
    }
}

/// How many failures in a row there are with this end, if that is what its task is to be paused for.
pub(super) fn one_too_many(head: &Head, run: &Run) -> Option<u32> {
    let failures = head.progress.failures_in_row.saturating_add(1);
    let wanted =
        head.status == HeadStatus::Active && head.digest.pause_after.is_some_and(|most| failures >= most);
    (wanted && run.state().is_failure() && !is_apart(run)).then_some(failures)
}

/// By which trigger this end is followed by a run that tells of it, if it is, and how many failures in a row there
/// are with it, or were before it.
pub(super) fn follow_up(head: &Head, run: &Run) -> Option<(Trigger, u32)> {
    let (digest, progress, of) = (&head.digest, &head.progress, run.id);
    if is_apart(run) || head.status == HeadStatus::Deleted {
        None
    } else if run.state().is_failure() && digest.on_failure {
        Some((Trigger::OnFailure { of }, progress.failures_in_row.saturating_add(1)))
    } else if run.state() == RunState::Succeeded && progress.failing && digest.on_recovered {
        Some((Trigger::OnRecovered { of }, progress.failures_in_row))
    } else {
        None
    }
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
    let kept = if is_apart(run) { &mut head.kept_marks } else { &mut head.kept_runs };
    *kept = kept.saturating_sub(1);
}
