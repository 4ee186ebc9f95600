//! The second thread of the store: it syncs what the first one has written, and gives the answers.
//!
//! ```text
//! writer: judge, write ──► flight ─┐      one sync for all flights that are there
//! writer: judge, write ──► flight ─┴─► syncer: sync ─► answers, wake-ups
//! ```
//!
//! Judging the next batch and syncing the last one take about as long as each other; side by side they take half the
//! time. A caller that is alone would only pay for the second thread: then the writer syncs by itself.

use super::shared::Shared;
use super::writer::{BATCH, Reply};
use crate::error::Error;
use crate::ledger::Answer;
use punctual_clock::Clock;
use punctual_faults::{Defect, crash_point, seeded};
use punctual_model::RunId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Records in a batch up to which the writer syncs by itself, if nobody else is at it: to wake another thread costs a
/// lone caller a tenth of its time.
const FEW: usize = 2;
/// Records that are written and not synced at most; then the writer waits. Four batches: enough for a slow sync, and
/// what a power cut may tear stays small.
const AHEAD: usize = 4 * BATCH;

/// A batch that was judged and written.
pub(super) struct Flight {
    /// Its number; that of the last commit if it has none of its own, since its answers may tell of that one.
    pub(super) sequence: u64,
    /// How many records it has, about.
    pub(super) records: usize,
    /// When it was written.
    pub(super) begun: Duration,
    pub(super) answers: Vec<(Reply<Answer>, Result<Answer, Error>)>,
    /// Runs whose waiters are woken.
    pub(super) changed: Vec<RunId>,
}

/// Where the writer leaves its batches.
pub(super) struct Syncer {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// There is something to sync, or an end to it.
    arrived: Condvar,
    /// Something was synced.
    landed: Condvar,
}

#[derive(Default)]
struct State {
    flights: Vec<Flight>,
    /// Records that are not synced, also those that are being synced now.
    ahead: usize,
    asleep: bool,
    closed: bool,
}

impl Syncer {
    pub(super) fn new(shared: Arc<Shared>, clock: Arc<dyn Clock>) -> Self {
        Self { shared, clock, state: Mutex::default(), arrived: Condvar::new(), landed: Condvar::new() }
    }

    /// Works until it is closed and nothing is left, or until the first failure.
    pub(super) fn run(&self) {
        loop {
            let Some(flights) = self.next() else { return };
            let records: usize = flights.iter().map(|flight| flight.records).sum();
            let landed = catch_unwind(AssertUnwindSafe(|| self.land(flights)));
            let landed =
                landed.unwrap_or_else(|_| Err(Error::Failed { reason: "a sync panicked".to_owned() }));
            if let Err(error) = &landed {
                self.shared.fail(error);
            }
            self.state().ahead -= records;
            self.landed.notify_one();
        }
    }

    /// The flights that wait, once there are any; none if there will be none.
    fn next(&self) -> Option<Vec<Flight>> {
        let mut state = self.state();
        loop {
            if !state.flights.is_empty() {
                return Some(std::mem::take(&mut state.flights));
            }
            if state.closed {
                return None;
            }
            state.asleep = true;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
        }
    }

    /// Takes a batch over: it is synced, by whoever is free, and answered.
    pub(super) fn send(&self, flight: Flight) -> Result<(), Error> {
        let mut state = self.state();
        if state.ahead == 0 && flight.records <= FEW {
            drop(state);
            return self.land(vec![flight]);
        }
        while state.ahead >= AHEAD {
            state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.ahead += flight.records;
        state.flights.push(flight);
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Nothing comes any more; what is there is still synced.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
    }

    fn land(&self, flights: Vec<Flight>) -> Result<(), Error> {
        let Some(sequence) = flights.last().map(|flight| flight.sequence) else { return Ok(()) };
        if sequence > self.shared.sequence() {
            if let Err(error) = self.sync() {
                for (reply, _) in flights.into_iter().flat_map(|flight| flight.answers) {
                    drop(reply.send(Err(error.clone())));
                }
                return Err(error);
            }
            crash_point("store.after_commit");
            let now = self.clock.monotonic();
            let mut ledger = self.shared.ledger()?;
            flights.iter().for_each(|flight| ledger.committed(now.saturating_sub(flight.begun)));
            drop(ledger);
            self.shared.synced(sequence);
        }
        for flight in flights {
            for (reply, answer) in flight.answers {
                // A caller that went away has lost only the answer.
                drop(reply.send(answer));
            }
            self.shared.wake(false, &flight.changed);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        let mut journal = self.shared.journal.lock().unwrap_or_else(PoisonError::into_inner);
        // A sync after one that failed may succeed without what was written before it.
        if self.shared.has_failed() {
            return Err(self.shared.failure());
        }
        if seeded(Defect::AnswerBeforeSync) {
            return Ok(());
        }
        journal
            .sync()
            .map_err(|error| Error::Failed { reason: format!("failed to sync the journal: {error}") })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
