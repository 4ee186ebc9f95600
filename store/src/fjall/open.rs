//! From a path to an open database, or to a reason why not.
//!
//! Everything that can be refused without the database is refused before it is touched: it creates what it
//! misses and cuts off what it cannot read, silently.

use super::blank;
use super::definitions::Definitions;
use super::directory::{Directory, FORMAT};
use super::journals::{self, Journal, Rest};
use super::keyspaces::{self, Keyspaces};
use super::open_error::OpenError;
use super::options::Options;
use super::seal::{Mark, Seal};
use super::tables::Core;
use crate::ledger::Quarantine;
use fjall::Database;
use punctual_faults::crash_point;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// An open database with what guards it.
pub(super) struct Opened {
    pub(super) core: Core,
    pub(super) seal: Seal,
    pub(super) directory: Directory,
    /// The last commit.
    pub(super) sequence: u64,
}

/// Opens the store in a directory, or makes one.
pub(super) fn open(path: &Path, options: &Options) -> Result<Opened, OpenError> {
    let directory = Directory::open(path)?;
    crash_point("store.open.locked");
    if directory.format.is_some() { open_made(directory, options) } else { make(directory, options) }
}

fn make(mut directory: Directory, options: &Options) -> Result<Opened, OpenError> {
    let (database, seal) = (directory.database(), directory.seal());
    match fs::exists(&seal).and_then(|there| if there { Seal::open(&seal) } else { Ok(None) }) {
        Err(error) => return Err(OpenError::io("read", &seal)(error)),
        Ok(Some(sealed)) if sealed.mark().sequence > 0 => {
            let refuse = Refuse { path: directory.root(), sealed: Some(sealed.mark().sequence), aside: None };
            return Err(refuse.damaged("the file FORMAT is missing"));
        }
        Ok(_) => {}
    }
    // Nothing was ever acknowledged from here: a make that was cut short is made again.
    remove_unfinished(&database)?;
    if !database.exists() {
        blank::make(&directory, options).map_err(OpenError::io("make", &database))?;
    }
    for folder in [&database, &directory.root().join("output"), &directory.aside()] {
        directory.make_folder(folder)?;
    }
    crash_point("store.make.begun");
    let refuse = Refuse { path: directory.root(), sealed: None, aside: None };
    let core = open_database(&directory, options, &refuse)?;
    let sequence = core.sequence().map_err(|error| refuse.damaged(error))?;
    let mark = Mark { sequence, journals: journal_range(&directory)?, clean: false };
    let seal = Seal::create(&seal, mark).map_err(OpenError::io("write", &seal))?;
    crash_point("store.make.sealed");
    directory.finish()?;
    Ok(Opened { core, seal, directory, sequence })
}

/// Removes what an interrupted make has left, as long as no keyspace is in it; the database itself would
/// stumble over that.
fn remove_unfinished(database: &Path) -> Result<(), OpenError> {
    let has_keyspaces =
        fs::read_dir(database.join("keyspaces")).is_ok_and(|mut found| found.next().is_some());
    let is_there = fs::exists(database).map_err(OpenError::io("look at", database))?;
    if !is_there || has_keyspaces || database.join("version").exists() {
        return Ok(());
    }
    fs::remove_dir_all(database).map_err(OpenError::io("remove the unfinished", database))
}

fn open_made(mut directory: Directory, options: &Options) -> Result<Opened, OpenError> {
    let (database, seal) = (directory.database(), directory.seal());
    let mut refuse = Refuse { path: directory.root(), sealed: None, aside: None };
    let mut seal = match Seal::open(&seal) {
        Ok(Some(seal)) => seal,
        Ok(None) => return Err(refuse.damaged("the seal cannot be read")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(refuse.damaged("the seal is missing"));
        }
        Err(error) => return Err(OpenError::io("read", &seal)(error)),
    };
    let sealed = seal.mark();
    refuse.sealed = Some(sealed.sequence);
    let (last, would_lose) = examine(&database, sealed, &refuse)?;
    let acknowledged = sealed.sequence.max(last.unwrap_or(0));
    if would_lose {
        directory.make_folder(&directory.aside())?;
        let copy = journals::copy_aside(&database, &directory.aside());
        refuse.aside = Some(copy.map_err(OpenError::io("copy the journals of", &database))?);
        if journals::is_known(&database).map_err(OpenError::io("read", &database))? {
            journals::cut_torn(&database).map_err(OpenError::io("cut a torn commit off in", &database))?;
        }
    }

    let core = open_database(&directory, options, &refuse)?;
    crash_point("store.open.read");
    let sequence = core.sequence().map_err(|error| refuse.damaged(error))?;
    if sequence < acknowledged {
        return Err(refuse.behind(acknowledged, sequence));
    }
    // From here on a crash is a crash of this process. The name of the folder has been durable since it was made.
    let journals = journals::range(&database).map_err(OpenError::io("read", &database))?;
    let mark = Mark { sequence, journals, clean: false };
    seal.write(mark).map_err(OpenError::io("write", &directory.seal()))?;
    crash_point("store.open.sealed");
    if let Some(aside) = refuse.aside
        && let Err(error) = fs::remove_dir_all(&aside)
    {
        tracing::warn!(%error, path = %aside.display(), "a copy that is needed no more was not removed");
    }
    if directory.format.is_some_and(|format| format < FORMAT) {
        // Before the first commit that an earlier version would misread.
        directory.finish()?;
    }
    Ok(Opened { core, seal, directory, sequence })
}

