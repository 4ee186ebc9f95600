//! The hooks of one attempt, and how one phase of them is asked: each guarded against its own panic, none for
//! longer than it may take, every failure an event of the run.

use super::local::Local;
use super::{Life, Sink};
use crate::driver::{Attempt, RunSink};
use crate::engine::Engine;
use crate::guard::guarded;
use crate::hook::{Around, Ending, Hook, HookError, Setup};
use crate::working::Orders;
use punctual_model::{Failure, FailureKind, Outcome, StopWhy, Task};
use std::sync::Arc;
use std::time::Duration;

/// The longest that all hooks of one phase may take together when the node stops: three phases and the grace of the
/// work fit into the patience of the stop.
const HURRIED: Duration = Duration::from_secs(5);

/// The hooks of one attempt, in order.
pub(super) struct Hooks {
    pub(super) list: Vec<Box<dyn Hook>>,
    pub(super) local: Local,
}

impl Hooks {
    /// Those that have anything to do for an attempt; none if no hook has.
    pub(super) fn of(engine: &Engine, attempt: &Attempt) -> Option<Box<Self>> {
        // An empty vector takes no memory, and most attempts have no hooks.
        let mut list = Vec::new();
        engine.hooks.iter().for_each(|maker| maker.make(&attempt.task, &mut list));
        if list.is_empty() {
            return None;
        }
        Some(Box::new(Self { list, local: Local::restore(&attempt.run.local) }))
    }
}

impl Hooks {
    /// What all of them have made ready, in their order.
    pub(super) fn setup(&self) -> Option<Arc<Setup>> {
        let mut setup = Setup::default();
        for did in self.list.iter().filter_map(|hook| self.local.did(hook.name())) {
            setup.env.extend(did.env.clone());
            setup.work_dir = did.work_dir.clone().or(setup.work_dir);
        }
        (setup != Setup::default()).then(|| Arc::new(setup))
    }
}

/// A phase in which all hooks are asked, whatever becomes of the others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase<'a> {
    Poststart,
    Prekill(Option<StopWhy>),
    Exited(&'a Outcome),
    Update(&'a Arc<Task>),
    Stop(&'a Ending),
}

impl Phase<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Poststart => "poststart",
            Self::Prekill(_) => "prekill",
            Self::Exited(_) => "exited",
            Self::Update(_) => "update",
            Self::Stop(_) => "stop",
        }
    }

    /// What was made ready first is taken down last.
    fn goes_backwards(self) -> bool {
        matches!(self, Self::Prekill(_) | Self::Exited(_) | Self::Stop(_))
    }

    async fn ask(self, hook: &dyn Hook, around: &Around) -> Result<(), HookError> {
        match self {
            Self::Poststart => hook.poststart(around).await,
            Self::Prekill(why) => hook.prekill(around, why).await,
            Self::Exited(outcome) => hook.exited(around, outcome).await,
            Self::Update(newest) => hook.update(around, newest).await,
            Self::Stop(ending) => hook.stop(around, ending).await,
        }
    }
}

/// Asks all hooks of an attempt; answers the first failure by which the attempt is to fail.
pub(super) async fn all(life: &Life, hooks: &Hooks, phase: Phase<'_>) -> Option<Failure> {
    let mut fails = None;
    let count = hooks.list.len();
    let mut hurried_since = None;
    for number in 0..count {
        let number = if phase.goes_backwards() { count - 1 - number } else { number };
        let hook = &*hooks.list[number];
        let around = around(life, hooks, hook);
        let asked = tokio::select! {
            biased;
            asked = guarded(phase.ask(hook, &around)) => asked.unwrap_or_else(panicked),
            text = too_long(life, hook.patience(), &mut hurried_since) => Err(text.into()),
        };
        if let Err(error) = asked {
            if error.fails_attempt && fails.is_none() {
                fails = Some(failure(hook, FailureKind::Start, &error.text).recoverable());
            }
            failed(life, hook, phase.name(), error.text);
        }
    }
    fails
}

fn panicked(panic: String) -> Result<(), HookError> {
    Err(format!("panicked: {panic}").into())
}

/// How an attempt fails by a hook.
pub(super) fn failure(hook: &dyn Hook, kind: FailureKind, text: &str) -> Failure {
    Failure::new(kind, format!("hook {}: {text}", hook.name()))
}

/// What a hook is told.
pub(super) fn around(life: &Life, hooks: &Hooks, hook: &dyn Hook) -> Around {
    Around {
        attempt: life.attempt.clone(),
        sink: Arc::<Sink>::clone(&life.sink) as Arc<dyn RunSink>,
        clock: Arc::clone(&life.engine.clock),
        state: hooks.local.state(hook.name()),
        reattached: life.reattached,
    }
}

/// A hook has failed: nobody is to overlook that.
pub(super) fn failed(life: &Life, hook: &dyn Hook, phase: &'static str, error: String) {
    tracing::warn!(hook = hook.name(), phase, error, "a hook failed");
    life.engine.counting.change(|counters| counters.hooks_failed += 1);
    life.sink.hook_failed(hook.name(), phase, error);
}

/// Returns, with words, when a hook has taken longer than it may.
async fn too_long(life: &Life, longest: Duration, hurried_since: &mut Option<Duration>) -> String {
    let patience = life.engine.clock.sleep(longest);
    tokio::select! {
        biased;
        orders = life.working.until(Orders::in_a_hurry) => {
            // Nothing can be recorded any more: not even that it was cut.
            if !orders.abandon {
                let clock = &life.engine.clock;
                let since = *hurried_since.get_or_insert(clock.monotonic());
                let spent = clock.monotonic().saturating_sub(since);
                clock.sleep(HURRIED.saturating_sub(spent)).await;
            }
            "was cut short by the stop of the node".to_owned()
        }
        () = patience => format!("took longer than {}", punctual_model::duration::format(longest)),
    }
}
