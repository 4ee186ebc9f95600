//! The due loop: what the scheduler says is due becomes records in the store, and those go to the executor.
//!
//! One batch at a time: one commit and one hand-over each, however many tasks are in it. What to do with a due
//! is decided by pure functions (catch-up in the scheduler, overlap in the model, [`births`] here). A due that
//! could not be written is never dropped: it derives again from the task's checkpoint.

mod decide;
mod group;
mod load;
mod write;

use crate::engine::Core;
use crate::error::Error;
use crate::known_tasks::{self, Known, KnownTasks};
use punctual_scheduler::{Due, Fault};
use punctual_store::StoredTask;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Most dues that are dealt with together, in one commit: some hundred kilobytes, so that other writers wait a few
/// milliseconds at most behind a million tasks due at once.
pub const MAX_BATCH: usize = 1_024;
/// Dues of the first batch after a pause. A batch that is full is followed by one [`STEP`] times as large: behind a
/// million tasks due at once the first ones start after milliseconds, and soon the commits are large all the same.
/// After a pause what they need is cold: 64 tasks took 12 ms to be looked up and read, a quarter of it for these.
const FIRST_BATCH: usize = 16;
/// How much batches grow while more is due than they hold, and shrink when they are nearly empty.
const STEP: usize = 4;
/// Records after which a commit is closed although the batch has more: after downtime a single task can have
/// thousands.
const MAX_BIRTHS: usize = 4_096;
/// First pause after the store has refused new work for want of room …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … and the longest: room appears when somebody makes it, and half a minute later work goes on.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Turns dues into runs.
#[derive(Debug)]
pub(crate) struct DueLoop {
    core: Arc<Core>,
    known: KnownTasks,
    /// Tasks whose dues the store had no room for.
    postponed: Vec<Known>,
}

/// Whether the store took new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    None,
}

impl DueLoop {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, known: known_tasks::none(), postponed: Vec::new() }
    }

    /// Works until it is told to stop, or nothing can be written any more. Must not be dropped in the middle:
    /// what is claimed would not be started.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let core = Arc::clone(&self.core);
        let mut pause = FIRST_PAUSE;
        let mut most = FIRST_BATCH;
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = core.broken.cancelled() => return core.fatal().map_or(Ok(()), Err),
                batch = core.parts.scheduler.next_batch(most) => batch,
            };
            most = next_size(most, batch.len());
            let room = match self.run_once(batch).await {
                // The executor stopped before us; what was written waits in the queue.
                Err(Error::Stopped) => return Ok(()),
                room => room?,
            };
            if room == Room::Enough {
                if pause > FIRST_PAUSE {
                    tracing::info!("the store takes new work again");
                }
                pause = FIRST_PAUSE;
                continue;
            }
            if pause == FIRST_PAUSE {
                tracing::warn!("the store has no room for new work: dues wait, and are looked at again");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = core.broken.cancelled() => return core.fatal().map_or(Ok(()), Err),
                () = core.parts.clock.sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.ask_again();
        }
    }

    /// Deals with one batch of dues.
    pub(crate) async fn run_once(&mut self, batch: Vec<Due>) -> Result<Room, Error> {
        let (mut parts, mut births, mut room) = (Vec::new(), 0, Room::Enough);
        for (group, known) in self.load(group::grouped(batch)).await? {
            if room == Room::None {
                self.postponed.push(known);
                continue;
            }
            let Some(part) = self.decide(group, known).await? else { continue };
            births += part.births.runs.len();
            parts.push(part);
            if births >= MAX_BIRTHS {
                room = self.commit(std::mem::take(&mut parts)).await?;
                births = 0;
            }
        }
        for Fault { task_id, reason, .. } in self.core.parts.scheduler.take_faults() {
            self.core.set_aside(task_id, String::new(), reason);
        }
        match room {
            Room::Enough => self.commit(parts).await,
            Room::None => Ok(Room::None),
        }
    }

    /// Lets the scheduler hand out again what could not be written.
    fn ask_again(&mut self) {
        for known in std::mem::take(&mut self.postponed) {
            self.reschedule(&known);
        }
    }

    fn reschedule(&self, known: &Known) {
        self.core.schedule_or_release(&known.stored());
    }
}

/// Most dues of the batch after one that had so many of at most so many. It stays as it is where it fits, so that
/// ten thousand dues a second do not go in turns of a small batch and a large one.
fn next_size(most: usize, had: usize) -> usize {
    match had {
        full if full >= most => (STEP * most).min(MAX_BATCH),
        few if few < most / STEP => (most / STEP).max(FIRST_BATCH),
        _ => most,
    }
}

impl Known {
    /// As the store would answer it, as far as scheduling goes.
    fn stored(&self) -> StoredTask {
        let progress = punctual_model::TaskProgress { checkpoint: self.checkpoint, ..Default::default() };
        StoredTask { task: Arc::clone(&self.task), progress }
    }
}

impl Core {
    fn schedule_or_release(&self, stored: &StoredTask) {
        if stored.task.is_active() {
            self.schedule(stored);
        } else {
            self.release(stored.task.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_behind_a_herd_and_shrink_after_it_and_stay_where_they_fit() {
        let sizes = |had: &[usize]| -> Vec<usize> {
            let mut most = FIRST_BATCH;
            let size = |had: &usize| {
                let next = next_size(most, (*had).min(most));
                std::mem::replace(&mut most, next)
            };
            had.iter().map(size).collect()
        };
        assert_eq!(sizes(&[9_999; 6]), [16, 64, 256, 1_024, 1_024, 1_024]);
        assert_eq!(
            sizes(&[9_999, 9_999, 9_999, 9_999, 1, 1, 1, 1]),
            [16, 64, 256, 1_024, 1_024, 256, 64, 16]
        );
        assert_eq!(sizes(&[1, 30, 30, 30, 30]), [16, 16, 64, 64, 64]);
    }
}
