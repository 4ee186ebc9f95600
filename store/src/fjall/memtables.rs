//! The memory of flushed memtables is given back outside the locks of the database.
//!
//! The database lets go of a memtable while it holds the lock that every commit to that keyspace takes. A memtable of
//! 4 MiB has tens of thousands of entries, each freed for itself: nobody's run began for 10 to 14 ms (measured; lsm-tree
//! 3.1.10, `SuperVersions::maintenance`). So each is held here as well, and whoever holds it last is a thread of ours.

use super::keyspaces::{COUNT, Keyspaces};
use fjall::AbstractTree;
use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Commits between two looks. A look costs a microsecond; a memtable that comes and goes between two of them is freed
/// by the database, as if there were nothing here, and would need commits of 256 KiB each.
const LOOK_EVERY: u32 = 16;
/// How soon to see whether the database has let go of a memtable: it has to be flushed before.
const FIRST_LOOK: Duration = Duration::from_millis(20);
/// Then twice as long each time, until this: at rest the database keeps the last one until something is written.
const LAST_LOOK: Duration = Duration::from_secs(20);

/// Whatever a memtable is: it is only held.
type Memtable = Arc<dyn Any + Send + Sync>;

/// Holds the memtable that each keyspace writes to.
pub(super) struct Memtables {
    keyspaces: Keyspaces,
    held: [Memtable; COUNT],
    until_look: u32,
    /// None only while it is dropped.
    full: Option<Sender<Memtable>>,
    freeing: Option<JoinHandle<()>>,
}

impl Memtables {
    /// Begins to hold what is written to now.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub(super) fn hold(keyspaces: Keyspaces) -> std::io::Result<Self> {
        let (full, given) = channel();
        let thread = std::thread::Builder::new().name("punctual-free".to_owned());
        let freeing = Some(thread.spawn(move || free(&given))?);
        let held = active(&keyspaces);
        Ok(Self { keyspaces, held, until_look: LOOK_EVERY, full: Some(full), freeing })
    }

    /// After each commit: now and then looks for memtables that are written to no more.
    pub(super) fn committed(&mut self) {
        self.until_look -= 1;
        if self.until_look == 0 {
            self.until_look = LOOK_EVERY;
            self.look();
        }
    }

    fn look(&mut self) {
        for (held, now) in self.held.iter_mut().zip(active(&self.keyspaces)) {
            if !Arc::ptr_eq(held, &now) {
                let full = std::mem::replace(held, now);
                // If there is nobody to take it, it is freed here.
                let _ = self.full.as_ref().map(|thread| thread.send(full));
            }
        }
    }
}

impl Drop for Memtables {
    fn drop(&mut self) {
        self.full = None;
        // It has nothing to tell.
        let _ = self.freeing.take().map(JoinHandle::join);
    }
}

fn active(keyspaces: &Keyspaces) -> [Memtable; COUNT] {
    keyspaces.named().map(|(_, keyspace)| keyspace.tree.active_memtable() as Memtable)
}

/// Frees each once nobody else holds it; all of them at the end.
fn free(given: &Receiver<Memtable>) {
    let mut waiting: Vec<Memtable> = Vec::new();
    let mut patience = FIRST_LOOK;
    loop {
        let next = match waiting.is_empty() {
            true => given.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => given.recv_timeout(patience),
        };
        match next {
            Ok(memtable) => {
                waiting.push(memtable);
                patience = FIRST_LOOK;
            }
            Err(RecvTimeoutError::Timeout) => patience = LAST_LOOK.min(2 * patience),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        waiting.retain(|memtable| Arc::strong_count(memtable) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fjall::{keyspaces, options::Options};
    use std::sync::Weak;

    /// Tells who frees it.
    struct Mourned(Sender<Option<String>>);

    impl Drop for Mourned {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().name().map(str::to_owned));
        }
    }

    #[test]
    fn what_somebody_else_still_holds_is_freed_by_the_thread_when_they_let_go() {
        let (told, hear) = channel();
        let (full, given) = channel::<Memtable>();
        let thread = std::thread::Builder::new().name("free".to_owned()).spawn(move || free(&given)).unwrap();
        let held = Arc::new(Mourned(told));
        full.send(Arc::clone(&held) as Memtable).unwrap();
        assert!(hear.try_recv().is_err());
        let other = Arc::clone(&held);
        drop(held);
        drop(other);
        assert_eq!(hear.recv_timeout(Duration::from_secs(60)).unwrap().as_deref(), Some("free"));
        drop(full);
        thread.join().unwrap();
    }

    /// Notes how many hold another one when it is freed.
    struct Witness(Weak<()>, Sender<usize>);

    impl Drop for Witness {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.strong_count());
        }
    }

    #[test]
    fn what_nobody_else_holds_is_freed_at_once_while_more_is_coming() {
        let (told, hear) = channel();
        let (full, given) = channel::<Memtable>();
        let held = Arc::new(());
        full.send(Arc::clone(&held) as Memtable).unwrap();
        full.send(Arc::new(Witness(Arc::downgrade(&held), told))).unwrap();
        drop(full);
        free(&given);
        assert_eq!(hear.recv(), Ok(2), "the one before it was given up first: both at the end");
    }

    /// Two flushes: with the second one the database lets go of what the first one was about.
    fn flush_twice(keyspaces: &Keyspaces) {
        for n in 0..2_u8 {
            keyspaces.meta.insert([n], [n]).unwrap();
            keyspaces.meta.rotate_memtable_and_wait().unwrap();
        }
    }

    #[test]
    fn a_flushed_memtable_lives_until_it_was_looked_for_and_not_longer() {
        let home = tempfile::tempdir().unwrap();
        let (database, keyspaces) = keyspaces::open(home.path(), &Options::default()).unwrap();
        let unheld = Arc::downgrade(&active(&keyspaces)[0]);
        flush_twice(&keyspaces);
        assert!(unheld.upgrade().is_none(), "the database keeps it for longer than it is said to");
        let mut memtables = Memtables::hold(keyspaces.clone()).unwrap();
        let first = Arc::downgrade(&memtables.held[0]);
        flush_twice(&keyspaces);
        assert!(first.upgrade().is_some(), "the database was the last to hold it");
        for _ in 0..LOOK_EVERY {
            memtables.committed();
        }
        let second = Arc::downgrade(&memtables.held[0]);
        assert!(!Weak::ptr_eq(&first, &second));
        drop(memtables);
        assert!(first.upgrade().is_none(), "it is held after all");
        drop((keyspaces, database));
        assert!(second.upgrade().is_none());
    }
}