/// Refuses what can be refused without the database. Answers the last commit in the journals, if they have one,
/// and whether the database would cut off more than zeros.
pub(super) fn examine(
    database: &Path,
    sealed: Mark,
    refuse: &Refuse<'_>,
) -> Result<(Option<u64>, bool), OpenError> {
    check_keyspaces(database).map_err(|problem| refuse.damaged(problem))?;
    let journals = journals::list(database).map_err(OpenError::io("read", database))?;
    check_journals(&journals, sealed).map_err(|problem| refuse.damaged(problem))?;
    if journals::is_known(database).map_err(OpenError::io("read", database))? {
        judge(&journals, refuse)
    } else {
        Ok((None, true))
    }
}

/// The database deletes a keyspace whose files are not all there, and starts with none if its own is missing.
pub(super) fn check_keyspaces(database: &Path) -> Result<(), String> {
    if !database.join("version").exists() {
        return Err("the database's version file is missing".to_owned());
    }
    let folders =
        fs::read_dir(database.join("keyspaces")).map_err(|error| format!("its keyspaces: {error}"))?;
    let whole = folders.flatten().filter(|folder| folder.path().join("current").exists()).count();
    // One more is the database's own.
    let expected = keyspaces::COUNT + 1;
    if whole != expected {
        return Err(format!("{whole} whole keyspaces are there, and should be {expected}"));
    }
    if !database.join("keyspaces/0/current").exists() {
        return Err("the list of keyspaces is missing".to_owned());
    }
    Ok(())
}

/// All journals are there that the seal has seen, as far as it can tell: the database removes the oldest ones
/// when it needs them no more, so without a clean stop some may be gone for good reason.
pub(super) fn check_journals(journals: &[Journal], sealed: Mark) -> Result<(), String> {
    let (Some(first), Some(last)) = (journals.first(), journals.last()) else {
        return Err("all its journals are missing".to_owned());
    };
    let mut expected = if sealed.clean { sealed.journals.0 } else { first.number };
    for journal in journals {
        if journal.number != expected {
            return Err(format!("journal {expected} is missing"));
        }
        expected = journal.number + 1;
    }
    if last.number < sealed.journals.1 {
        return Err(format!("journal {} is missing", sealed.journals.1));
    }
    Ok(())
}

/// Refuses what the database would open without a word, or refuse only after it has changed something. Answers
/// the last commit in the journals, and whether the database would cut off more than zeros behind it: what a
/// crash has left of a commit that it interrupted.
fn judge(journals: &[Journal], refuse: &Refuse<'_>) -> Result<(Option<u64>, bool), OpenError> {
    let sealed = refuse.sealed.unwrap_or(0);
    let (mut found, mut torn) = (None, false);
    for (n, journal) in journals.iter().enumerate() {
        let contents = journals::read(&journal.path, found).map_err(OpenError::io("read", &journal.path))?;
        found = contents.last.map(|last| last.sequence).or(found);
        let is_last = n + 1 == journals.len();
        let after = found.map_or_else(String::new, |found| format!(" after commit {found}"));
        let number = journal.number;
        match contents.rest {
            Rest::Nothing => {}
            Rest::Checksum => {
                return Err(refuse.damaged(format!("journal {number} has a wrong checksum{after}")));
            }
            // Whole when it was left for the next one.
            Rest::Torn | Rest::Hole if !is_last => {
                return Err(refuse.damaged(format!("journal {number} cannot be read to its end{after}")));
            }
            Rest::Hole if found.is_none_or(|found| found >= sealed) => {
                let what = "commits follow that were made when it was synced";
                return Err(refuse.damaged(format!("journal {number} cannot be read{after}, and {what}")));
            }
            Rest::Torn | Rest::Hole => torn = true,
        }
    }
    // The tables alone cannot tell: a keyspace may be ahead of the journal that is damaged.
    match found {
        Some(found) if found < sealed => Err(refuse.behind(sealed, found)),
        found => Ok((found, torn)),
    }
}

pub(super) fn open_database(
    directory: &Directory,
    options: &Options,
    refuse: &Refuse<'_>,
) -> Result<Core, OpenError> {
    let path = directory.database();
    // It asserts what damage can make untrue.
    match catch_unwind(AssertUnwindSafe(|| keyspaces::open(&path, options))) {
        Ok(Ok((database, keyspaces))) => Ok(core(database, keyspaces)),
        Ok(Err(fjall::Error::Io(error))) => Err(OpenError::io("open", &path)(error)),
        Ok(Err(fjall::Error::Locked)) => {
            Err(OpenError::Locked { path: directory.root().to_owned(), pid: None })
        }
        Ok(Err(error)) => Err(refuse.damaged(error)),
        Err(_panic) => Err(refuse.damaged("the database gave up on it")),
    }
}

fn core(database: Database, keyspaces: Keyspaces) -> Core {
    Core { database, keyspaces, quarantine: Quarantine::default(), definitions: Definitions::default() }
}

pub(super) fn journal_range(directory: &Directory) -> Result<(u64, u64), OpenError> {
    let database = directory.database();
    // The names of new journals are synced by the database itself; the folder's own name is ours.
    File::open(directory.root())
        .and_then(|root| root.sync_all())
        .and_then(|()| journals::range(&database))
        .map_err(OpenError::io("read", &database))
}

/// What a refusal says besides its reason.
pub(super) struct Refuse<'a> {
    pub(super) path: &'a Path,
    pub(super) sealed: Option<u64>,
    pub(super) aside: Option<PathBuf>,
}

impl Refuse<'_> {
    pub(super) fn damaged(&self, error: impl std::fmt::Display) -> OpenError {
        OpenError::Damaged {
            path: self.path.to_owned(),
            error: error.to_string(),
            sealed: self.sealed,
            aside: self.aside.clone(),
        }
    }

    fn behind(&self, sealed: u64, found: u64) -> OpenError {
        let (path, aside) = (self.path.to_owned(), self.aside.clone());
        OpenError::BehindSeal { path, sealed, found, aside }
    }
}
