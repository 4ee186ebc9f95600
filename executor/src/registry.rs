//! Who is at work here, and who waits for which run. Holds nothing of a run that nobody waits for and that is
//! not at work here; the store has all others.

use crate::error::Error;
use crate::working::{Order, Working};
use punctual_model::{Run, RunId, RunState, StopWhy, Task, TaskId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// What a waiter last heard of its run.
#[derive(Debug, Clone)]
pub(crate) enum Post {
    /// Nothing, or that it should look into the store.
    Look,
    /// Where it is.
    State(RunState),
    /// It has ended, durably.
    Ended(Arc<Run>),
    /// Nobody will ever tell.
    Failed(Error),
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
    /// Told when nobody is at work any more.
    idle: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<RunId, Entry>,
    working: usize,
    /// Once set, everybody hears it.
    over: Option<Over>,
}

#[derive(Debug, Clone)]
struct Over {
    order: Option<Order>,
    error: Option<Error>,
}

#[derive(Debug, Default)]
struct Entry {
    working: Option<Arc<Working>>,
    posts: Option<watch::Sender<Post>>,
    /// It shall stop, and whoever runs it is not here yet.
    stop: Option<StopWhy>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.working.is_none() && self.stop.is_none() && self.posts.is_none()
    }

    fn post(&self, post: Post) {
        if let Some(posts) = &self.posts {
            posts.send_replace(post);
        }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers runs as being at work here, before their attempts begin, so that nothing asked of them is
    /// lost. None for one that is at work here already.
    pub(crate) fn enter(&self, runs: impl Iterator<Item = (RunId, TaskId)>) -> Vec<Option<Arc<Working>>> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut all = Vec::with_capacity(runs.size_hint().0);
        for (run, task) in runs {
            let entry = inner.entries.entry(run).or_default();
            if entry.working.as_ref().is_some_and(|working| !working.has_ended()) {
                all.push(None);
                continue;
            }
            let working = Arc::new(Working::new(run, task));
            if let Some(why) = entry.stop.take() {
                working.order(Order::Stop(why));
            }
            if let Some(order) = inner.over.as_ref().and_then(|over| over.order) {
                working.order(order);
            }
            // An attempt that has ended and waits to be taken off the list has made place.
            inner.working += usize::from(entry.working.is_none());
            entry.working = Some(Arc::clone(&working));
            all.push(Some(working));
        }
        all
    }

    /// Takes attempts off the list, and tells the waiters of their runs where these are now.
    pub(crate) fn leave(&self, attempts: impl Iterator<Item = (Arc<Working>, Option<Arc<Run>>)>) {
        let mut inner = self.lock();
        for (working, run) in attempts {
            let Some(entry) = inner.entries.get_mut(&working.run()) else { continue };
            // A later attempt of the same run may stand there already.
            let was_there = entry.working.take_if(|there| Arc::ptr_eq(there, &working)).is_some();
            match run {
                Some(run) if run.state().is_terminal() => {
                    entry.post(Post::Ended(run));
                    inner.entries.remove(&working.run());
                }
                Some(run) => entry.post(Post::State(run.state())),
                None => entry.post(Post::Look),
            }
            inner.working -= usize::from(was_there);
            if inner.entries.get(&working.run()).is_some_and(Entry::is_empty) {
                inner.entries.remove(&working.run());
            }
        }
        if inner.working == 0 {
            drop(inner);
            self.idle.notify_waiters();
        }
    }

    /// Tells where a run is.
    pub(crate) fn post(&self, run: RunId, state: RunState) {
        if let Some(entry) = self.lock().entries.get(&run) {
            entry.post(Post::State(state));
        }
    }

    /// Tells that a run that is not at work here has ended.
    pub(crate) fn ended(&self, run: &Run) {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get_mut(&run.id) {
            entry.post(Post::Ended(Arc::new(run.clone())));
            entry.stop = None;
            if entry.working.is_none() {
                inner.entries.remove(&run.id);
            }
        }
    }

    /// Tells the attempt of a run to stop; answers whether it is here. If it is not here yet it hears it when it comes;
    /// that only runs of our own session are remembered for, and that it may have left already, is the caller's
    /// business.
    pub(crate) fn stop(&self, run: RunId, why: StopWhy) -> bool {
        let mut inner = self.lock();
        let entry = inner.entries.entry(run).or_default();
        match &entry.working {
            Some(working) => working.order(Order::Stop(why)),
            None => entry.stop = Some(why),
        }
        entry.post(Post::Look);
        entry.working.is_some()
    }

    /// Nobody will come who is to hear of a stop.
    pub(crate) fn forget_stop(&self, run: RunId) {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get_mut(&run) {
            entry.stop = None;
            if entry.is_empty() {
                inner.entries.remove(&run);
            }
        }
    }

    /// Gives an order to whoever is at work for this attempt of a run.
    pub(crate) fn order(&self, run: RunId, order: Order) {
        if let Some(working) = self.lock().entries.get(&run).and_then(|entry| entry.working.as_ref()) {
            working.order(order);
        }
    }

    /// Tells all attempts of a task that its definition has changed.
    pub(crate) fn offer(&self, task: &Arc<Task>) {
        let mut all: Vec<Arc<Working>> =
            self.lock().entries.values().filter_map(|entry| entry.working.clone()).collect();
        all.sort_unstable_by_key(|working| working.run());
        all.iter().for_each(|working| working.offer(task));
    }

    /// Something happened to a run that is no step of its life: who watches it looks into the store.
    pub(crate) fn happened(&self, run: RunId) {
        let inner = self.lock();
        // That nobody will ever tell must not be unsaid.
        let is_over = inner.over.as_ref().is_some_and(|over| over.error.is_some());
        if let Some(entry) = inner.entries.get(&run).filter(|_| !is_over) {
            entry.post(Post::Look);
        }
    }

    /// Makes the waiters of a run look into the store; answers whether it is at work here.
    pub(crate) fn look(&self, run: RunId) -> bool {
        let inner = self.lock();
        let Some(entry) = inner.entries.get(&run) else { return false };
        entry.post(Post::Look);
        entry.working.is_some()
    }

    /// Makes all waiters look; answers the runs at work here, ascending.
    pub(crate) fn look_all(&self) -> Vec<RunId> {
        let inner = self.lock();
        let mut all: Vec<RunId> = inner.entries.keys().copied().collect();
        all.sort_unstable();
        for run in &all {
            inner.entries[run].post(Post::Look);
        }
        all.retain(|run| inner.entries[run].working.is_some());
        all
    }

    /// Gives an order to everybody at work, in order of their ids, and to whoever comes later.
    pub(crate) fn order_all(&self, order: Order) {
        let mut inner = self.lock();
        let error = inner.over.as_ref().and_then(|over| over.error.clone());
        inner.over = Some(Over { order: Some(order), error });
        let mut all: Vec<Arc<Working>> =
            inner.entries.values().filter_map(|entry| entry.working.clone()).collect();
        drop(inner);
        all.sort_unstable_by_key(|working| working.run());
        all.iter().for_each(|working| working.order(order));
    }

    /// The node stops: what goes on by itself is to be left. Nobody comes later who could be.
    pub(crate) fn let_go(&self) {
        let mut all: Vec<Arc<Working>> =
            self.lock().entries.values().filter_map(|entry| entry.working.clone()).collect();
        all.sort_unstable_by_key(|working| working.run());
        all.iter().for_each(|working| working.let_go());
    }

    /// Tells all waiters, now and later, that they wait in vain.
    pub(crate) fn fail(&self, error: &Error) {
        let mut inner = self.lock();
        let order = inner.over.as_ref().and_then(|over| over.order);
        inner.over = Some(Over { order, error: Some(error.clone()) });
        let mut all: Vec<RunId> = inner.entries.keys().copied().collect();
        all.sort_unstable();
        for run in &all {
            inner.entries[run].post(Post::Failed(error.clone()));
        }
    }

    /// Hears of a run from now on.
    pub(crate) fn subscribe(self: &Arc<Self>, run: RunId) -> Subscription {
        let mut inner = self.lock();
        let first = match inner.over.as_ref().and_then(|over| over.error.clone()) {
            Some(error) => Post::Failed(error),
            None => Post::Look,
        };
        let failed = matches!(first, Post::Failed(_));
        let entry = inner.entries.entry(run).or_default();
        let posts = entry.posts.get_or_insert_with(|| watch::Sender::new(first)).subscribe();
        let here = entry.working.is_some() && !failed;
        Subscription { registry: Arc::clone(self), run, posts, here }
    }

    /// Who is at work for a run here.
    pub(crate) fn at_work(&self, run: RunId) -> Option<Arc<Working>> {
        self.lock().entries.get(&run).and_then(|entry| entry.working.clone())
    }

    /// Whether a run is at work here or expected to be.
    pub(crate) fn is_working(&self, run: RunId) -> bool {
        self.lock().entries.get(&run).is_some_and(|entry| entry.working.is_some())
    }

    /// How many are at work.
    pub(crate) fn working(&self) -> usize {
        self.lock().working
    }

    /// The runs at work, ascending.
    pub(crate) fn working_runs(&self) -> Vec<RunId> {
        let inner = self.lock();
        let mut all: Vec<RunId> =
            inner.entries.iter().filter(|(_, entry)| entry.working.is_some()).map(|(run, _)| *run).collect();
        all.sort_unstable();
        all
    }

    /// Returns when nobody is at work; at once if nobody is.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.working() == 0 {
                return;
            }
            idle.await;
        }
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.lock().entries.len()
    }
}

