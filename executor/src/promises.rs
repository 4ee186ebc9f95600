//! The promises of this executor: the registry tells when to look, the store says what is true.

use crate::engine::Engine;
use crate::error::Error;
use crate::promise::{RunPromise, Told};
use crate::registry::{Post, Subscription};
use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use punctual_faults::crash_point;
use punctual_model::{CancelWhy, Run, RunId, RunState};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// The promise of one run.
pub(crate) struct Promise {
    engine: Arc<Engine>,
    run: RunId,
}

impl Promise {
    pub(crate) fn new(engine: Arc<Engine>, run: RunId) -> Self {
        Self { engine, run }
    }

    async fn look(&self) -> Result<Run, Error> {
        self.engine.store.run(self.run).await?.ok_or(Error::Forgotten(self.run))
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("run", &self.run).finish_non_exhaustive()
    }
}

#[async_trait]
impl RunPromise for Promise {
    fn id(&self) -> RunId {
        self.run
    }

    async fn state(&self) -> Result<RunState, Error> {
        Ok(self.look().await?.state())
    }

    async fn wait(&self) -> Result<Run, Error> {
        // Subscribe before looking, so that no end falls between.
        let mut subscription = self.engine.registry.subscribe(self.run);
        let mut look = !subscription.is_here();
        if !look {
            subscription.changed().await;
        }
        loop {
            match subscription.last() {
                Post::Ended(run) => return Ok(Run::clone(&run)),
                Post::Failed(error) => {
                    // What has ended before the failure is true all the same, if it can still be read.
                    let ended = self.look().await.ok().filter(|run| run.state().is_terminal());
                    return ended.ok_or(error);
                }
                Post::State(_) if !look => {}
                Post::Look | Post::State(_) => {
                    look = false;
                    let run = self.look().await?;
                    if run.state().is_terminal() {
                        return Ok(run);
                    }
                }
            }
            subscription.changed().await;
        }
    }

    async fn cancel(&self) -> Result<(), Error> {
        cancel(&self.engine, self.run, CancelWhy::Asked).await?.map(|_| ()).ok_or(Error::Forgotten(self.run))
    }

    async fn events(&self) -> Result<BoxStream<'static, Told>, Error> {
        let subscription = self.engine.registry.subscribe(self.run);
        let promise = Self::new(Arc::clone(&self.engine), self.run);
        let listening = Listening { subscription, seen: 0, state: None, ready: VecDeque::new() };
        // What has happened so far is there at once, or the run is not.
        let mut listening = Telling { promise, listening };
        listening.look().await?;
        Ok(unfold(listening, async |mut telling| Some((telling.next().await?, telling))).boxed())
    }

    async fn watch(&self) -> Result<BoxStream<'static, RunState>, Error> {
        let subscription = self.engine.registry.subscribe(self.run);
        let now = self.look().await?.state();
        let watching = Watching {
            promise: Self::new(Arc::clone(&self.engine), self.run),
            subscription,
            first: Some(now),
            last: None,
        };
        Ok(unfold(watching, async |mut watching| Some((watching.next().await?, watching))).boxed())
    }
}

/// Canceling in whatever state the run is: what waits ends at once, what is at work is told to stop once that
/// is durable.
pub(crate) async fn cancel(engine: &Engine, run: RunId, why: CancelWhy) -> Result<Option<Run>, Error> {
    use punctual_store::CancelAnswer as Answer;
    engine.check()?;
    crash_point("executor.before_cancel");
    let answers = engine.checked(engine.store.cancel(&engine.session, vec![(run, why)]).await)?;
    crash_point("executor.after_cancel");
    Ok(match answers.into_iter().next() {
        Some(Answer::Ended(run)) => {
            engine.registry.ended(&run);
            engine.wake.notify_one();
            Some(run)
        }
        Some(Answer::Stopping(run)) => {
            if let RunState::Stopping { why, .. } = run.state()
                && run.life.epoch == engine.session.epoch
            {
                engine.stop_run(run.id, why).await;
            }
            Some(run)
        }
        Some(Answer::AlreadyEnded(run)) => Some(run),
        Some(Answer::Unknown) | None => None,
    })
}

/// Tells one watcher of events.
struct Telling {
    promise: Promise,
    listening: Listening,
}

struct Listening {
    subscription: Subscription,
    /// Events told, or missed.
    seen: u64,
    /// The state told last.
    state: Option<RunState>,
    /// What the last look found: at most as many as a record keeps events.
    ready: VecDeque<Told>,
}

impl Listening {
    /// Takes what is new in the record.
    fn take(&mut self, run: &Run) {
        let log = &run.events;
        let (first, dropped) = (log.first().len() as u64, log.dropped());
        let numbers = (0..first).chain(first + dropped..);
        for (number, event) in numbers.zip(log.iter()) {
            if number < self.seen {
                continue;
            }
            if number > self.seen {
                self.ready.push_back(Told::Missed(number - self.seen));
            }
            self.seen = number + 1;
            self.ready.push_back(Told::Event(event.clone()));
        }
        if self.state != Some(run.state()) {
            self.state = Some(run.state());
            self.ready.push_back(Told::State(run.state()));
        }
    }
}

impl Telling {
    async fn look(&mut self) -> Result<(), Error> {
        let run = self.promise.look().await?;
        self.listening.take(&run);
        Ok(())
    }

    /// The next thing; none after the final state, or when nobody tells any more.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.listening.ready.pop_front() {
                return Some(told);
            }
            if self.listening.state.is_some_and(|state| state.is_terminal()) {
                return None;
            }
            // What was posted before this look is in the store by then.
            match self.listening.subscription.last() {
                Post::Ended(run) => self.listening.take(&run),
                Post::Failed(_) => return None,
                Post::Look | Post::State(_) => self.look().await.ok()?,
            }
            if self.listening.ready.is_empty() {
                self.listening.subscription.changed().await;
            }
        }
    }
}

struct Watching {
    promise: Promise,
    subscription: Subscription,
    first: Option<RunState>,
    last: Option<RunState>,
}

impl Watching {
    /// The next state that differs from the one before; none after the final one, or when nobody tells any
    /// more.
    async fn next(&mut self) -> Option<RunState> {
        if let Some(first) = self.first.take() {
            self.last = Some(first);
            return self.last;
        }
        if self.last.is_some_and(|last| last.is_terminal()) {
            return None;
        }
        loop {
            let now = match self.subscription.last() {
                Post::Ended(run) => run.state(),
                Post::State(state) => state,
                Post::Look => self.promise.look().await.ok()?.state(),
                Post::Failed(_) => return None,
            };
            if self.last != Some(now) {
                self.last = Some(now);
                return self.last;
            }
            self.subscription.changed().await;
        }
    }
}
