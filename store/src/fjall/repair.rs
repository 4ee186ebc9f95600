//! What can be saved of a damaged data directory, into a copy; and what is wrong with one, without opening it.
//!
//! Of the journals everything up to the first damage is kept: commits are written one after the other, so that
//! is a state that once was. Nobody but a person decides to go on from there, so nothing of this happens by
//! itself, and the original is only read.

use super::directory::{self, Directory};
use super::journals::{self, Commit};
use super::keyspaces::Keyspaces;
use super::open::{Refuse, check_keyspaces, examine, journal_range, open_database};
use super::open_error::OpenError;
use super::options::Options;
use super::remains::Remains;
use super::seal::{Mark, Seal};
use super::tables::Core;
use crate::ledger::{Change, Meta, Tables};
use crate::store::Quarantined;
use fjall::{AbstractTree, PersistMode};
use jiff::Timestamp;
use punctual_clock::IdGenerator;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What a copy counts its epochs on by, beside one for each commit that is missing: epochs that those who were
/// started since have seen, whatever else is unknown of them.
const EPOCHS: u64 = 1_000_000;

/// A copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The directory is in use, of a later version, or cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is nothing to repair.
    #[error("{} is no data directory of punctual: there is neither FORMAT nor seal in it", .path.display())]
    NoStore {
        /// Where.
        path: PathBuf,
    },
    /// The copy would be mixed with something else.
    #[error("{} is not an empty directory outside the damaged one: name one, or a path where one can be made", .path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// More than journals is damaged.
    #[error("{}: no part of its journals makes it whole: {error}; restore a backup", .path.display())]
    Lost {
        /// Where.
        path: PathBuf,
        /// What was found.
        error: String,
    },
}

/// What became of a data directory in its copy.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Repaired {
    /// The last commit known to have been synced; none if the seal cannot be read.
    pub sealed: Option<u64>,
    /// The last commit that is in the copy.
    pub found: u64,
    /// How many acknowledged commits the copy lacks at least; none if that cannot be told.
    pub missing: Option<u64>,
    /// What ended the reading of the journals, if they have more than that.
    pub damage: Option<String>,
    /// The journals were taken from here, where an earlier start had kept them.
    pub aside: Option<PathBuf>,
    /// Parts of the database that hold more than the commits up to `found`: some of their records may tell of
    /// what the others have lost.
    pub ahead: Vec<&'static str>,
    /// Parts of the database that cannot be read to their end, with the reason.
    pub broken: Vec<String>,
    /// Records that cannot be read.
    pub unreadable: Vec<Quarantined>,
    /// Runs and tasks of the copy get ids above this one: above all that the lost commits can have given out.
    pub id_floor: u64,
    /// The copy's epochs begin after this one.
    pub epoch: u64,
}

/// What a look from outside tells of a data directory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Survey {
    /// The last commit known to have been synced; none if the seal cannot be read.
    pub sealed: Option<u64>,
    /// The last stop was in order.
    pub stopped: bool,
    /// The last commit in the journals up to the first damage; none if all is in tables.
    pub found: Option<u64>,
    /// The journals: name, bytes in use, and what is wrong with it.
    pub journals: Vec<(String, u64, Option<String>)>,
    /// Bytes of all files of the database, as far as they are stored.
    pub bytes: u64,
    /// Why it would not be opened. Tables are not looked at.
    pub problem: Option<String>,
}

/// Looks at a data directory that no process works on, and changes nothing.
///
/// # Errors
/// [`RepairError::Open`] if it is in use, of a later version, or cannot be read; [`RepairError::NoStore`].
pub fn survey(path: &Path) -> Result<Survey, RepairError> {
    let path = &path.canonicalize().map_err(OpenError::io("find", path))?;
    let format = match directory::read_format(path) {
        Err(error @ OpenError::NewerFormat { .. }) => return Err(error.into()),
        format => format,
    };
    let _lock = directory::lock_for_reading(path)?;
    let (mark, seal) = read_seal(path)?;
    if mark.is_none() && !matches!(format, Ok(Some(_))) {
        return Err(RepairError::NoStore { path: path.clone() });
    }
    let database = path.join("db");
    let source = Remains::read(&database, mark).map_err(OpenError::io("read", &database))?;
    let refuse = Refuse { path, sealed: mark.map(|mark| mark.sequence), aside: None };
    let problem = match (format, mark) {
        (Err(error), _) => Some(error.to_string()),
        (Ok(None), _) => Some(refuse.damaged("the file FORMAT is missing").to_string()),
        (Ok(Some(_)), None) => Some(refuse.damaged(seal).to_string()),
        (Ok(Some(_)), Some(mark)) => examine(&database, mark, &refuse).err().map(|error| error.to_string()),
    };
    Ok(Survey {
        sealed: refuse.sealed,
        stopped: mark.is_some_and(|mark| mark.clean),
        found: source.last.map(|last| last.sequence),
        journals: source.told(),
        bytes: stored(&database).map_err(OpenError::io("read", &database))?,
        problem,
    })
}

