//! Who is asleep, until when, and how to wake them: the ordered list that both clocks keep.
//!
//! Wall-clock and monotonic sleepers stand in two maps because a jump reorders one against the other.
//! Falling asleep, waking and giving up are O(log n) each. This room reads no clock: a [`Reading`] is
//! given to it.

use crate::clock::Wait;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) wall: Timestamp,
    pub(crate) monotonic: Duration,
}

impl Reading {
    /// The monotonic time at which the wall clock will read `deadline` if it does not jump; now, if it
    /// does already.
    pub(crate) fn foresee(&self, deadline: Timestamp) -> Duration {
        let left = Duration::try_from(deadline.duration_since(self.wall)).unwrap_or(Duration::ZERO);
        self.monotonic.saturating_add(left)
    }
}

/// What a sleeper waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    Wall(Timestamp),
    Monotonic(Duration),
    /// A jump later than this many jumps.
    Jump(u64),
}

/// One wait: its moment, and the ticket under which it is listed once it was polled.
#[derive(Debug)]
pub(crate) struct Sleeper {
    pub(crate) moment: Moment,
    ticket: Option<u64>,
}

/// The sleepers of one clock.
#[derive(Debug, Default)]
pub(crate) struct Sleepers {
    wall: BTreeMap<(Timestamp, u64), Waker>,
    monotonic: BTreeMap<(Duration, u64), Waker>,
    jump: BTreeMap<u64, Waker>,
    jumps: u64,
    tickets: u64,
}

impl Sleepers {
    pub(crate) fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Whether anybody depends on the wall clock.
    pub(crate) fn watch_wall(&self) -> bool {
        !self.wall.is_empty() || !self.jump.is_empty()
    }

    /// The monotonic time of the next deadline if the wall clock does not jump.
    pub(crate) fn next(&self, now: Reading) -> Option<Duration> {
        let wall = self.wall.first_key_value().map(|((at, _), _)| now.foresee(*at));
        let monotonic = self.monotonic.first_key_value().map(|((at, _), _)| *at);
        wall.into_iter().chain(monotonic).min()
    }

    /// Notes a jump of the wall clock and hands out everybody who waited for one.
    pub(crate) fn jump(&mut self, woken: &mut Vec<Waker>) {
        self.jumps += 1;
        woken.extend(std::mem::take(&mut self.jump).into_values());
    }

    /// Takes out up to `limit` sleepers whose moment has come, in order of deadline.
    pub(crate) fn due(&mut self, now: Reading, limit: usize, woken: &mut Vec<Waker>) {
        while woken.len() < limit {
            let wall = self.wall.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= now.wall);
            let monotonic =
                self.monotonic.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= now.monotonic);
            let wall_first = match (wall, monotonic) {
                (None, None) => return,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                // How long ago each came due decides, as if the wall clock had never jumped.
                (Some(wall), Some(monotonic)) => {
                    now.wall.duration_since(wall)
                        >= (now.monotonic - monotonic).try_into().unwrap_or(jiff::SignedDuration::MAX)
                }
            };
            let waker = if wall_first {
                self.wall.pop_first().map(|(_, waker)| waker)
            } else {
                self.monotonic.pop_first().map(|(_, waker)| waker)
            };
            woken.extend(waker);
        }
    }

    /// Ready if the sleeper's moment has come; else lists it, or renews its waker.
    pub(crate) fn poll(&mut self, now: Reading, sleeper: &mut Sleeper, waker: &Waker) -> Poll<()> {
        let Some(ticket) = sleeper.ticket else {
            let come = match sleeper.moment {
                Moment::Wall(at) => at <= now.wall,
                Moment::Monotonic(at) => at <= now.monotonic,
                Moment::Jump(seen) => seen < self.jumps,
            };
            if come {
                return Poll::Ready(());
            }
            self.tickets += 1;
            let ticket = self.tickets;
            sleeper.ticket = Some(ticket);
            let waker = waker.clone();
            match sleeper.moment {
                Moment::Wall(at) => self.wall.insert((at, ticket), waker),
                Moment::Monotonic(at) => self.monotonic.insert((at, ticket), waker),
                Moment::Jump(_) => self.jump.insert(ticket, waker),
            };
            return Poll::Pending;
        };
        let listed = match sleeper.moment {
            Moment::Wall(at) => self.wall.get_mut(&(at, ticket)),
            Moment::Monotonic(at) => self.monotonic.get_mut(&(at, ticket)),
            Moment::Jump(_) => self.jump.get_mut(&ticket),
        };
        // Nobody but its own drop and the clock takes a sleeper off the list, so a missing one was woken.
        let Some(listed) = listed else { return Poll::Ready(()) };
        listed.clone_from(waker);
        Poll::Pending
    }

    /// Forgets a sleeper that gave up. Its waker is answered so that it is dropped outside the lock.
    pub(crate) fn cancel(&mut self, sleeper: &Sleeper) -> Option<Waker> {
        let ticket = sleeper.ticket?;
        match sleeper.moment {
            Moment::Wall(at) => self.wall.remove(&(at, ticket)),
            Moment::Monotonic(at) => self.monotonic.remove(&(at, ticket)),
            Moment::Jump(_) => self.jump.remove(&ticket),
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.wall.len() + self.monotonic.len() + self.jump.len()
    }
}

/// The lock around the sleepers, and whatever has to be told when the list grows.
pub(crate) trait Keeper: Send + Sync + 'static {
    fn poll(&self, sleeper: &mut Sleeper, waker: &Waker) -> Poll<()>;
    fn cancel(&self, sleeper: &Sleeper);
}

/// A wait on the sleepers of `keeper`, which it keeps alive.
pub(crate) fn wait<K: Keeper>(keeper: Arc<K>, moment: Moment) -> Wait {
    Box::pin(Asleep { keeper, sleeper: Sleeper { moment, ticket: None }, done: false })
}

struct Asleep<K: Keeper> {
    keeper: Arc<K>,
    sleeper: Sleeper,
    done: bool,
}

impl<K: Keeper> Future for Asleep<K> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let asleep = self.get_mut();
        if !asleep.done {
            asleep.done = asleep.keeper.poll(&mut asleep.sleeper, context.waker()).is_ready();
        }
        if asleep.done { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<K: Keeper> Drop for Asleep<K> {
    fn drop(&mut self) {
        if !self.done {
            self.keeper.cancel(&self.sleeper);
        }
    }
}
