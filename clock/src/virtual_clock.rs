//! A clock that stands still until it is told to move.
//!
//! Two ways to move it. The plain one ([`VirtualClock::advance_now`] and its kin) sets the time and wakes
//! whoever is due, in order of deadline; whether they have acted when it returns is not its business.
//!
//! The other (`settle`, `advance`, `advance_to_next`; feature `testing`) lets every consequence of a
//! deadline happen before the next one. It needs a current-thread tokio runtime with paused time
//! (`#[tokio::test(start_paused = true)]`). Such a runtime moves its own time only when none of its tasks
//! can go on and no `spawn_blocking` is under way; as nothing in this workspace uses tokio's timers, a
//! tokio sleep of a millisecond returns exactly then: when everything else is idle. The limit: threads
//! that the runtime does not know (a store's writer, a child process) are not seen; a test with those
//! moves the clock with the plain methods and waits for what it expects.

use crate::clock::{Clock, JUMP, Wait};
use crate::sleepers::{self, Keeper, Moment, Reading, Sleeper, Sleepers};
use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// A clock in the hand of a test or a simulation. Clones show and move the same time.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Reading,
    sleepers: Sleepers,
}

impl VirtualClock {
    /// A clock whose wall reads `start` and whose monotonic time is zero.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        let now = Reading { wall: start, monotonic: Duration::ZERO };
        Self { core: Arc::new(Core { state: Mutex::new(State { now, sleepers: Sleepers::default() }) }) }
    }

    /// What the wall clock will read when the next sleeper is due, if nobody moves it by hand.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let state = self.core.lock();
        let next = state.sleepers.next(state.now)?;
        Some(later(state.now.wall, next.saturating_sub(state.now.monotonic)))
    }

    /// Moves both clocks by `duration`, stopping at each deadline on the way to wake those due then.
    pub fn advance_now(&self, duration: Duration) {
        let target = self.core.lock().now.monotonic.saturating_add(duration);
        while self.step(target) {}
    }

    /// Moves both clocks to the next deadline and wakes those due then; answers the wall time reached,
    /// or `None` if nobody sleeps.
    pub fn advance_to_next_now(&self) -> Option<Timestamp> {
        let next = self.next_monotonic()?;
        self.step(next);
        Some(self.now())
    }

    /// Sets the wall clock alone, as a person or a time server would. Wall-clock sleepers that this makes
    /// due wake; a change by more than [`JUMP`] is a jump.
    pub fn set_wall(&self, wall: Timestamp) {
        let mut woken = Vec::new();
        {
            let mut state = self.core.lock();
            let change = wall.duration_since(state.now.wall);
            state.now.wall = wall;
            if change.unsigned_abs() > JUMP {
                state.sleepers.jump(&mut woken);
            }
            let now = state.now;
            state.sleepers.due(now, usize::MAX, &mut woken);
        }
        woken.into_iter().for_each(Waker::wake);
    }

    fn next_monotonic(&self) -> Option<Duration> {
        let state = self.core.lock();
        state.sleepers.next(state.now)
    }

    /// Moves to the next deadline, but not past `target`, and wakes those due. False once `target` is
    /// reached and nobody is due there any more.
    fn step(&self, target: Duration) -> bool {
        let mut woken = Vec::new();
        let more = {
            let mut state = self.core.lock();
            let next = state.sleepers.next(state.now).filter(|next| *next <= target);
            let to = next.unwrap_or(target).max(state.now.monotonic);
            let moved = to - state.now.monotonic;
            state.now = Reading { wall: later(state.now.wall, moved), monotonic: to };
            let now = state.now;
            state.sleepers.due(now, usize::MAX, &mut woken);
            next.is_some()
        };
        woken.into_iter().for_each(Waker::wake);
        more
    }
}

