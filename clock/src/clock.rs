//! The one trait through which the engine sees time.

use async_trait::async_trait;
use jiff::Timestamp;
use std::time::Duration;

/// Wall and monotonic time, and sleeping on either. Injected everywhere; nothing else in the workspace
/// reads a clock or sleeps.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock. May jump in both directions.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment of this process; never goes back. Durations are measured with it.
    fn monotonic(&self) -> Duration;

    /// Returns once the wall clock reads `deadline` or later; at once if it does already. A jump of the
    /// wall clock is noticed within a second.
    async fn sleep_until(&self, deadline: Timestamp);

    /// Returns after `duration` of monotonic time.
    async fn sleep(&self, duration: Duration);

    /// Returns when the wall clock has been seen to jump (by more than half a second against the monotonic
    /// one) since this call. Whoever holds wall-clock deadlines of its own looks at them again.
    async fn jumped(&self);
}
