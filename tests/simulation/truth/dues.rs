//! What becomes of dues: each has one record, at its time, or late or missed by the policy of its task.

use super::{Dealt, PROMPT, Truth, second};
use jiff::{SignedDuration, Timestamp};
use punctual::model::state::{Missed, MissedWhy};
use punctual::model::{CatchUpPolicy, Overlap, Run, RunState, Task, TaskId, Trigger};
use std::sync::Arc;
use std::time::Duration;

impl Truth {
    /// Dues have become records.
    pub(crate) fn materialised(&mut self, dealt: &Dealt, births: &[Run], replaced: &[Run], now: Timestamp) {
        let Some(truth) = self.tasks.get(&dealt.task) else {
            return self.wrong(format!("dues of an unknown task {}", dealt.task));
        };
        let task = Arc::clone(&truth.task);
        if truth.deleted || !task.is_active() || task.revision != dealt.revision {
            self.wrong(format!(
                "dues of task {} revision {}, which is not active at it",
                task.id, dealt.revision
            ));
        }
        self.fates(&task, births, now);
        let mut caught_up = 0u32;
        // Judged before the births, as the engine has to.
        let in_the_way = self.in_the_way(task.id);
        for (place, run) in births.iter().enumerate() {
            caught_up += u32::from(run.trigger == Trigger::CatchUp && !is_missed(run));
            self.due(&task, run, now);
            if place == 0 && task.spec.overlap == Overlap::Skip && run.trigger == Trigger::Schedule {
                let waits = run.state().is_waiting() || run.state().is_at_work();
                self.must(!(waits && in_the_way), || format!("run {} overlaps under skip", run.id));
                // One that waits with a record that cannot be read keeps its place until its time comes.
                let is_spoilt = |other| self.spoilt.contains(&other);
                let skipped = match run.state() {
                    RunState::Skipped { why } => !why.run().is_some_and(is_spoilt),
                    _ => false,
                };
                self.must(!skipped || in_the_way, || format!("run {} was skipped for nothing", run.id));
            }
            self.adopt(run, now, "born");
        }
        let limit = match task.spec.catch_up.policy {
            CatchUpPolicy::Skip => 0,
            CatchUpPolicy::Latest => 1,
            CatchUpPolicy::All => task.spec.catch_up.limit,
        };
        self.must(caught_up <= limit, || format!("task {}: {caught_up} caught up, limit {limit}", task.id));
        let covered = self.tasks.get(&task.id).map(|truth| truth.covered);
        self.must(covered == Some(dealt.checkpoint), || {
            format!("task {}: checkpoint {} but records up to {covered:?}", task.id, dealt.checkpoint)
        });
        for run in replaced {
            self.moved(run, now, "replaced");
        }
    }

    /// What is owed is treated by the policy, judged before the records are entered: which of it runs late, which is
    /// missed, and whether it had to be late at all.
    fn fates(&mut self, task: &Task, births: &[Run], now: Timestamp) {
        let Some(truth) = self.tasks.get(&task.id) else { return };
        let (since, full) = (self.undisturbed_since.max(truth.disturbed), self.full);
        let lateness = |due: Timestamp| now.duration_since(truth.run_at(due));
        let span = |span: Duration| SignedDuration::try_from(span).expect("a span of this century");
        let (grace, window) = (span(task.spec.grace), span(task.spec.catch_up.window));
        let late: Vec<&Run> =
            { births.iter() }.filter(|run| run.trigger == Trigger::CatchUp && !is_missed(run)).collect();
        let owed_after = |due: Timestamp| {
            let next = truth.rest().iter().copied().map(second).find(|next| *next > due);
            next.is_some_and(|next| truth.run_at(next) <= now)
        };
        let policy = task.spec.catch_up.policy;
        let mut wrong = Vec::new();
        for run in &late {
            if lateness(run.scheduled_for) > window {
                wrong.push(format!("run {} was caught up outside its window at {now}", run.id));
            }
            if policy == CatchUpPolicy::Latest && owed_after(run.scheduled_for) {
                wrong.push(format!("run {} was caught up and is not the latest", run.id));
            }
        }
        for run in births {
            let RunState::Missed(Missed { from, to, why, .. }) = run.state() else { continue };
            let run_at = truth.run_at(to);
            let missed = format!("task {}: {from} to {to} missed at {now}", task.id);
            if lateness(to) <= grace {
                wrong.push(format!("{missed}, within the grace: {to} was to run at {run_at}"));
            }
            if !full && (run_at > since || now.duration_since(since) > PROMPT) {
                wrong.push(format!(
                    "{missed} for nothing: {to} was to run at {run_at}, undisturbed since {since}"
                ));
            }
            let outside = lateness(to) > window;
            let limit = task.spec.catch_up.limit as usize;
            let (expected, kept) = match policy {
                CatchUpPolicy::Skip => (MissedWhy::PolicySkip, true),
                _ if outside => (MissedWhy::OutsideWindow, true),
                CatchUpPolicy::Latest => (MissedWhy::PolicyLatest, owed_after(to)),
                CatchUpPolicy::All => (MissedWhy::OverLimit, late.len() == limit),
            };
            if why != expected || !kept {
                wrong.push(format!(
                    "{missed} as {why:?} beside {} late ones, expected {expected:?}",
                    late.len()
                ));
            }
        }
        for wrong in wrong {
            self.wrong(wrong);
        }
    }

