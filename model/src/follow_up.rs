//! What a task has done when a run of it went wrong, or well again: `on_failure` and `on_recovered`.
//!
//! Each is a run of its own, a follow-up, born in the same commit as the end that caused it. Here stands what such a
//! run is made of; the store decides when one is born, the executor lives it like any other. It is about its task and
//! no work of it: it counts for no limit, no overlap, no progress, and causes no follow-up itself.

use crate::hook::{Call, Hooks};
use crate::id::RunId;
use crate::number::Decimal;
use crate::outcome::{Exit, Failure};
use crate::process::ProcessContext;
use crate::restart::{Backoff, RestartPolicy};
use crate::run::{Run, Trigger};
use crate::state::{Life, RunState};
use crate::task::{Kill, Output, Task, TaskSpec};
use crate::work::Work;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// Longest time one attempt of a follow-up may take: it tells somebody something; what takes longer is work, and
/// belongs into a task.
pub const TIMEOUT: Duration = Duration::from_secs(300);
/// Further attempts of a follow-up that fails: whoever is to be told may be away for a quarter of an hour.
pub const RESTARTS: u32 = 5;
/// Pause before the first of them.
pub const DELAY: Duration = Duration::from_secs(10);
/// Longest pause between them; each is three times the one before it until then.
pub const MAX_DELAY: Duration = Duration::from_secs(600);
/// In how much time they are counted: longer than all pauses together.
const INTERVAL: Duration = Duration::from_secs(3600);
/// Most bytes of output kept of a follow-up: enough to see why it could not tell anybody.
pub const MAX_OUTPUT: u64 = 256 << 10;
/// Longest text about the cause, in bytes: it goes into an environment and often into a message for people.
pub const MAX_ERROR: usize = 1024;

/// What the parameters about the cause begin with. They lie over the cause's own parameters.
pub const CAUSE: &str = "cause_";

impl Trigger {
    /// The run that this one follows up, if it is a follow-up.
    #[must_use]
    pub fn follows(self) -> Option<RunId> {
        match self {
            Self::OnFailure { of } | Self::OnRecovered { of } => Some(of),
            Self::Schedule | Self::CatchUp | Self::Manual | Self::Retry { .. } | Self::Resume { .. } => None,
        }
    }
}

impl TaskSpec {
    /// What a follow-up of this kind does; none for other runs, and where the definition says nothing (any more).
    #[must_use]
    pub fn call_of(&self, trigger: Trigger) -> Option<&Call> {
        match trigger {
            Trigger::OnFailure { .. } => self.on_failure.as_ref(),
            Trigger::OnRecovered { .. } => self.on_recovered.as_ref(),
            _ => None,
        }
    }
}

impl Run {
    /// The follow-up of a run that has ended just now, which is the `failures`th bad end in a row, or the good one
    /// after so many.
    #[must_use]
    pub fn follow_up(
        id: RunId,
        cause: &Self,
        trigger: Trigger,
        revision: u64,
        failures: u32,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            task: cause.task,
            revision,
            trigger,
            scheduled_for: cause.scheduled_for,
            run_at: at,
            accepted_at: at,
            life: Life::born(RunState::Queued),
            started_at: None,
            finished_at: None,
            forced: false,
            params: Value::Object(about(cause, failures)),
            idempotency_key: None,
            trace: cause.trace,
            restarts: Default::default(),
            outcome: None,
            usage: None,
            saved: Value::Null,
            local: Value::Null,
            events: Default::default(),
        }
    }

    /// Why it did not end well, in words; none if it did, or has not ended.
    #[must_use]
    pub fn error_text(&self) -> Option<String> {
        if !self.state().is_terminal() || self.state() == RunState::Succeeded {
            return None;
        }
        let outcome = self.outcome.as_ref();
        let failure =
            outcome.and_then(|outcome| outcome.error.as_ref()).map(|failure| failure.message.clone());
        let exit = || outcome.and_then(|outcome| outcome.exit).map(|exit| exit.to_string());
        let reason = self.state().reason();
        // What a run was ended for says more than how its work took that.
        if self.state().is_failure() { failure.or_else(exit).or(reason) } else { reason.or(failure) }
    }
}

