//! The records that come out of a task's owed dues. Pure: what is owed, what is unfinished and the time are
//! given; the store is asked and told by the due loop.

use jiff::Timestamp;
use punctual_model::overlap::{self, OverlapDecision, Unfinished};
use punctual_model::state::Missed;
use punctual_model::{Life, Overlap, Run, RunId, RunState, Task, Trigger};
use punctual_scheduler::timetable::When;
use serde_json::Value;

/// What a task owes, oldest first: one record of missed dues, then late runs, then those on time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) missed: Option<Missed>,
    pub(crate) caught_up: Vec<When>,
    pub(crate) on_time: Vec<When>,
    /// Everything owed up to here is in the three.
    pub(crate) checkpoint: Timestamp,
    /// More is owed after that.
    pub(crate) more: bool,
}

impl Owed {
    /// Whether nothing is.
    pub(crate) fn is_empty(&self) -> bool {
        self.missed.is_none() && self.caught_up.is_empty() && self.on_time.is_empty()
    }
}

/// What is to be written, in one commit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Births {
    pub(crate) runs: Vec<Run>,
    pub(crate) replaces: Vec<RunId>,
    pub(crate) checkpoint: Timestamp,
    /// Dues after the checkpoint are owed still: they are decided when this is written.
    pub(crate) more: bool,
}

/// The unfinished runs that the overlap decision sees. Caught-up runs do not stand in each other's way, so the
/// late ones are judged without those that are late themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InTheWay {
    pub(crate) of_late: Unfinished,
    pub(crate) of_on_time: Unfinished,
}

/// Turns what a task owes into records. Ids rise in the order of the dues.
pub(crate) fn births(
    task: &Task,
    owed: Owed,
    in_the_way: InTheWay,
    now: Timestamp,
    mut next_id: impl FnMut() -> RunId,
) -> Births {
    let Owed { missed, caught_up, on_time, checkpoint, more } = owed;
    let mut born = Births { checkpoint, more, ..Births::default() };
    let mut unfinished = in_the_way.of_on_time;
    if let Some(missed) = missed {
        let when = When { due: missed.to, run_at: now };
        born.runs.push(record(next_id(), task, Trigger::CatchUp, when, RunState::Missed(missed), now));
    }
    if !caught_up.is_empty() {
        let decision = overlap::decide(task.spec.overlap, &in_the_way.of_late);
        for when in caught_up {
            let run = record(next_id(), task, Trigger::CatchUp, when, state_after(&decision), now);
            if run.state().is_waiting() {
                unfinished.waiting.push(run.id);
            }
            born.runs.push(run);
        }
        take_replaced(&mut born, decision);
    }
    for when in on_time {
        let decision = overlap::decide(task.spec.overlap, &unfinished);
        // A run born here cannot be replaced in the commit that bears it: the rest is decided after it.
        if matches!(decision, OverlapDecision::Replace(_)) && !born.runs.is_empty() {
            born.checkpoint = born.runs.last().map_or(born.checkpoint, |run| run.scheduled_for);
            born.more = true;
            break;
        }
        let run = record(next_id(), task, Trigger::Schedule, when, state_after(&decision), now);
        match &decision {
            OverlapDecision::Replace(_) => {
                unfinished = Unfinished { waiting: vec![run.id], ..Unfinished::default() };
            }
            OverlapDecision::Run if task.spec.overlap != Overlap::Allow => unfinished.waiting.push(run.id),
            OverlapDecision::Run | OverlapDecision::Skip(_) => {}
        }
        born.runs.push(run);
        take_replaced(&mut born, decision);
    }
    born
}

/// The record of a run that was not asked for by hand, just accepted.
fn record(id: RunId, task: &Task, trigger: Trigger, when: When, state: RunState, now: Timestamp) -> Run {
    Run {
        id,
        task: task.id,
        revision: task.revision,
        trigger,
        scheduled_for: when.due,
        run_at: when.run_at,
        accepted_at: now,
        life: Life::born(state),
        started_at: None,
        finished_at: state.is_terminal().then_some(now),
        forced: false,
        params: Value::Null,
        idempotency_key: None,
        trace: None,
        usage: None,
        restarts: Default::default(),
        outcome: None,
        saved: Value::Null,
        local: Value::Null,
        events: Default::default(),
    }
}

