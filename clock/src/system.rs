//! The real clock: one thread that sleeps until the next deadline and wakes whoever waits for it.
//!
//! A thread of its own, because an async runtime's timer wheel is a millisecond coarse (measured with
//! tokio at 10,000 dues a second: half of them 0.95 ms late, against 0.08 ms here). The thread looks at
//! the wall clock once a second while somebody waits for it, and is asleep otherwise.

use crate::clock::{Clock, JUMP, Wait};
use crate::sleepers::{self, Keeper, Moment, Reading, Sleeper, Sleepers};
use jiff::{SignedDuration, Timestamp};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Longest time without a look at the wall clock while somebody waits for it. The contract of
/// [`Clock::sleep_until`] after a jump; a wake-up a second costs some 0.002 % of a core.
const LOOK: Duration = Duration::from_secs(1);

/// Wakers taken out under one hold of the lock, so that a herd does not shut out those who fall asleep.
const BATCH: usize = 256;

/// The clock of the machine. Cheap to clone; the thread ends with the last clone and the last wait.
#[derive(Debug, Clone)]
pub struct SystemClock {
    timer: Arc<Timer>,
}

impl SystemClock {
    /// Starts the timer thread.
    ///
    /// # Errors
    /// When the system gives us no thread.
    pub fn new() -> io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
        Self::with_wall(Timestamp::now)
    }

    fn with_wall(wall: impl Fn() -> Timestamp + Send + Sync + 'static) -> io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
        let origin = Instant::now();
        let core = Arc::new(Core {
            origin,
            wall: Box::new(wall),
            state: Mutex::new(State::default()),
            earlier: Condvar::new(),
        });
        let running = Arc::clone(&core);
        std::thread::Builder::new().name("punctual-clock".to_owned()).spawn(move || running.run())?;
        Ok(Self { timer: Arc::new(Timer { core }) })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        (self.timer.core.wall)()
    }

    fn monotonic(&self) -> Duration {
        self.timer.core.origin.elapsed()
    }

    fn sleep_until(&self, deadline: Timestamp) -> Wait {
        sleepers::wait(Arc::clone(&self.timer), Moment::Wall(deadline))
    }

    fn sleep(&self, duration: Duration) -> Wait {
        let deadline = self.monotonic().saturating_add(duration);
        sleepers::wait(Arc::clone(&self.timer), Moment::Monotonic(deadline))
    }

    fn jumped(&self) -> Wait {
        let jumps = self.timer.core.lock().sleepers.jumps();
        sleepers::wait(Arc::clone(&self.timer), Moment::Jump(jumps))
    }
}

/// Held by the clocks and by every wait; the last one to go ends the thread.
struct Timer {
    core: Arc<Core>,
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Timer")
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.core.lock().closed = true;
        self.core.earlier.notify_one();
    }
}

impl Keeper for Timer {
    fn poll(&self, sleeper: &mut Sleeper, waker: &Waker) -> Poll<()> {
        let mut state = self.core.lock();
        let now = self.core.read();
        let poll = state.sleepers.poll(now, sleeper, waker);
        if poll.is_pending() {
            let wake = match sleeper.moment {
                Moment::Monotonic(at) => at,
                Moment::Wall(at) => now.foresee(at).min(now.monotonic.saturating_add(LOOK)),
                Moment::Jump(_) => now.monotonic.saturating_add(LOOK),
            };
            if state.wakes_at.is_none_or(|at| wake < at) {
                state.wakes_at = Some(wake);
                drop(state);
                self.core.earlier.notify_one();
            }
        }
        poll
    }

    fn cancel(&self, sleeper: &Sleeper) {
        // The thread may still wake for it, once; it then finds nothing and sleeps on.
        let waker = self.core.lock().sleepers.cancel(sleeper);
        drop(waker);
    }
}

struct Core {
    origin: Instant,
    wall: Box<dyn Fn() -> Timestamp + Send + Sync>,
    state: Mutex<State>,
    /// Notified when the thread has to look earlier than `wakes_at` said, and at the end.
    earlier: Condvar,
}

#[derive(Default)]
struct State {
    sleepers: Sleepers,
    /// Monotonic time at which the thread will look next; `None` while it sleeps for good.
    wakes_at: Option<Duration>,
    closed: bool,
    #[cfg(test)]
    looks: u64,
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock, and the lists are whole between any two of its statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Reading {
        Reading { wall: (self.wall)(), monotonic: self.origin.elapsed() }
    }