/// Copies what can be saved of a data directory to another place, where it can be opened. Blocks for as long as
/// that takes. `now` is the time by the engine's clock.
///
/// # Errors
/// [`RepairError`]; then what there is at the other place cannot be opened, and can be removed.
pub fn repair(path: &Path, to: &Path, now: Timestamp) -> Result<Repaired, RepairError> {
    let path = &path.canonicalize().map_err(OpenError::io("find", path))?;
    let format = match directory::read_format(path) {
        Err(error @ OpenError::NewerFormat { .. }) => return Err(error.into()),
        format => matches!(format, Ok(Some(_))),
    };
    let _lock = directory::lock_for_reading(path)?;
    let (mark, _) = read_seal(path)?;
    if mark.is_none() && !format {
        return Err(RepairError::NoStore { path: path.clone() });
    }
    let database = path.join("db");
    let lost = |error: String| RepairError::Lost { path: path.clone(), error };
    check_keyspaces(&database).map_err(lost)?;
    if !journals::is_known(&database).map_err(OpenError::io("read", &database))? {
        return Err(lost("its journals are of an unknown layout".to_owned()));
    }
    let own = Remains::read(&database, mark).map_err(OpenError::io("read", &database))?;
    let aside = own.kept_aside(&path.join("aside"), mark).map_err(OpenError::io("read", path))?;
    let source = aside.as_ref().unwrap_or(&own);

    let sealed = mark.map(|mark| mark.sequence);
    let (directory, highest_output) = copy(path, to, source, sealed)?;
    let refuse = Refuse { path: directory.root(), sealed, aside: None };
    let core = open_database(&directory, &Options::default(), &refuse).map_err(|error| match error {
        OpenError::Damaged { error, .. } => lost(error),
        error => error.into(),
    })?;
    let at_end = core.sequence().map_err(|error| lost(error.to_string()))?;
    let found = source.last.map_or(at_end, |last| last.sequence);
    let ahead = source.last.map(|last| ahead(&core.keyspaces, last)).unwrap_or_default();
    let broken = read_through(&core);
    let behind = sealed.map(|sealed| sealed.saturating_sub(found));
    let missing = behind.map(|behind| behind.max(u64::from(source.damage.is_some())));

    // The lost commits may have begun epochs and given out ids that somebody still knows.
    let known = core.view().meta().ok().flatten().unwrap_or(Meta { epoch: found, id_floor: 0 });
    let written = newest_file(path).map_err(OpenError::io("look at", path))?;
    let meta = Meta {
        epoch: known.epoch + missing.unwrap_or(0) + EPOCHS,
        id_floor: known.id_floor.max(IdGenerator::highest_at(now.max(written))).max(highest_output),
    };
    let sequence = at_end.max(found).max(sealed.unwrap_or(0)) + 1;
    let mut batch = core.batch(sequence, sequence - 1, 1);
    core.add(&mut batch, &Change::Meta(meta)).map_err(|error| lost(error.to_string()))?;
    batch.durability(Some(PersistMode::SyncData)).commit().map_err(|error| lost(error.to_string()))?;
    let unreadable = core.quarantine.list();
    drop(core);
    finish(directory, sequence)?;
    Ok(Repaired {
        sealed,
        found,
        missing,
        damage: source.damage.clone(),
        aside: aside.as_ref().map(|aside| aside.folder.clone()),
        ahead,
        broken,
        unreadable,
        id_floor: meta.id_floor,
        epoch: meta.epoch,
    })
}

