//! The attempt with which the drivers are tested: the third one of a run by hand that asks for nothing special.

use crate::driver::Attempt;
use jiff::Timestamp;
use punctual_model::run::Trigger;
use punctual_model::{Life, Owner, Run, RunId, RunState, Task, TaskId, TaskSpec, TaskType, Work};
use serde_json::Value;
use std::sync::Arc;

/// When everything about it happened.
pub(super) const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// An attempt at this work, of run `abc`.
pub(super) fn attempt(work: Work, params: Value, saved: Value) -> Attempt {
    let task = Task {
        id: TaskId::new(1).unwrap(),
        kind: TaskType::default(),
        revision: 1,
        created_at: START,
        updated_at: START,
        owner: Owner::default(),
        metadata: serde_json::Map::new(),
        spec: TaskSpec::new("it", work),
    };
    let run = Run {
        id: RunId::new(0xabc).unwrap(),
        task: task.id,
        revision: 1,
        trigger: Trigger::Manual,
        scheduled_for: START,
        run_at: START,
        accepted_at: START,
        life: Life { state: RunState::Starting, attempt: 3, epoch: 1 },
        started_at: Some(START),
        finished_at: None,
        forced: false,
        params,
        idempotency_key: None,
        trace: None,
        usage: None,
        restarts: Default::default(),
        outcome: None,
        saved,
        local: Value::Null,
        events: Default::default(),
    };
    Attempt::new(Arc::new(run), Arc::new(task))
}