#[cfg(any(test, feature = "testing"))]
impl VirtualClock {
    /// Returns when every other task of this runtime waits for something (see the module's text).
    ///
    /// # Panics
    /// Outside a tokio runtime whose time is paused: nothing could be promised there.
    pub async fn settle(&self) {
        // Panics unless time is paused, which is the whole reason for this line.
        tokio::time::advance(Duration::ZERO).await;
        #[expect(clippy::disallowed_methods, reason = "tokio's idle detection is what is wanted here")]
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// [`advance_now`](Self::advance_now), but one deadline after the other, settling before the first
    /// and after each, so that what a sleeper does (also falling asleep again) happens before the next
    /// deadline comes.
    ///
    /// # Panics
    /// As [`settle`](Self::settle).
    pub async fn advance(&self, duration: Duration) {
        let target = self.monotonic().saturating_add(duration);
        self.settle().await;
        while self.step(target) {
            self.settle().await;
        }
    }

    /// Settles, moves to the next deadline and settles again; answers the wall time reached, or `None`
    /// if nobody sleeps.
    ///
    /// # Panics
    /// As [`settle`](Self::settle).
    pub async fn advance_to_next(&self) -> Option<Timestamp> {
        self.settle().await;
        let reached = self.advance_to_next_now()?;
        self.settle().await;
        Some(reached)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.core.lock().now.wall
    }

    fn monotonic(&self) -> Duration {
        self.core.lock().now.monotonic
    }

    fn sleep_until(&self, deadline: Timestamp) -> Wait {
        sleepers::wait(Arc::clone(&self.core), Moment::Wall(deadline))
    }

    fn sleep(&self, duration: Duration) -> Wait {
        let deadline = self.monotonic().saturating_add(duration);
        sleepers::wait(Arc::clone(&self.core), Moment::Monotonic(deadline))
    }

    fn jumped(&self) -> Wait {
        let jumps = self.core.lock().sleepers.jumps();
        sleepers::wait(Arc::clone(&self.core), Moment::Jump(jumps))
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for Core {
    fn poll(&self, sleeper: &mut Sleeper, waker: &Waker) -> Poll<()> {
        let mut state = self.lock();
        let now = state.now;
        state.sleepers.poll(now, sleeper, waker)
    }

    fn cancel(&self, sleeper: &Sleeper) {
        let waker = self.lock().sleepers.cancel(sleeper);
        drop(waker);
    }
}

/// `wall` moved on; the end of representable time stays the end.
fn later(wall: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| wall.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::constant(1_767_225_600, 0);
    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> (Arc<VirtualClock>, Arc<Mutex<Vec<String>>>) {
        (Arc::new(VirtualClock::new(START)), Arc::default())
    }

    fn note(log: &Mutex<Vec<String>>, clock: &VirtualClock, what: &str) {
        log.lock().unwrap().push(format!("{what}@{}", clock.monotonic().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn sleepers_wake_in_order_of_deadline_each_at_its_own_time() {
        let (clock, log) = clock();
        for (name, seconds) in [("c", 3), ("a", 1), ("b", 2), ("a too", 1)] {
            let (clock, log) = (Arc::clone(&clock), Arc::clone(&log));
            tokio::spawn(async move {
                if name == "b" {
                    clock.sleep_until(START + SignedDuration::from_secs(seconds)).await;
                } else {
                    clock.sleep(Duration::from_secs(seconds.unsigned_abs())).await;
                }
                note(&log, &clock, name);
            });
        }
        clock.advance(10 * SECOND).await;
        assert_eq!(*log.lock().unwrap(), ["a@1", "a too@1", "b@2", "c@3"]);
        assert_eq!(clock.now(), START + SignedDuration::from_secs(10));
        assert_eq!(clock.next_deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn consequences_of_a_deadline_happen_before_the_next_one() {
        let (clock, log) = clock();
        let (ticker, ticks) = (Arc::clone(&clock), Arc::clone(&log));
        tokio::spawn(async move {
            for _ in 0..3 {
                ticker.sleep(2 * SECOND).await;
                // Work of several steps, partly on another thread.
                tokio::task::yield_now().await;
                tokio::task::spawn_blocking(|| ()).await.unwrap();
                note(&ticks, &ticker, "tick");
            }
        });
        let (other, log2) = (Arc::clone(&clock), Arc::clone(&log));
        tokio::spawn(async move {
            other.sleep(3 * SECOND).await;
            note(&log2, &other, "other");
        });
        clock.advance(6 * SECOND).await;
        assert_eq!(*log.lock().unwrap(), ["tick@2", "other@3", "tick@4", "tick@6"]);
    }

    #[tokio::test(start_paused = true)]
    async fn advance_to_next_stops_at_each_deadline() {
        let (clock, _) = clock();
        let sleeping = Arc::clone(&clock);
        let task = tokio::spawn(async move {
            sleeping.sleep(5 * SECOND).await;
            sleeping.sleep(7 * SECOND).await;
        });
        let at = |seconds| Some(START + SignedDuration::from_secs(seconds));
        assert_eq!(clock.advance_to_next().await, at(5));
        assert_eq!(clock.next_deadline(), at(12));
        assert_eq!(clock.advance_to_next().await, at(12));
        assert_eq!(clock.advance_to_next().await, None);
        assert!(task.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wall_jumps_without_the_monotonic_clock() {
        let (clock, log) = clock();
        for name in ["wall", "monotonic", "jump"] {
            let (clock, log) = (Arc::clone(&clock), Arc::clone(&log));
            let wait = match name {
                "wall" => clock.sleep_until(START + SignedDuration::from_hours(1)),
                "monotonic" => clock.sleep(2 * SECOND),
                _ => clock.jumped(),
            };
            tokio::spawn(async move {
                wait.await;
                note(&log, &clock, name);
            });
        }
        clock.settle().await;
        clock.set_wall(START + SignedDuration::from_millis(400));
        clock.settle().await;
        assert!(log.lock().unwrap().is_empty(), "a correction is no jump");
        clock.set_wall(START - SignedDuration::from_hours(1));
        clock.settle().await;
        assert_eq!(*log.lock().unwrap(), ["jump@0"]);
        clock.advance(SECOND).await;
        clock.set_wall(START + SignedDuration::from_hours(2));
        clock.advance(SECOND).await;
        assert_eq!(*log.lock().unwrap(), ["jump@0", "wall@1", "monotonic@2"]);
    }

    #[test]
    fn dropped_sleepers_are_forgotten_and_jumps_before_the_call_do_not_count() {
        let (clock, _) = clock();
        clock.set_wall(START + SignedDuration::from_hours(1));
        let mut waits = [clock.sleep(SECOND), clock.sleep_until(Timestamp::MAX), clock.jumped()];
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(clock.core.lock().sleepers.len(), 3);
        drop(waits);
        assert_eq!(clock.core.lock().sleepers.len(), 0);
        clock.advance_now(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[test]
    fn a_sleep_counts_from_its_call_not_from_its_first_poll() {
        let (clock, _) = clock();
        let mut wait = clock.sleep(SECOND);
        clock.advance_now(SECOND);
        assert!(wait.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_ready());
    }

    #[tokio::test]
    #[should_panic(expected = "time is not frozen")]
    async fn settling_where_time_is_real_is_refused() {
        clock().0.settle().await;
    }
}