    fn run(&self) {
        let mut woken = Vec::with_capacity(BATCH);
        let mut drift = Drift::new(self.read());
        let mut state = self.lock();
        while !state.closed {
            #[cfg(test)]
            {
                state.looks += 1;
            }
            let now = self.read();
            if drift.has_jumped(now) {
                state.sleepers.jump(&mut woken);
            }
            state.sleepers.due(now, BATCH, &mut woken);
            if !woken.is_empty() {
                // Whoever falls asleep meanwhile need not notify: this thread looks again anyway.
                state.wakes_at = Some(Duration::ZERO);
                drop(state);
                for waker in woken.drain(..) {
                    // A waker is foreign code; its panic must not end everybody's time.
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                state = self.lock();
                continue;
            }
            let look = state.sleepers.watch_wall().then(|| now.monotonic.saturating_add(LOOK));
            state.wakes_at = state.sleepers.next(now).into_iter().chain(look).min();
            state = match state.wakes_at {
                Some(at) => {
                    let left = at.saturating_sub(now.monotonic);
                    self.earlier.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.earlier.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// How far the wall clock stands from the monotonic one, as of the last look.
struct Drift(SignedDuration);

impl Drift {
    fn new(now: Reading) -> Self {
        Self(Self::of(now))
    }

    fn of(now: Reading) -> SignedDuration {
        let monotonic = SignedDuration::try_from(now.monotonic).unwrap_or(SignedDuration::MAX);
        now.wall.as_duration().saturating_sub(monotonic)
    }

    fn has_jumped(&mut self, now: Reading) -> bool {
        let before = std::mem::replace(&mut self.0, Self::of(now));
        self.0.saturating_sub(before).unsigned_abs() > JUMP
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// Long enough for any machine under load; only a hang reaches it.
    const GENEROUS: Duration = Duration::from_secs(20);

    /// A system clock whose wall time is the machine's plus a shift that the test sets.
    fn shifted() -> (SystemClock, Arc<AtomicI64>) {
        let shift = Arc::new(AtomicI64::new(0));
        let seen = Arc::clone(&shift);
        #[expect(clippy::disallowed_methods, reason = "the test shifts the real clock")]
        let wall = move || Timestamp::now() + SignedDuration::from_secs(seen.load(Ordering::SeqCst));
        (SystemClock::with_wall(wall).unwrap(), shift)
    }

    async fn within_reason(wait: Wait) {
        #[expect(clippy::disallowed_methods, reason = "the clock under test must not time itself out")]
        tokio::time::timeout(GENEROUS, wait).await.expect("the sleeper was never woken");
    }

    #[tokio::test]
    async fn a_sleeper_wakes_at_its_time_and_not_before() {
        let clock = SystemClock::new().unwrap();
        let before = clock.monotonic();
        within_reason(clock.sleep(Duration::from_millis(20))).await;
        assert!(clock.monotonic() - before >= Duration::from_millis(20));
        let deadline = clock.now() + SignedDuration::from_millis(20);
        within_reason(clock.sleep_until(deadline)).await;
        assert!(clock.now() >= deadline);
    }

    #[tokio::test]
    async fn what_has_come_already_is_ready_at_once() {
        let clock = SystemClock::new().unwrap();
        clock.sleep(Duration::ZERO).await;
        clock.sleep_until(Timestamp::MIN).await;
        assert_eq!(clock.timer.core.lock().sleepers.len(), 0);
    }

    #[tokio::test]
    async fn a_jump_wakes_wall_sleepers_and_those_who_wait_for_jumps_but_no_monotonic_one() {
        let (clock, shift) = shifted();
        let mut monotonic = clock.sleep(Duration::from_secs(3600));
        assert!(poll(&mut monotonic).is_pending());
        let (hour, jumped) = (clock.sleep_until(clock.now() + SignedDuration::from_hours(1)), clock.jumped());
        let mover = async {
            // Let the thread see the time before the jump first.
            within_reason(clock.sleep(Duration::from_millis(5))).await;
            shift.store(7200, Ordering::SeqCst);
        };
        tokio::join!(within_reason(hour), within_reason(jumped), mover);
        assert!(poll(&mut monotonic).is_pending());
    }

    #[tokio::test]
    async fn ten_thousand_sleepers_wake_and_dropped_ones_leave_no_trace() {
        let clock = SystemClock::new().unwrap();
        let mut kept = Vec::new();
        for n in 0..10_000u64 {
            let mut wait = clock.sleep(Duration::from_millis(5 + n % 20));
            let mut forgotten = clock.sleep(Duration::from_secs(3600 + n));
            let mut until = clock.sleep_until(clock.now() + SignedDuration::from_hours(1));
            let mut jumped = clock.jumped();
            for wait in [&mut wait, &mut forgotten, &mut until, &mut jumped] {
                assert!(poll(wait).is_pending() || n > 0);
            }
            kept.push(wait);
        }
        for wait in kept {
            within_reason(wait).await;
        }
        assert_eq!(clock.timer.core.lock().sleepers.len(), 0);
    }

    #[tokio::test]
    async fn the_thread_sleeps_when_nobody_does_and_looks_about_once_a_second_otherwise() {
        let clock = SystemClock::new().unwrap();
        for _ in 0..100 {
            let mut dropped = clock.sleep(Duration::from_millis(1));
            let _ = poll(&mut dropped);
        }
        within_reason(clock.sleep(Duration::from_millis(30))).await;
        let idle_from = clock.timer.core.lock().looks;
        let mut far = clock.sleep_until(clock.now() + SignedDuration::from_hours(1));
        assert!(poll(&mut far).is_pending());
        within_reason(clock.sleep(Duration::from_millis(1200))).await;
        drop(far);
        let looks = clock.timer.core.lock().looks - idle_from;
        assert!((2..=12).contains(&looks), "{looks} looks in 1.2 s");
    }

    #[tokio::test]
    async fn a_wait_outlives_its_clock_and_a_finished_wait_stays_ready() {
        let clock = SystemClock::new().unwrap();
        let mut wait = clock.sleep(Duration::from_millis(10));
        drop(clock);
        within_reason(Box::pin(async move {
            (&mut wait).await;
            (&mut wait).await;
        }))
        .await;
    }

    #[tokio::test]
    async fn a_panicking_waker_does_not_stop_the_time_of_others() {
        struct Bomb;
        impl std::task::Wake for Bomb {
            fn wake(self: Arc<Self>) {
                panic!("boom");
            }
        }
        let clock = SystemClock::new().unwrap();
        let bomb = Waker::from(Arc::new(Bomb));
        let mut wait = clock.sleep(Duration::from_millis(1));
        assert!(wait.as_mut().poll(&mut std::task::Context::from_waker(&bomb)).is_pending());
        within_reason(clock.sleep(Duration::from_millis(10))).await;
    }

    fn poll(wait: &mut Wait) -> Poll<()> {
        wait.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()))
    }
}
