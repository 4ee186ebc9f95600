//! The one trait through which the engine sees time.

use jiff::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// By how much the wall clock must leave the monotonic one, between two looks, to have jumped. Below it
/// lies what time synchronisation does all day; above it is a person, a suspended machine or a leap.
pub const JUMP: Duration = Duration::from_millis(500);

/// A wait for a moment. It borrows nothing, may be dropped at any time without a trace, and stays ready
/// once it was.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Wall and monotonic time, and sleeping on either. Injected everywhere; nothing else in the workspace
/// reads a clock or sleeps.
///
/// The methods are not `async`: what they wait for is fixed when they are called, not when the answer is
/// first polled, so `sleep` counts from the call and `jumped` misses nothing that happens in between.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock. May jump in both directions.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment of this process; never goes back. Durations are measured with it.
    fn monotonic(&self) -> Duration;

    /// Returns once the wall clock reads `deadline` or later; at once if it does already. A jump of the
    /// wall clock is noticed within a second.
    fn sleep_until(&self, deadline: Timestamp) -> Wait;

    /// Returns after `duration` of monotonic time, counted from this call.
    fn sleep(&self, duration: Duration) -> Wait;

    /// Returns when the wall clock has been seen to jump (by more than [`JUMP`] against the monotonic
    /// one) since this call. Whoever holds wall-clock deadlines of its own looks at them again.
    fn jumped(&self) -> Wait;
}