/// The parameters of a follow-up: those of its cause, and what became of that.
fn about(cause: &Run, failures: u32) -> Map<String, Value> {
    let mut params = match &cause.params {
        Value::Object(own) => own.clone(),
        _ => Map::new(),
    };
    params.retain(|name, _| !name.starts_with(CAUSE));
    let mut set = |name: &str, value: Value| drop(params.insert(format!("{CAUSE}{name}"), value));
    set("run", cause.id.to_string().into());
    set("state", cause.state().name().as_str().into());
    set("trigger", cause.trigger.as_str().into());
    set("attempts", cause.life.attempt.into());
    set("failures", failures.into());
    match cause.outcome.as_ref().and_then(|outcome| outcome.exit) {
        Some(Exit::Code(code)) => set("exit_code", code.into()),
        Some(Exit::Signal(signal)) => set("exit_signal", signal.into()),
        None => {}
    }
    // Always there, so that a place for it can always be filled.
    let error = cause.error_text().unwrap_or_default().replace('\0', "");
    set("error", Failure::cut(error, MAX_ERROR).into());
    params
}

impl Task {
    /// The definition as this run is made by it: the task's own, or what a follow-up does instead. Asked twice it
    /// answers the same.
    #[must_use]
    pub fn of_run(self: Arc<Self>, run: &Run) -> Arc<Self> {
        if run.trigger.follows().is_none() {
            return self;
        }
        let mut task = Arc::unwrap_or_clone(self);
        let spec = &mut task.spec;
        let work = match spec.call_of(run.trigger) {
            Some(Call::Http(call)) => Work::Http(call.clone()),
            Some(Call::Command(argv)) => {
                Work::Process { argv: argv.clone(), context: surroundings(&spec.work) }
            }
            // Nobody wants to hear of it any more. What has no program fails at its start, and says so.
            None => Work::Process { argv: Vec::new(), context: ProcessContext::default() },
        };
        spec.work = work;
        spec.timeout = Some(TIMEOUT);
        spec.restart = restart();
        // Told twice is better than not at all.
        spec.idempotent = true;
        spec.kill = Kill::default();
        spec.max_output = MAX_OUTPUT;
        spec.output = Output::default();
        spec.hooks = Hooks::default();
        spec.artifacts = Vec::new();
        spec.shutdown_delay = Duration::ZERO;
        spec.stats_every = None;
        Arc::new(task)
    }
}

/// What a command has of the surroundings of the task's work: its variables, since they often say how to reach
/// somebody. Neither its directory nor its user: that these are not there may be what is to be told.
fn surroundings(work: &Work) -> ProcessContext {
    let Some(context) = work.context() else { return ProcessContext::default() };
    ProcessContext {
        env: context.env.clone(),
        inherit_env: context.inherit_env.clone(),
        ..ProcessContext::default()
    }
}