fn state_after(decision: &OverlapDecision) -> RunState {
    match decision {
        OverlapDecision::Run | OverlapDecision::Replace(_) => RunState::Queued,
        OverlapDecision::Skip(why) => RunState::Skipped { why: *why },
    }
}

fn take_replaced(born: &mut Births, decision: OverlapDecision) {
    if let OverlapDecision::Replace(runs) = decision {
        born.replaces.extend(runs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use punctual_model::overlap::SkipWhy;
    use punctual_model::state::MissedWhy;
    use punctual_model::{TaskId, TaskSpec, Work};

    const NOW: Timestamp = Timestamp::constant(1_000_000, 0);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id(n: u64) -> RunId {
        RunId::new(n).unwrap()
    }

    fn task(overlap: Overlap) -> Task {
        let spec = TaskSpec { overlap, ..TaskSpec::new("n", Work::shell("true")) };
        Task {
            id: TaskId::new(1).unwrap(),
            kind: Default::default(),
            revision: 3,
            created_at: at(0),
            updated_at: at(0),
            owner: Default::default(),
            metadata: Default::default(),
            spec,
        }
    }

    fn whens(dues: &[i64]) -> Vec<When> {
        dues.iter().map(|due| When { due: at(*due), run_at: at(*due) }).collect()
    }

    fn owed(caught_up: &[i64], on_time: &[i64]) -> Owed {
        let checkpoint = at(*on_time.last().or(caught_up.last()).unwrap());
        let (caught_up, on_time) = (whens(caught_up), whens(on_time));
        Owed { missed: None, caught_up, on_time, checkpoint, more: false }
    }

    fn one_at_work() -> InTheWay {
        let unfinished = Unfinished { begun: vec![id(7)], ..Unfinished::default() };
        InTheWay { of_late: unfinished.clone(), of_on_time: unfinished }
    }

    /// Births with ids from 100; what they are, in short.
    fn born(overlap: Overlap, owed: Owed, in_the_way: InTheWay) -> (Vec<String>, Births) {
        let mut last = 99;
        let births = births(&task(overlap), owed, in_the_way, NOW, || {
            last += 1;
            id(last)
        });
        let short = |run: &Run| {
            format!("{} {} {}", run.scheduled_for.as_second(), run.trigger.as_str(), run.state().name())
        };
        (births.runs.iter().map(short).collect(), births)
    }

    #[test]
    fn a_due_on_time_is_one_waiting_run_of_the_definition_that_is_current() {
        let (_, births) = born(Overlap::Allow, owed(&[], &[10]), InTheWay::default());
        let [run] = &births.runs[..] else { panic!("{births:?}") };
        assert_eq!((run.scheduled_for, run.run_at, run.accepted_at), (at(10), at(10), NOW));
        assert_eq!((run.revision, run.state(), run.finished_at), (3, RunState::Queued, None));
        assert_eq!(births.checkpoint, at(10));
    }

    #[test]
    fn missed_late_and_punctual_dues_are_born_in_order() {
        let why = MissedWhy::OverLimit;
        let missed = Missed { from: at(1), to: at(3), count: 3, at_least: false, why };
        let all = Owed { missed: Some(missed), ..owed(&[4, 5], &[6]) };
        let (short, births) = born(Overlap::Allow, all, InTheWay::default());
        assert_eq!(
            short,
            ["3 catch_up missed", "4 catch_up queued", "5 catch_up queued", "6 schedule queued"]
        );
        assert_eq!(births.runs[0].finished_at, Some(NOW));
        assert!(births.runs.is_sorted_by_key(|run| run.id));
    }

    #[test]
    fn caught_up_runs_do_not_skip_each_other_but_later_dues_see_them() {
        let (short, _) = born(Overlap::Skip, owed(&[1, 2], &[3]), InTheWay::default());
        assert_eq!(short, ["1 catch_up queued", "2 catch_up queued", "3 schedule skipped"]);
        let (short, _) = born(Overlap::Skip, owed(&[1, 2], &[3]), one_at_work());
        assert_eq!(short, ["1 catch_up skipped", "2 catch_up skipped", "3 schedule skipped"]);
    }

    #[test]
    fn dues_seen_together_overlap_each_other_as_if_they_had_been_seen_apart() {
        let (short, births) = born(Overlap::Skip, owed(&[], &[1, 2]), InTheWay::default());
        assert_eq!(short, ["1 schedule queued", "2 schedule skipped"]);
        let why = SkipWhy::Unfinished(births.runs[0].id);
        assert_eq!(births.runs[1].state(), RunState::Skipped { why });
        let (short, _) = born(Overlap::QueueAll { max: 2 }, owed(&[], &[1, 2, 3]), one_at_work());
        assert_eq!(short, ["1 schedule queued", "2 schedule queued", "3 schedule skipped"]);
        let (short, _) = born(Overlap::Allow, owed(&[], &[1, 2]), one_at_work());
        assert_eq!(short, ["1 schedule queued", "2 schedule queued"]);
    }

    fn overlap() -> impl Strategy<Value = Overlap> {
        prop_oneof![
            Just(Overlap::Allow),
            Just(Overlap::Skip),
            Just(Overlap::QueueOne),
            (1..4u32).prop_map(|max| Overlap::QueueAll { max }),
            Just(Overlap::Replace),
        ]
    }

    proptest! {
        /// Deciding until nothing is owed any more gives each due exactly one record, in order, under every
        /// policy and with anything in the way.
        #[test]
        fn each_owed_due_gets_one_record(
            overlap in overlap(), late in 0..5i64, in_time in 0..5i64, begun in 0..2u64, waiting in 0..4u64,
        ) {
            let unfinished = || Unfinished {
                begun: (0..begun).map(|n| id(1 + n)).collect(),
                waiting: (0..waiting).map(|n| id(10 + n)).collect(),
                more_waiting: 0,
            };
            let mut dues = (1..=late).collect::<Vec<_>>();
            let mut later = (late + 1..=late + in_time).collect::<Vec<_>>();
            let (mut seen, mut last) = (Vec::new(), 99);
            while !dues.is_empty() || !later.is_empty() {
                let way = InTheWay { of_late: unfinished(), of_on_time: unfinished() };
                let owed = owed(&dues, &later);
                let newest = owed.checkpoint;
                let births = births(&task(overlap), owed, way, NOW, || {
                    last += 1;
                    id(last)
                });
                prop_assert_eq!(births.more, births.checkpoint < newest);
                seen.extend(births.runs.iter().map(|run| run.scheduled_for.as_second()));
                prop_assert_eq!(births.runs.last().map(|run| run.scheduled_for), Some(births.checkpoint));
                dues.retain(|due| at(*due) > births.checkpoint);
                later.retain(|due| at(*due) > births.checkpoint);
            }
            prop_assert_eq!(seen, (1..=late + in_time).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_replacement_is_decided_one_commit_at_a_time() {
        let (short, births) = born(Overlap::Replace, owed(&[], &[1, 2, 3]), one_at_work());
        assert_eq!(short, ["1 schedule queued"]);
        assert_eq!((births.replaces, births.checkpoint, births.more), (vec![id(7)], at(1), true));
        let (short, births) = born(Overlap::Replace, owed(&[], &[3]), one_at_work());
        assert_eq!(short, ["3 schedule queued"]);
        assert_eq!((births.replaces, births.checkpoint, births.more), (vec![id(7)], at(3), false));
        let (short, births) = born(Overlap::Replace, owed(&[1, 2], &[3]), one_at_work());
        assert_eq!(short, ["1 catch_up queued", "2 catch_up queued"]);
        assert_eq!((births.replaces, births.checkpoint, births.more), (vec![id(7)], at(2), true));
    }
}
