//! One attempt at work, as others see it: what it was told to do.

use punctual_model::{RunId, StopWhy, Task, TaskId};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, oneshot};

/// What an attempt can be told. Stopping the run and stopping the node are two things: the first ends the run,
/// the second leaves it to go on another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The run shall end; that is durable already.
    Stop(StopWhy),
    /// The node stops and waits no longer.
    Interrupt,
    /// Nothing can be recorded any more; end the work and go.
    Abandon,
}

#[derive(Debug)]
pub(crate) struct Working {
    run: RunId,
    task: TaskId,
    orders: Mutex<Orders>,
    /// The newest definition that was told of.
    newest: Mutex<Option<Arc<Task>>>,
    signals: Mutex<VecDeque<Signal>>,
    changed: Notify,
    ended: AtomicBool,
}

/// A signal that its work is to get, and who waits to hear of it.
#[derive(Debug)]
pub(crate) struct Signal {
    pub(crate) name: String,
    pub(crate) answer: oneshot::Sender<Result<(), String>>,
}

/// All that it was told; the strongest counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Orders {
    pub(crate) stop: Option<StopWhy>,
    pub(crate) interrupt: bool,
    pub(crate) abandon: bool,
    /// The node stops: what goes on by itself is left as soon as it is old enough, all else still has its time.
    pub(crate) leave: bool,
    /// Rises with each order, also with the same one again.
    pub(crate) count: u32,
    /// Rises with each change of the definition.
    pub(crate) updates: u32,
    /// How many are writing down right now that it shall begin again.
    asking: u32,
    /// What follows its end is being decided: nobody can ask for anything else any more.
    decided: bool,
    /// Its work lives, and can be given signals.
    hears: bool,
    /// There are some.
    pub(crate) signals: bool,
}

impl Orders {
    /// The one to follow.
    pub(crate) fn strongest(&self) -> Option<Order> {
        if self.abandon {
            return Some(Order::Abandon);
        }
        self.stop.map(Order::Stop).or(self.interrupt.then_some(Order::Interrupt))
    }

    /// Whether there is little time.
    pub(crate) fn in_a_hurry(&self) -> bool {
        self.interrupt || self.abandon
    }
}

impl Working {
    pub(crate) fn new(run: RunId, task: TaskId) -> Self {
        let (orders, newest, changed) = (Mutex::default(), Mutex::default(), Notify::new());
        let (signals, ended) = (Mutex::default(), AtomicBool::new(false));
        Self { run, task, orders, newest, signals, changed, ended }
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    pub(crate) fn order(&self, order: Order) {
        {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            match order {
                // Whoever wants the run to end wants no other attempt.
                Order::Stop(StopWhy::Restart) if orders.stop.is_some() => {}
                Order::Stop(why) => orders.stop = Some(why),
                Order::Interrupt => orders.interrupt = true,
                Order::Abandon => orders.abandon = true,
            }
            orders.count = orders.count.wrapping_add(1);
        }
        self.changed.notify_waiters();
    }

    /// The node stops, and has some time yet.
    pub(crate) fn let_go(&self) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).leave = true;
        self.changed.notify_waiters();
    }

    /// Notes a definition of its task; of several the newest counts, and nobody waits for anything.
    pub(crate) fn offer(&self, task: &Arc<Task>) {
        if task.id != self.task {
            return;
        }
        {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            if newest.as_ref().is_some_and(|known| known.revision >= task.revision) {
                return;
            }
            *newest = Some(Arc::clone(task));
        }
        {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            orders.updates = orders.updates.wrapping_add(1);
        }
        self.changed.notify_waiters();
    }

    /// The newest definition that it was told of, if that is newer than this one.
    pub(crate) fn newer_than(&self, task: &Task) -> Option<Arc<Task>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().filter(|newest| newest.revision > task.revision).cloned()
    }

    pub(crate) fn orders(&self) -> Orders {
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the orders are as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Orders) -> bool) -> Orders {
        loop {
            let changed = self.changed.notified();
            let orders = self.orders();
            if wanted(&orders) {
                return orders;
            }
            changed.await;
        }
    }

    /// Somebody is about to write down that it shall begin again; none if it is too late for that. What follows its
    /// end is not decided before this is dropped, so that such a wish is never written and not followed.
    pub(crate) fn ask(self: &Arc<Self>) -> Option<Asking> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.decided {
            return None;
        }
        orders.asking += 1;
        Some(Asking(Arc::clone(self)))
    }

    /// What it was told, once nobody is about to ask for another attempt; from now on nobody can.
    pub(crate) async fn decides(&self) -> Orders {
        loop {
            let changed = self.changed.notified();
            {
                let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
                if orders.asking == 0 {
                    orders.decided = true;
                    return *orders;
                }
            }
            changed.await;
        }
    }

    /// Puts a signal in the row of those that its work is to get; none if there is no work that could get one now.
    /// What is dropped without an answer could not be given: the work has ended, or is being ended.
    pub(crate) fn signal(&self, name: String) -> Option<oneshot::Receiver<Result<(), String>>> {
        let (answer, answered) = oneshot::channel();
        {
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            if !orders.hears {
                return None;
            }
            orders.signals = true;
            self.row().push_back(Signal { name, answer });
        }
        self.changed.notify_waiters();
        Some(answered)
    }

    /// From now on its work can be given signals, until this is dropped.
    pub(crate) fn hears(&self) -> Hearing<'_> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).hears = true;
        Hearing(self)
    }

    /// The next signal for its work.
    pub(crate) fn next_signal(&self) -> Option<Signal> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut row = self.row();
        let next = row.pop_front();
        orders.signals = !row.is_empty();
        next
    }

    fn row(&self) -> std::sync::MutexGuard<'_, VecDeque<Signal>> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its end is on its way to the store: the run may be claimed again before this attempt is off the list.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// A wish for another attempt that is being written down.
#[derive(Debug)]
pub(crate) struct Asking(Arc<Working>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner).asking -= 1;
        self.0.changed.notify_waiters();
    }
}

/// The time in which work can be given signals.
#[derive(Debug)]
pub(crate) struct Hearing<'a>(&'a Working);

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        let mut orders = self.0.orders.lock().unwrap_or_else(PoisonError::into_inner);
        (orders.hears, orders.signals) = (false, false);
        self.0.row().clear();
    }
}
