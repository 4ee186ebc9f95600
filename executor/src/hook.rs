//! What happens around the work of an attempt: a hook is asked before the start, after it, before a kill, after
//! the exit, when the definition changes, and once when the run has ended.
//!
//! A hook is made anew for each attempt; what it must know again it stores ([`Prestarted::state`]). Every phase
//! may come twice, since a crash can come at any point: hooks are idempotent. The pipeline decides when a phase
//! comes; a hook decides only about itself.

use crate::driver::{Attempt, RunSink};
use async_trait::async_trait;
use punctual_clock::Clock;
use punctual_model::{Failure, Outcome, RunState, StopWhy, Task};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Makes the hooks of attempts.
pub trait MakeHook: Send + Sync {
    /// Adds the hooks of an attempt by this definition, in the order in which they come before its start; nothing
    /// where there is nothing to do. Asked for every attempt, so it is cheap and touches nothing.
    fn make(&self, task: &Task, hooks: &mut Vec<Box<dyn Hook>>);
}

/// What was made ready for the work, by all hooks that came before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// Variables for the work's environment; they win over the task's own.
    pub env: BTreeMap<String, String>,
    /// The directory the work runs in unless its task names one.
    pub work_dir: Option<PathBuf>,
}

/// What a hook did before the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Prestarted {
    /// Variables for the work's environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The directory the work is to run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<PathBuf>,
    /// What the hook is given back in every later phase, also after a restart of the node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub state: BTreeMap<String, String>,
    /// Whether it need not be asked again before later attempts of the run; what it gave holds for those too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}

/// What a hook is told in every phase.
#[derive(Clone)]
pub struct Around {
    /// The attempt, with what was made ready so far.
    pub attempt: Attempt,
    /// Where output and events go.
    pub sink: Arc<dyn RunSink>,
    /// The clock to wait on.
    pub clock: Arc<dyn Clock>,
    /// What the hook has stored before.
    pub state: BTreeMap<String, String>,
    /// Whether the work was found alive by a later session.
    pub reattached: bool,
}

/// What went wrong with a hook after the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookError {
    /// For people.
    pub text: String,
    /// Whether the attempt fails by it, as one that could go better another time. Heeded after the start, which
    /// then ends the work, and after the exit; everywhere else the attempt is being ended anyway.
    pub fails_attempt: bool,
}

impl From<String> for HookError {
    fn from(text: String) -> Self {
        Self { text, fails_attempt: false }
    }
}

/// How a run went out, for its stop hooks.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The state it ends in.
    pub state: RunState,
    /// The end of its last attempt.
    pub outcome: Outcome,
}

/// What [`Hook::patience`] is by default: a call to another system with its tries fits in, and a hook that hangs does not hold
/// the run for ever.
const PATIENCE: Duration = Duration::from_secs(300);

/// One hook of one attempt. All phases but [`Self::prestart`] go on with the other hooks when one fails; each
/// failure is an event of the run. Each phase may be dropped at any await: the run is to stop, the node stops,
/// or it took longer than a hook may.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Its name, the only one among the hooks of an attempt; what it stores is kept under it.
    fn name(&self) -> &str;

    /// The longest it may take in a phase after the start, before it is cut off. What comes before the start has the
    /// attempt's own timeout.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// Before each start, in order. The first failure ends the attempt without a start; whether another one
    /// could go better stands in the failure.
    async fn prestart(&self, _around: &Around) -> Result<Prestarted, Failure> {
        Ok(Prestarted::default())
    }

    /// Once the work lives, also when it was found alive.
    async fn poststart(&self, _around: &Around) -> Result<(), HookError> {
        Ok(())
    }

    /// Before the work is asked to end. Never for work that goes on without us.
    async fn prekill(&self, _around: &Around, _why: Option<StopWhy>) -> Result<(), HookError> {
        Ok(())
    }

    /// After each exit of work that had started.
    async fn exited(&self, _around: &Around, _outcome: &Outcome) -> Result<(), HookError> {
        Ok(())
    }

    /// The definition has changed while the work is alive. Never two at once; only the newest counts.
    async fn update(&self, _around: &Around, _newest: &Arc<Task>) -> Result<(), HookError> {
        Ok(())
    }

    /// The run has ended: at least once for every run that had begun an attempt, also after a failure before the
    /// start, also when an earlier session died. Never for a run that goes on.
    async fn stop(&self, _around: &Around, _ending: &Ending) -> Result<(), HookError> {
        Ok(())
    }
}
