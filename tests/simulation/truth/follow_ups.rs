//! Runs that tell of the ends of others.

use super::Truth;
use jiff::Timestamp;
use punctual::model::{Run, RunState, Trigger};

impl Truth {
    /// A run has ended, and this run tells of it, if any does: by the rules of its task exactly one, or none. That
    /// there is no second one is seen at the next start, when all that is stored must be known.
    pub(crate) fn told(&mut self, run: &Run, teller: Option<&Run>, now: Timestamp) {
        let of = run.id;
        let expected = match self.tasks.get_mut(&run.task) {
            _ if !run.state().is_terminal() || run.trigger.follows().is_some() => None,
            None => None,
            Some(truth) => {
                let (spec, was_failing) = (&truth.task.spec, truth.failing);
                let (bad, good) = (run.state().is_failure(), run.state() == RunState::Succeeded);
                truth.failing = bad || (was_failing && !good);
                let wanted = [
                    (bad && spec.on_failure.is_some(), Trigger::OnFailure { of }),
                    (good && was_failing && spec.on_recovered.is_some(), Trigger::OnRecovered { of }),
                ];
                wanted.into_iter().find(|(holds, _)| *holds && !truth.deleted).map(|(_, trigger)| trigger)
            }
        };
        let found = teller.map(|teller| (teller.task, teller.trigger));
        self.must(found == expected.map(|trigger| (run.task, trigger)), || {
            format!("run {of} ended as {:?}, told by {found:?}, expected {expected:?}", run.state())
        });
        if let Some(teller) = teller {
            self.counts.told += 1;
            self.adopt(teller, now, "born");
        }
    }
}