    /// One record of one due, or of a range: it must begin exactly where the last one ended.
    fn due(&mut self, task: &Task, run: &Run, now: Timestamp) {
        let (undisturbed, full) = (self.undisturbed_since, self.full);
        let Some(truth) = self.tasks.get_mut(&task.id) else { return };
        let since = if full { now } else { undisturbed.max(truth.disturbed) };
        let rest = truth.rest();
        let expected = rest.first().copied().map(second);
        let mut wrong = None;
        if let RunState::Missed(Missed { from, to, count, at_least, .. }) = run.state() {
            let covered = rest.iter().take_while(|due| second(**due) <= to).count();
            let ends = covered > 0 && second(rest[covered - 1]) == to;
            let counted = if at_least { count <= covered as u64 } else { count == covered as u64 };
            if expected != Some(from) || !ends || !counted {
                wrong = Some(format!(
                    "task {}: missed {from} to {to} ({count}), expected from {expected:?} ({covered})",
                    task.id
                ));
            }
            truth.covered = to;
            self.counts.missed += count;
        } else {
            if expected != Some(run.scheduled_for) {
                wrong = Some(format!("task {}: due {}, expected {expected:?}", task.id, run.scheduled_for));
            }
            let run_at = truth.run_at(run.scheduled_for);
            let late = now.duration_since(run_at.max(since));
            let grace = SignedDuration::try_from(task.spec.grace).expect("a short grace");
            let lateness = now.duration_since(run_at);
            if run_at > now || run.run_at != run_at {
                wrong = Some(format!("run {} for {} at {now}, its time is {run_at}", run.id, run.run_at));
            } else if run.trigger == Trigger::Schedule && (late > PROMPT || lateness > grace) {
                wrong = Some(format!(
                    "run {} of {} only at {now}, undisturbed since {since}",
                    run.id, run.run_at
                ));
            } else if run.trigger == Trigger::CatchUp && lateness <= grace {
                wrong =
                    Some(format!("run {} of {} was caught up within the grace at {now}", run.id, run.run_at));
            }
            truth.covered = run.scheduled_for;
            self.counts.caught_up += u64::from(run.trigger == Trigger::CatchUp);
        }
        if let Some(wrong) = wrong {
            self.wrong(wrong);
        }
    }

    fn in_the_way(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(|truth| {
            truth.unfinished.iter().any(|id| self.runs.get(id).is_some_and(|run| !run.forced))
        })
    }

    /// While the engine is settled nothing may be owed.
    pub(crate) fn nothing_is_owed(&mut self, now: Timestamp) {
        let mut owed = Vec::new();
        if self.full {
            return;
        }
        for truth in self.tasks.values() {
            if truth.deleted || !truth.task.is_active() {
                continue;
            }
            let Some(next) = truth.rest().first().copied().map(second) else { continue };
            let run_at = truth.run_at(next);
            if run_at <= now {
                owed.push(format!("task {}: due {next} was to run at {run_at}, it is {now}", truth.task.id));
            }
        }
        for owed in owed {
            self.wrong(owed);
        }
    }
}

fn is_missed(run: &Run) -> bool {
    matches!(run.state(), RunState::Missed(_))
}
