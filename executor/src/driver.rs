//! What starts and watches one kind of work.

use crate::hook::Setup;
use crate::output::Outputs;
use async_trait::async_trait;
use jiff::Timestamp;
use punctual_model::event::EventKind;
use punctual_model::{Failure, Outcome, Run, Task, Usage};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// One attempt of a run, with everything a driver needs; it asks nothing upward.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The run, in `Starting`, with its attempt and epoch.
    pub run: Arc<Run>,
    /// The definition it is run by.
    pub task: Arc<Task>,
    /// What hooks have made ready for it; none where there was nothing to make.
    pub setup: Option<Arc<Setup>>,
}

impl Attempt {
    /// An attempt for which nothing was made ready. A follow-up is made by its own part of the definition.
    #[must_use]
    pub fn new(run: Arc<Run>, task: Arc<Task>) -> Self {
        let task = task.of_run(&run);
        Self { run, task, setup: None }
    }
}

/// What kind of seat an attempt takes; each kind has a limit of its own, so that neither blocks the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Work inside this process: cheap, many at once.
    InProcess,
    /// Work in processes of its own: each costs memory and processor time that we do not see.
    Process,
}

/// How work went that was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Killed {
    /// By itself, within the grace.
    ByItself,
    /// By force.
    ByForce,
}

/// Starts one kind of work.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The name tasks use.
    fn name(&self) -> &'static str;

    /// Which seats its attempts take.
    fn class(&self) -> Class {
        Class::InProcess
    }

    /// Starts an attempt. Returns once the work lives, or says why it does not. Dropped before it returned, which is
    /// how a hanging start is stopped, it leaves nothing alive that [`Self::recover`] does not find.
    async fn start(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Result<Box<dyn Handle>, Failure>;

    /// Looks for an attempt of an earlier session, or for one whose start was dropped, and goes on watching it if that
    /// can be. Whatever of it lives and cannot be watched is ended before this returns.
    async fn recover(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Recovered;
}

/// What [`Driver::recover`] has found.
pub enum Recovered {
    /// It lives, or its end was kept.
    Found(Box<dyn Handle>),
    /// It has begun, or may have; nothing of it lives, and nobody saw how it ended.
    Ended,
    /// Nothing. A start that was dropped had begun nothing; of an earlier session's attempt that says nothing.
    Nothing,
}

impl Recovered {
    /// What is to be watched from now on, if there is anything.
    #[must_use]
    pub fn handle(self) -> Option<Box<dyn Handle>> {
        match self {
            Self::Found(handle) => Some(handle),
            Self::Ended | Self::Nothing => None,
        }
    }
}

/// Work that lives.
#[async_trait]
pub trait Handle: Send + Sync {
    /// Waits for its end. Cancel-safe, and answers the same whenever it is asked.
    async fn wait(&self) -> Outcome;

    /// Asks it to end: the polite signal at once, after the grace the impolite one for all of it. Returns when
    /// nothing of it lives, and how it went, or says what could not be ended. A second call while the first one
    /// waits, with a shorter grace, shortens it.
    async fn kill(&self, signal: &str, grace: Duration) -> Result<Killed, String>;

    /// Sends a signal.
    async fn signal(&self, signal: &str) -> Result<(), String>;

    /// The definition has changed. Its timeout and the way it is killed hold at once, also while no daemon is there:
    /// whoever keeps the work by itself is to know them.
    fn changed(&self, _newest: &Task) {}

    /// Whether it goes on by itself when it is left alone. What does is not waited for when the node stops.
    fn goes_on(&self) -> bool {
        false
    }

    /// Leaves it alone, because the node stops. `true` if it goes on by itself and can be recovered later.
    async fn detach(&self) -> bool;

    /// What the work takes of the machine at this moment; none where that cannot be seen.
    async fn stats(&self) -> Option<Usage> {
        None
    }

    /// What more is known of the end that [`Self::wait`] has answered.
    fn seen(&self) -> Seen {
        Seen::default()
    }

    /// The end is recorded: whatever was kept so that a later session could find it may go. A handle that is
    /// dropped without this leaves its work, or the end of it, to be recovered.
    fn recorded(&self) {}
}

/// What is known of an end besides its outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it was, where that is known better than by the moment at which we heard of it.
    pub at: Option<Timestamp>,
    /// Nobody saw it; all that is known is that nothing of it lives.
    pub lost: bool,
    /// The kernel killed something of it at its limit of memory.
    pub out_of_memory: bool,
}

/// Where an attempt's words go while it lives.
pub trait RunSink: Send + Sync {
    /// Output, exact bytes, in order. Returns once it is taken; a full disk is an event of the run.
    fn output(&self, stream: Stream, bytes: &[u8]);

    /// Something worth telling; the sink puts the time to it.
    fn event(&self, what: EventKind);

    /// What the work wants to find again in a later attempt or a resume.
    fn save(&self, state: Value);

    /// Where a driver may write output past this sink, because its work outlives the process that the sink is in:
    /// outputs on a disk. None if there is no such place, and everything has to come through here.
    fn outputs(&self) -> Option<Outputs> {
        None
    }
}

/// Which output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What a handler logs, and what the engine itself adds.
    Log,
}

impl Stream {
    /// The name as it is written everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log => "log",
        }
    }

    /// The stream with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr, Self::Log].into_iter().find(|stream| stream.as_str() == text)
    }
}