fn restart() -> RestartPolicy {
    RestartPolicy {
        interval: INTERVAL,
        backoff: Some(Backoff { factor: Decimal::thousandths(3000), max: MAX_DELAY }),
        ..RestartPolicy::attempts(RESTARTS, DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::HttpCall;
    use crate::outcome::{FailureKind, Outcome};
    use crate::task::{Owner, TaskType};
    use crate::validate;
    use crate::{RunId, TaskId};
    use serde_json::json;

    const NOON: Timestamp = Timestamp::constant(1_767_268_800, 0);

    fn id(number: u64) -> RunId {
        RunId::new(number).unwrap()
    }

    fn cause() -> Run {
        Run {
            id: id(1),
            task: TaskId::new(3).unwrap(),
            revision: 1,
            trigger: Trigger::Schedule,
            scheduled_for: NOON,
            run_at: NOON,
            accepted_at: NOON,
            life: Life { state: RunState::Failed, attempt: 2, epoch: 1 },
            started_at: None,
            finished_at: None,
            forced: false,
            params: json!({"region": "eu", "cause_run": "forged"}),
            idempotency_key: None,
            trace: None,
            usage: None,
            restarts: Default::default(),
            outcome: Some(Outcome {
                exit: Some(Exit::Code(3)),
                error: Some(Failure::new(FailureKind::Work, "é".repeat(3000))),
                ..Outcome::default()
            }),
            saved: Value::Null,
            local: Value::Null,
            events: Default::default(),
        }
    }

    fn task() -> Arc<Task> {
        let mut spec = TaskSpec::new("copy", Work::process(["cp", "a", "b"]));
        spec.on_failure = Some(Call::Command(vec!["tell".into(), "them".into()]));
        spec.hooks.stop = vec![crate::hook::UserHook::new("n", Call::Command(vec!["x".into()]))];
        if let Work::Process { context, .. } = &mut spec.work {
            context.env.insert("TOKEN".into(), "t".into());
            context.cwd = Some("/nowhere".into());
            context.user = Some("nobody".into());
        }
        Arc::new(Task {
            id: TaskId::new(3).unwrap(),
            kind: TaskType::default(),
            revision: 4,
            created_at: NOON,
            updated_at: NOON,
            owner: Owner::Local,
            metadata: Default::default(),
            spec,
        })
    }

    #[test]
    fn a_follow_up_knows_its_cause_and_what_that_knew() {
        let cause = cause();
        let run = Run::follow_up(id(9), &cause, Trigger::OnFailure { of: cause.id }, 4, 2, NOON);
        let Value::Object(params) = &run.params else { panic!("{:?}", run.params) };
        let error = params["cause_error"].as_str().unwrap();
        assert!(error.len() <= MAX_ERROR && error.ends_with('…'));
        let mut rest = params.clone();
        rest.remove("cause_error");
        assert_eq!(
            Value::Object(rest),
            json!({"region": "eu", "cause_run": cause.id.to_string(), "cause_state": "failed",
                "cause_trigger": "schedule", "cause_attempts": 2, "cause_failures": 2, "cause_exit_code": 3})
        );
        assert_eq!(
            (run.scheduled_for, run.state(), run.trigger.follows()),
            (NOON, RunState::Queued, Some(cause.id))
        );
    }

    #[test]
    fn its_definition_is_the_call_and_nothing_that_the_work_needs() {
        let cause = cause();
        let run = Run::follow_up(id(9), &cause, Trigger::OnFailure { of: cause.id }, 4, 1, NOON);
        let made = task().of_run(&run);
        let Work::Process { argv, context } = &made.spec.work else { panic!() };
        assert_eq!(argv, &["tell", "them"]);
        assert_eq!((context.env["TOKEN"].as_str(), &context.cwd, &context.user), ("t", &None, &None));
        assert!(made.spec.hooks.is_empty() && made.spec.idempotent);
        assert_eq!(Arc::clone(&made).of_run(&run), made, "asked twice it answers the same");
        let problems = validate::task(&made.spec);
        assert!(problems.as_slice().is_empty(), "{problems}");
        let other = task();
        assert!(Arc::ptr_eq(&Arc::clone(&other).of_run(&cause), &other), "other runs have the task's own");
    }

    #[test]
    fn a_call_that_is_a_request_becomes_that_and_one_that_is_gone_is_none() {
        let cause = cause();
        let run = |trigger| Run::follow_up(id(9), &cause, trigger, 4, 1, NOON);
        let mut task = Task::clone(&task());
        task.spec.on_recovered = Some(Call::Http(HttpCall::get("https://example.org/well")));
        let task = Arc::new(task);
        let recovered = Arc::clone(&task).of_run(&run(Trigger::OnRecovered { of: cause.id }));
        assert_eq!(recovered.spec.work.driver(), "http");
        let mut silent = Task::clone(&task);
        silent.spec.on_recovered = None;
        let silent = Arc::new(silent).of_run(&run(Trigger::OnRecovered { of: cause.id }));
        assert_eq!(silent.spec.work, Work::process(Vec::<String>::new()), "never the task's own work");
    }
}
