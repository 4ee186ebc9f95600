//! A flag that is raised once and that any number can wait for: a cancellation token without a tree.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Flag {
    raised: AtomicBool,
    notify: Notify,
}

impl Flag {
    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Returns once it is raised.
    pub(crate) async fn raised(&self) {
        // Whoever was created before the flag was raised is woken; whoever comes later sees it.
        let notified = self.notify.notified();
        if !self.is_raised() {
            notified.await;
        }
    }
}
