//! Where callers leave their requests and the writer fetches all of them at once.
//!
//! A bounded channel between async callers and a thread: callers wait for room without holding a thread, the
//! writer takes everything in one swap and can wait with a limit.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Requests that wait at most; then callers wait for room. Some ten batches: enough that the writer never
/// runs dry, and all of them together wait less than a tenth of a second.
const ROOM: usize = 4_096;

/// The channel.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    room: Semaphore,
}

#[derive(Debug)]
struct State<T> {
    letters: VecDeque<T>,
    closed: bool,
    /// The writer sleeps; nobody else has to be woken.
    asleep: bool,
}

/// What the writer finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// There are letters.
    Some,
    /// None came within the time.
    None,
    /// None will come any more.
    Closed,
}

impl<T> Inbox<T> {
    pub(super) fn new() -> Self {
        let state = State { letters: VecDeque::new(), closed: false, asleep: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), room: Semaphore::new(ROOM) }
    }

    /// Leaves a letter, once there is room. Gives it back if the inbox is closed.
    pub(super) async fn send(&self, letter: T) -> Result<(), T> {
        match self.room.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_closed) => return Err(letter),
        }
        let mut state = self.lock();
        if state.closed {
            return Err(letter);
        }
        state.letters.push_back(letter);
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Moves all letters to `into`, waiting at most `patience` (for ever if none) for the first one.
    pub(super) fn fetch(&self, into: &mut VecDeque<T>, patience: Option<Duration>) -> Fetched {
        let mut state = self.lock();
        // One wait is enough: who wakes for nothing looks again with the next call.
        if state.letters.is_empty() && !state.closed {
            state.asleep = true;
            state = match patience {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    self.arrived.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.asleep = false;
        }
        if state.letters.is_empty() {
            return if state.closed { Fetched::Closed } else { Fetched::None };
        }
        self.room.add_permits(state.letters.len());
        into.append(&mut state.letters);
        Fetched::Some
    }

    /// Takes no more letters; what is in it may still be fetched.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn the_writer_gets_everything_at_once_and_then_the_end() {
        let inbox = Inbox::new();
        for n in 0..3 {
            inbox.send(n).await.unwrap();
        }
        inbox.close();
        assert_eq!(inbox.send(3).await, Err(3));
        let mut letters = VecDeque::new();
        assert_eq!(inbox.fetch(&mut letters, None), Fetched::Some);
        assert_eq!(letters, [0, 1, 2]);
        assert_eq!(inbox.fetch(&mut letters, None), Fetched::Closed);
    }

    #[tokio::test]
    async fn callers_wait_for_room_and_a_sleeping_writer_wakes() {
        let inbox = Arc::new(Inbox::new());
        let writer = {
            let inbox = inbox.clone();
            std::thread::spawn(move || {
                let (mut got, mut all) = (VecDeque::new(), Vec::new());
                while inbox.fetch(&mut got, None) != Fetched::Closed {
                    assert!(got.len() <= ROOM);
                    all.extend(got.drain(..));
                }
                all
            })
        };
        for n in 0..3 * ROOM {
            inbox.send(n).await.unwrap();
        }
        inbox.close();
        assert_eq!(writer.join().unwrap(), (0..3 * ROOM).collect::<Vec<_>>());
    }

    #[test]
    fn an_idle_writer_comes_back_after_its_patience() {
        let inbox = Inbox::<u8>::new();
        assert_eq!(inbox.fetch(&mut VecDeque::new(), Some(Duration::from_millis(1))), Fetched::None);
    }
}