/// What the seal says, or else why it says nothing.
fn read_seal(path: &Path) -> Result<(Option<Mark>, &'static str), RepairError> {
    let path = path.join("seal");
    match Seal::read(&path) {
        Ok(Some(mark)) => Ok((Some(mark), "")),
        Ok(None) => Ok((None, "the seal cannot be read")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((None, "the seal is missing")),
        Err(error) => Err(OpenError::io("read", &path)(error).into()),
    }
}

/// Makes the copy, but for what makes a store of it. Answers its directory and the highest id among the names of
/// outputs.
fn copy(
    path: &Path,
    to: &Path,
    source: &Remains,
    sealed: Option<u64>,
) -> Result<(Directory, u64), RepairError> {
    let occupied = || RepairError::Occupied { path: to.to_owned() };
    let is_empty = match fs::read_dir(to) {
        Ok(mut found) => found.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(_) => false,
    };
    let absolute = std::path::absolute(to).map_err(OpenError::io("find", to))?;
    let parent = absolute.ancestors().find_map(|parent| parent.canonicalize().ok());
    if !is_empty || parent.is_none_or(|parent| parent.starts_with(path)) {
        return Err(occupied());
    }
    let directory = Directory::open(to)?;
    let root = directory.root();
    // Until FORMAT is there, a seal keeps everybody from making a store out of half a copy.
    let placeholder = Mark { sequence: sealed.unwrap_or(0).max(1), journals: (0, 0), clean: false };
    Seal::create(&directory.seal(), placeholder).map_err(OpenError::io("write", &directory.seal()))?;
    let mut highest_output = 0;
    let mut leave = |file: &Path| {
        let inside = file.strip_prefix(path).unwrap_or(file);
        if inside.starts_with("output") {
            let id = file.file_stem().and_then(|name| name.to_str()).filter(|name| name.len() == 16);
            let id = id.and_then(|id| u64::from_str_radix(id, 16).ok()).unwrap_or(0);
            highest_output = highest_output.max(id);
        }
        let own = ["lock", "seal", "FORMAT", "aside"];
        own.iter().any(|own| inside == Path::new(own))
            || (inside.starts_with("db") && file.extension().is_some_and(|extension| extension == "jnl"))
    };
    copy_folder(path, root, &mut leave).map_err(OpenError::io("copy", path))?;
    for (journal, contents) in &source.kept {
        let target = directory.database().join(format!("{}.jnl", journal.number));
        journals::copy(&journal.path, &target, contents.end).map_err(OpenError::io("copy", &journal.path))?;
    }
    directory.make_folder(&directory.aside())?;
    File::open(directory.database())
        .and_then(|folder| folder.sync_all())
        .map_err(OpenError::io("sync", root))?;
    Ok((directory, highest_output))
}

/// Copies files and folders; what else there is (sockets, links) belongs to the original.
fn copy_folder(from: &Path, to: &Path, leave: &mut dyn FnMut(&Path) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target, kind) = (entry.path(), to.join(entry.file_name()), entry.file_type()?);
        if leave(&path) {
            continue;
        }
        if kind.is_dir() {
            DirBuilder::new().mode(0o700).create(&target)?;
            copy_folder(&path, &target, leave)?;
            File::open(&target)?.sync_all()?;
        } else if kind.is_file() {
            journals::copy(&path, &target, u64::MAX)?;
        }
    }
    Ok(())
}

/// From now on the copy can be opened.
fn finish(mut directory: Directory, sequence: u64) -> Result<(), RepairError> {
    let mark = Mark { sequence, journals: journal_range(&directory)?, clean: false };
    Seal::create(&directory.seal(), mark).map_err(OpenError::io("write", &directory.seal()))?;
    directory.finish()?;
    Ok(())
}

/// Which keyspaces have tables with commits after this one.
fn ahead(keyspaces: &Keyspaces, last: Commit) -> Vec<&'static str> {
    let is_ahead = |keyspace: &fjall::Keyspace| {
        keyspace.tree.get_highest_persisted_seqno().is_some_and(|highest| highest > last.order)
    };
    keyspaces.named().into_iter().filter(|(_, keyspace)| is_ahead(keyspace)).map(|(name, _)| name).collect()
}

/// Reads everything once. What cannot be decoded goes into the quarantine; answers what ends before its end.
fn read_through(core: &Core) -> Vec<String> {
    let view = core.view();
    let go_on = || ControlFlow::Continue(());
    let parts = [
        ("tasks", view.heads(None, &mut |_, _| go_on())),
        ("runs", view.runs(None, false, &mut |_| go_on())),
        ("waiting runs", view.open(None, &mut |_, _| go_on())),
        ("runs at work", view.crews(&mut |_, _| go_on())),
    ];
    parts.into_iter().filter_map(|(name, read)| Some(format!("{name}: {}", read.err()?))).collect()
}

/// When the newest file that a commit writes was written.
fn newest_file(path: &Path) -> io::Result<Timestamp> {
    let mut newest = Timestamp::UNIX_EPOCH;
    let journals = journals::list(&path.join("db"))?.into_iter().map(|journal| journal.path);
    for file in journals.chain([path.join("seal")]) {
        if let Ok(about) = fs::metadata(&file)
            && let Ok(written) = Timestamp::try_from(about.modified()?)
        {
            newest = newest.max(written);
        }
    }
    Ok(newest)
}

/// Bytes that the files of a folder take on the disk.
fn stored(folder: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { stored(&entry.path())? } else { about.blocks() * 512 };
    }
    Ok(bytes)
}
