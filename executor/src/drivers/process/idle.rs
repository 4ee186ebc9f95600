//! Shims that keep nothing at the moment: a run that begins when another one has just ended takes over its shim, for to
//! make one costs as much as the work of a short run. See [`super::kept`].

use punctual_clock::Clock;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// How long one may wait for work: longer than runs of a busy node are apart, and over when somebody looks who it is that
/// lives on a quiet one.
const IDLE: Duration = Duration::from_millis(250);

/// A shim that can be given an order.
#[derive(Debug)]
pub(super) struct Free {
    /// When this ends, so does the shim.
    pub(super) stream: UnixStream,
    /// Where it notes whom it keeps.
    pub(super) note: PathBuf,
}

/// Those of one node.
#[derive(Debug, Default)]
pub(super) struct Idle {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// With the time until which each waits; who came last is the last.
    free: Vec<(Duration, Free)>,
    /// Who lets them go.
    ending: Option<JoinHandle<()>>,
}

impl Idle {
    /// The one that came last, so that those that are too many go.
    pub(super) fn take(&self) -> Option<Free> {
        Some(lock(&self.waiting).free.pop()?.1)
    }

    /// Lets it wait for work, for a while.
    pub(super) fn give(&self, free: Free, clock: &Arc<dyn Clock>) {
        let mut waiting = lock(&self.waiting);
        waiting.free.push((clock.monotonic().saturating_add(IDLE), free));
        // One that has ended with its runtime is as good as none.
        if waiting.ending.as_ref().is_none_or(JoinHandle::is_finished) {
            waiting.ending = Some(tokio::spawn(end_in_time(Arc::clone(&self.waiting), Arc::clone(clock))));
        }
    }
}

/// Lets go of each whose time is over, until there is none.
async fn end_in_time(waiting: Arc<Mutex<Waiting>>, clock: Arc<dyn Clock>) {
    let mut pause = IDLE;
    loop {
        clock.sleep(pause).await;
        let now = clock.monotonic();
        let mut waiting = lock(&waiting);
        for (_, free) in waiting.free.extract_if(.., |(until, _)| *until <= now) {
            // It does so too, unless it has died meanwhile.
            let _ = std::fs::remove_file(free.note);
        }
        let Some((first, _)) = waiting.free.first() else {
            waiting.ending = None;
            return;
        };
        pause = first.saturating_sub(now);
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn who_came_last_goes_first_and_who_waits_too_long_goes() {
        let clock: Arc<dyn Clock> = Arc::new(punctual_clock::SystemClock::new().unwrap());
        let idle = Idle::default();
        assert!(idle.take().is_none());
        let mut shims = Vec::new();
        for name in ["one", "two", "three"] {
            let (stream, shim) = UnixStream::pair().unwrap();
            idle.give(Free { stream, note: name.into() }, &clock);
            shims.push(shim);
        }
        let taken = idle.take().unwrap();
        assert_eq!(taken.note, PathBuf::from("three"));
        let mut taken_shim = shims.pop().unwrap();
        // The others see their streams end.
        for mut shim in shims {
            assert_eq!(shim.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        }
        assert!(idle.take().is_none());
        assert!(taken_shim.try_read(&mut [0]).is_err(), "who was taken is not let go");
        // And so do later ones.
        idle.give(taken, &clock);
        assert_eq!(taken_shim.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    }
}
