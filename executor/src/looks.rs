//! Whoever brings many runs at once waits until the claimer has had a look at them.
//!
//! Without that a herd of dues is written faster than it is claimed: a million runs wait, each of which is read again
//! for its claim, and none begins with its acceptance any more, since others wait before it. A look ends at once if
//! there is no seat, so nobody waits for work.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Looks {
    count: watch::Sender<u64>,
    /// There will be no look for a while, if ever.
    resting: AtomicBool,
}

/// Of a moment: what comes after it.
pub(crate) struct Next(watch::Receiver<u64>);

impl Default for Looks {
    fn default() -> Self {
        Self { count: watch::Sender::default(), resting: AtomicBool::new(true) }
    }
}

impl Looks {
    /// From now on hints are heard.
    pub(crate) fn begin(&self) {
        self.resting.store(false, Ordering::SeqCst);
    }

    /// A look has ended, and the next one comes with the next hint; or not, if the claimer rests.
    pub(crate) fn ended(&self, resting: bool) {
        self.resting.store(resting, Ordering::SeqCst);
        self.count.send_modify(|count| *count += 1);
    }

    /// To be taken before the hint is given.
    pub(crate) fn next(&self) -> Next {
        Next(self.count.subscribe())
    }

    /// Returns when a look has ended, or at once if none is to be expected.
    pub(crate) async fn wait(&self, Next(mut count): Next) {
        if !self.resting.load(Ordering::SeqCst) {
            // The sender lives as long as this does.
            let _ = count.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn one_waits_for_a_look_and_never_for_a_claimer_that_rests() {
        let looks = Looks::default();
        let waits = |next| looks.wait(next).now_or_never().is_none();
        assert!(!waits(looks.next()), "it has not begun");
        looks.begin();
        let next = looks.next();
        let mut wait = std::pin::pin!(looks.wait(next));
        assert!(wait.as_mut().now_or_never().is_none());
        looks.ended(false);
        assert!(wait.now_or_never().is_some());
        let next = looks.next();
        looks.ended(true);
        assert!(!waits(next));
        assert!(!waits(looks.next()), "it rests");
    }
}