/// Being told of a run.
#[derive(Debug)]
pub(crate) struct Subscription {
    registry: Arc<Registry>,
    run: RunId,
    posts: watch::Receiver<Post>,
    /// It was at work here when this began.
    here: bool,
}

impl Subscription {
    /// Whether the run was at work here when this began: then its end will be told, and there is nothing to look for
    /// before.
    pub(crate) fn is_here(&self) -> bool {
        self.here
    }

    /// What was heard last; from now on it counts as heard.
    pub(crate) fn last(&mut self) -> Post {
        self.posts.borrow_and_update().clone()
    }

    /// Returns when there is something new. When nobody is left to tell, that is something new too: the answer
    /// is in the store.
    pub(crate) async fn changed(&mut self) {
        if self.posts.changed().await.is_err() {
            let registry = Arc::clone(&self.registry);
            *self = registry.subscribe(self.run);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.registry.lock();
        let Some(entry) = inner.entries.get_mut(&self.run) else { return };
        // The last one, if the entry is still the one that was subscribed to.
        let last = entry
            .posts
            .as_ref()
            .is_some_and(|posts| posts.receiver_count() == 1 && posts.subscribe().same_channel(&self.posts));
        if last {
            entry.posts = None;
            if entry.is_empty() {
                inner.entries.remove(&self.run);
            }
        }
    }
}
