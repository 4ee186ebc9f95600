//! A hook that writes down what it is asked, and does in each phase what a test wants of it.

use super::bench::Bench;
use crate::hook::{Around, Ending, Hook, HookError, MakeHook, Prestarted};
use async_trait::async_trait;
use punctual_model::{Failure, FailureKind, Outcome, StopWhy, Task, TaskSpec, Work};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a hook does in a phase, instead of nothing.
#[derive(Debug, Clone)]
pub(super) enum Does {
    /// Fails; before the start for good.
    Fail,
    /// Fails, and with it the attempt, which could go better another time.
    FailAttempt,
    /// Takes so long.
    Take(Duration),
    /// Never returns.
    Hang,
    Panic,
    /// Is done before the start, once for all attempts, with a variable for the work.
    Done,
    /// Stores this and is asked again.
    Store(&'static str),
}

pub(super) type Log = Arc<Mutex<Vec<String>>>;

/// A hook that writes down what it is asked.
#[derive(Clone)]
pub(super) struct Recorder {
    name: &'static str,
    log: Log,
    does: Arc<Mutex<BTreeMap<&'static str, Does>>>,
}

impl Recorder {
    pub(super) fn new(name: &'static str, log: &Log) -> Self {
        Self { name, log: Arc::clone(log), does: Arc::default() }
    }

    pub(super) fn does(self, phase: &'static str, what: Does) -> Self {
        self.does.lock().unwrap().insert(phase, what);
        self
    }

    pub(super) fn note(&self, text: String) {
        self.log.lock().unwrap().push(text);
    }

    async fn act(&self, around: &Around, phase: &'static str, about: String) -> Result<(), HookError> {
        let about = if about.is_empty() { about } else { format!(" {about}") };
        let again = if around.reattached { " reattached" } else { "" };
        self.note(format!("{} {phase}{about}{again}", self.name));
        let does = self.does.lock().unwrap().get(phase).cloned();
        match does {
            Some(Does::Fail) => return Err("broken".to_owned().into()),
            Some(Does::FailAttempt) => {
                return Err(HookError { text: "broken".to_owned(), fails_attempt: true });
            }
            Some(Does::Take(time)) => {
                around.clock.sleep(time).await;
                self.note(format!("{} {phase} over", self.name));
            }
            Some(Does::Hang) => std::future::pending().await,
            Some(Does::Panic) => panic!("scripted panic of a hook"),
            Some(Does::Done | Does::Store(_)) | None => {}
        }
        Ok(())
    }
}

impl MakeHook for Recorder {
    fn make(&self, _task: &Task, hooks: &mut Vec<Box<dyn Hook>>) {
        hooks.push(Box::new(self.clone()));
    }
}

#[async_trait]
impl Hook for Recorder {
    fn name(&self) -> &str {
        self.name
    }

    async fn prestart(&self, around: &Around) -> Result<Prestarted, Failure> {
        let known = around.state.get("key").cloned().unwrap_or_default();
        self.act(around, "prestart", known).await.map_err(|error| {
            let failure = Failure::new(FailureKind::Start, error.text);
            if error.fails_attempt { failure.recoverable() } else { failure }
        })?;
        let does = self.does.lock().unwrap().get("prestart").cloned();
        let map = |value: &str| BTreeMap::from([("key".to_owned(), value.to_owned())]);
        Ok(match does {
            Some(Does::Done) => Prestarted { env: map(self.name), done: true, ..Prestarted::default() },
            Some(Does::Store(value)) => Prestarted { state: map(value), ..Prestarted::default() },
            _ => Prestarted::default(),
        })
    }

    async fn poststart(&self, around: &Around) -> Result<(), HookError> {
        self.act(around, "poststart", String::new()).await
    }

    async fn prekill(&self, around: &Around, why: Option<StopWhy>) -> Result<(), HookError> {
        self.act(around, "prekill", format!("{why:?}")).await
    }

    async fn exited(&self, around: &Around, outcome: &Outcome) -> Result<(), HookError> {
        let how = if outcome.is_success() { "well" } else { "badly" };
        self.act(around, "exited", how.to_owned()).await
    }

    async fn update(&self, around: &Around, newest: &Arc<Task>) -> Result<(), HookError> {
        self.act(around, "update", newest.revision.to_string()).await
    }

    async fn stop(&self, around: &Around, ending: &Ending) -> Result<(), HookError> {
        let known = around.state.get("key").cloned().unwrap_or_default();
        let state = ending.state.name();
        self.act(around, "stop", format!("{}{known}", state.as_str())).await
    }
}

pub(super) fn makers(hooks: impl IntoIterator<Item = Recorder>) -> Vec<Arc<dyn MakeHook>> {
    hooks.into_iter().map(|hook| Arc::new(hook) as Arc<dyn MakeHook>).collect()
}

/// A node with one recording hook.
pub(super) async fn with(does: impl IntoIterator<Item = (&'static str, Does)>) -> (Bench, Log) {
    let log = Log::default();
    let hook = does.into_iter().fold(Recorder::new("a", &log), |hook, (phase, what)| hook.does(phase, what));
    (Bench::hooked(makers([hook])).await, log)
}

pub(super) fn told(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

pub(super) fn spec() -> TaskSpec {
    TaskSpec::new("report", Work::handler("report"))
}
