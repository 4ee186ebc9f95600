//! Makes what was written to the database's journal durable, without the database.
//!
//! The database syncs its journal under the lock that the next commit needs, so that nothing can be written while
//! the disk works. Here the newest journal is opened once more, and synced through a descriptor of its own. The
//! database makes a new journal only after it has synced the one before as a whole, and writes to the new one only
//! after that: whatever was committed when [`JournalSync::sync`] is called lies in the newest journal or is
//! durable already.
//!
//! How long that takes depends on the journal: one that the database made is 64 MiB of zeros from the beginning; one
//! that it has opened again ends where its last commit does, and each commit behind that makes it longer, so that each
//! sync writes its length, too, to another place of the disk: half as long again. So it is from a restart until that
//! journal is full. (The database would lose its order without a journal: none may be taken from it at a start.)

use super::journals;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The newest journal, as far as is known.
#[derive(Debug)]
pub(super) struct JournalSync {
    database: PathBuf,
    number: u64,
    file: File,
}

impl JournalSync {
    /// Finds the newest journal of an open database.
    pub(super) fn open(database: &Path) -> io::Result<Self> {
        let newest = journals::list(database)?.pop();
        let newest = newest.ok_or_else(|| io::Error::other("the database has no journal"))?;
        let file = File::open(&newest.path)?;
        Ok(Self { database: database.to_owned(), number: newest.number, file })
    }

    /// Returns when everything that was committed before the call is durable. After an error nothing is known, and
    /// the next call may succeed without it being there: nobody may go on then.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        loop {
            let next = journals::path(&self.database, self.number + 1);
            match File::open(next) {
                Ok(file) => (self.file, self.number) = (file, self.number + 1),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        self.file.sync_data()
    }
}

#[cfg(test)]
impl JournalSync {
    /// Fails from now on.
    pub(super) fn break_down(&mut self) {
        // Nothing that can be synced.
        (self.file, self.number) = (File::open("/dev/null").unwrap(), 1 << 40);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_newest_journal_is_found_again_after_each_change() {
        let folder = tempfile::tempdir().unwrap();
        let make = |number| fs::write(journals::path(folder.path(), number), [0; 10]).unwrap();
        assert!(JournalSync::open(folder.path()).is_err());
        make(7);
        make(8);
        let mut sync = JournalSync::open(folder.path()).unwrap();
        assert_eq!(sync.number, 8);
        for (made, expected) in [(vec![], 8), (vec![9], 9), (vec![10, 11], 11)] {
            made.into_iter().for_each(make);
            sync.sync().unwrap();
            assert_eq!(sync.number, expected);
        }
    }
}
