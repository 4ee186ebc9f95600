//! The hooks that the user of a task wrote: a command or an HTTP request per phase, each with its own timeout.

use super::{Means, command, environment};
use crate::drivers::process;
use crate::hook::{Around, Ending, Hook, HookError, MakeHook, Prestarted};
use async_trait::async_trait;
use punctual_model::event::EventKind;
use punctual_model::hook::{Call, HookPhase, HttpCall, OnHookError, UserHook};
use punctual_model::{Exit, Failure, FailureKind, Outcome, StopWhy, Task, duration};
use std::time::Duration;

/// What the end of a hook's own timeout needs before the general one may cut it.
const SLACK: Duration = Duration::from_secs(10);

/// Makes them.
pub(super) struct MakeUserHooks(pub(super) Means);

impl MakeHook for MakeUserHooks {
    fn make(&self, task: &Task, hooks: &mut Vec<Box<dyn Hook>>) {
        let defined = &task.spec.hooks;
        let mut add = |phase: HookPhase, hook: &UserHook| {
            hooks.push(Box::new(User { phase, hook: hook.clone(), means: self.0.clone() }));
        };
        for phase in [HookPhase::Prestart, HookPhase::Poststart] {
            defined.of(phase).iter().for_each(|hook| add(phase, hook));
        }
        // These phases go backwards through the list, and each user's own order holds.
        for phase in [HookPhase::Prekill, HookPhase::Exited, HookPhase::Stop] {
            defined.of(phase).iter().rev().for_each(|hook| add(phase, hook));
        }
    }
}

struct User {
    phase: HookPhase,
    hook: UserHook,
    means: Means,
}

impl User {
    /// Does it if its phase has come. `about` are variables that tell more.
    async fn call(
        &self,
        phase: HookPhase,
        around: &Around,
        about: &[(&str, String)],
    ) -> Result<(), HookError> {
        if phase != self.phase {
            return Ok(());
        }
        let timeout = self.hook.timeout;
        let called = tokio::select! {
            biased;
            called = self.once(around, about) => called,
            () = around.clock.sleep(timeout) => {
                Err(format!("took longer than its timeout of {}", duration::format(timeout)))
            }
        };
        let fails_attempt = self.hook.on_error(phase) == OnHookError::Fail;
        called.map_err(|text| HookError { text, fails_attempt })
    }

    /// What a server may know a repetition by: nothing is told twice in one phase of one attempt.
    fn key_of(&self, around: &Around) -> String {
        let run = &around.attempt.run;
        format!("{}-{}-{}-{}", run.id, run.life.attempt, self.phase, self.hook.name)
    }

    async fn once(&self, around: &Around, about: &[(&str, String)]) -> Result<(), String> {
        match &self.hook.run {
            Call::Command(argv) => {
                let attempt = environment::fill(&around.attempt).map_err(|failure| failure.message)?;
                let mut env = process::environment(&attempt);
                let setup = attempt.setup.as_deref();
                env.extend(
                    setup
                        .iter()
                        .flat_map(|setup| &setup.env)
                        .map(|(name, value)| (name.clone(), value.into())),
                );
                let more = [
                    ("PUNCTUAL_HOOK", self.hook.name.clone()),
                    ("PUNCTUAL_HOOK_PHASE", self.phase.to_string()),
                ];
                env.extend(more.iter().chain(about).map(|(name, value)| ((*name).to_owned(), value.into())));
                env.extend(self.means.mark.iter().map(|(name, value)| (name.clone(), value.into())));
                let cwd = attempt.task.spec.work.context().and_then(|context| context.cwd.clone());
                let cwd = cwd.map(Into::into).or_else(|| setup.and_then(|setup| setup.work_dir.clone()));
                // It may not have been made yet, or be gone: that is no reason not to tell anybody of an end.
                let cwd = cwd.filter(|directory: &std::path::PathBuf| directory.is_dir());
                command::run(command::Spec { argv, env, cwd }, &*around.clock).await
            }
            Call::Http(call) => request(&self.means, call, around, &self.key_of(around)).await,
        }
    }
}

/// Sends the request of a hook; the body of its answer is of no interest.
#[cfg(feature = "http")]
async fn request(means: &Means, call: &HttpCall, around: &Around, key: &str) -> Result<(), String> {
    let Some(client) = &means.client else { return Err(NOBODY.to_owned()) };
    let (run, task) = (&*around.attempt.run, &*around.attempt.task);
    let outcome =
        crate::drivers::http::call(client, &*around.clock, call, (run, task), key, &mut |_| {}).await;
    outcome.error.map_or(Ok(()), |failure| Err(failure.message))
}

#[cfg(not(feature = "http"))]
async fn request(_means: &Means, _call: &HttpCall, _around: &Around, _key: &str) -> Result<(), String> {
    std::future::ready(Err(NOBODY.to_owned())).await
}

const NOBODY: &str = "this node makes no requests";

/// What variables tell of an outcome.
fn about(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let mut about = Vec::new();
    match outcome.exit {
        Some(Exit::Code(code)) => about.push(("PUNCTUAL_EXIT_CODE", code.to_string())),
        Some(Exit::Signal(signal)) => about.push(("PUNCTUAL_EXIT_SIGNAL", signal.to_string())),
        None => {}
    }
    about.extend(outcome.error.as_ref().map(|failure| ("PUNCTUAL_ERROR", failure.message.replace('\0', ""))));
    about
}

#[async_trait]
impl Hook for User {
    fn name(&self) -> &str {
        &self.hook.name
    }

    fn patience(&self) -> Duration {
        self.hook.timeout + SLACK
    }

    async fn prestart(&self, around: &Around) -> Result<Prestarted, Failure> {
        match self.call(HookPhase::Prestart, around, &[]).await {
            Ok(()) => {}
            Err(error) if error.fails_attempt => {
                return Err(Failure::new(FailureKind::Start, error.text).recoverable());
            }
            Err(HookError { text: error, .. }) => {
                let (phase, hook) = (self.phase.to_string(), self.hook.name.clone());
                around.sink.event(EventKind::HookFailed { phase, hook, error });
            }
        }
        Ok(Prestarted::default())
    }

    async fn poststart(&self, around: &Around) -> Result<(), HookError> {
        // It has been told of this start by the session that made it.
        if around.reattached {
            return Ok(());
        }
        self.call(HookPhase::Poststart, around, &[]).await
    }

    async fn prekill(&self, around: &Around, why: Option<StopWhy>) -> Result<(), HookError> {
        let why = match why {
            Some(StopWhy::Cancel) => "cancel",
            Some(StopWhy::Timeout) => "timeout",
            Some(StopWhy::Replaced) => "replaced",
            Some(StopWhy::Deleted) => "deleted",
            Some(StopWhy::Restart) => "restart",
            None => "node_stops",
        };
        self.call(HookPhase::Prekill, around, &[("PUNCTUAL_STOP_WHY", why.to_owned())]).await
    }

    async fn exited(&self, around: &Around, outcome: &Outcome) -> Result<(), HookError> {
        self.call(HookPhase::Exited, around, &about(outcome)).await
    }

    async fn stop(&self, around: &Around, ending: &Ending) -> Result<(), HookError> {
        let mut all = about(&ending.outcome);
        all.push(("PUNCTUAL_RUN_STATE", ending.state.name().as_str().to_owned()));
        self.call(HookPhase::Stop, around, &all).await
    }
}
