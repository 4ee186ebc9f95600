//! What is refused, what is not, and that a refusal loses nothing.

use super::open::{Opened, check_journals, open};
use super::open_error::OpenError;
use super::options::Options;
use super::seal::Mark;
use super::{directory, journals};
use crate::error::Error;
use crate::ledger::{Change, Meta, Tables};
use fjall::PersistMode;
use punctual_model::RunId;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

impl Opened {
    pub(super) fn commit(&mut self, padding: usize) {
        self.commit_ahead(self.sequence, padding);
    }

    /// A commit that was written when those up to `synced` were synced.
    pub(super) fn commit_ahead(&mut self, synced: u64, padding: usize) {
        self.sequence += 1;
        let mut batch = self.core.batch(self.sequence, synced, 1);
        let meta = Meta { epoch: self.sequence, id_floor: 0 };
        self.core.add(&mut batch, &Change::Meta(meta)).unwrap();
        if padding > 0 {
            batch.insert(&self.core.keyspaces.keys, self.sequence.to_be_bytes(), vec![7; padding]);
        }
        batch.durability(Some(PersistMode::SyncData)).commit().unwrap();
    }

    pub(super) fn seal(&mut self, clean: bool) {
        let journals = journals::range(&self.directory.database()).unwrap();
        self.seal.write(Mark { sequence: self.sequence, journals, clean }).unwrap();
    }
}

pub(super) fn attempt(path: &Path) -> Result<Opened, OpenError> {
    open(path, &Options::default())
}

/// A directory with ten commits, sealed, and left as a crash leaves it.
pub(super) fn crashed() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let mut store = attempt(&path).unwrap();
    (0..10).for_each(|_| store.commit(100));
    store.seal(false);
    drop(store);
    // Without the zeros of preallocated space, which only take time here.
    let (file, end) = journal(&path);
    truncate(&file, end);
    (folder, path)
}

/// Where the last written byte of the only journal is.
pub(super) fn journal(path: &Path) -> (PathBuf, u64) {
    let [journal] = &journals::list(&path.join("db")).unwrap()[..] else { panic!("one journal") };
    let bytes = fs::read(&journal.path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    (journal.path.clone(), end)
}

/// The number of a journal.
pub(super) fn number(journal: &Path) -> u64 {
    journal.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

pub(super) fn truncate(path: &Path, len: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

pub(super) fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Every file with its content.
pub(super) fn content(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn what_was_committed_is_there_again() {
    let (_folder, path) = crashed();
    let store = attempt(&path).unwrap();
    assert_eq!(store.sequence, 10);
    assert_eq!(store.core.view().meta(), Ok(Some(Meta { epoch: 10, id_floor: 0 })));
    assert!(fs::read_dir(path.join("aside")).unwrap().next().is_none());
}

#[test]
fn a_directory_is_made_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/data");
    drop(attempt(&path).unwrap());
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o7777;
    for (name, expect) in
        [(".", 0o700), ("db", 0o700), ("output", 0o700), ("FORMAT", 0o600), ("lock", 0o600), ("seal", 0o600)]
    {
        assert_eq!(mode(name), expect, "{name}");
    }
    assert_eq!(fs::read_to_string(path.join("FORMAT")).unwrap(), "punctual data directory\nformat 2\n");
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = attempt(folder.path()).err().unwrap();
    assert!(matches!(error, OpenError::Permissions { .. }), "{error}");
    assert!(error.to_string().contains("mode 777"), "{error}");
    assert!(content(folder.path()).is_empty());
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // Only root can give a directory away; anybody else finds one of root's.
    let path = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(12_345), None).unwrap();
        folder.path()
    } else {
        Path::new("/usr")
    };
    let error = attempt(path).err().unwrap();
    assert!(matches!(error, OpenError::Permissions { .. }), "{error}");
}

#[test]
fn a_file_in_its_place_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(attempt(file.path()), Err(OpenError::NotADirectory { .. })));
    assert!(matches!(attempt(&file.path().join("data")), Err(OpenError::NotADirectory { .. })));
}

#[test]
fn who_comes_second_is_told_who_is_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let first = attempt(&path).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        let Err(OpenError::Locked { pid, .. }) = attempt(path) else { panic!("not locked") };
        assert_eq!(pid, Some(std::process::id()));
    }
    drop(first);
    drop(attempt(&link).unwrap());
}

#[test]
fn a_lock_that_outlives_its_dead_holder_for_a_moment_is_waited_for() {
    let (_folder, path) = crashed();
    let mut dead = std::process::Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    fs::write(path.join("lock"), format!("{}\n", dead.id())).unwrap();
    // As a child of it would, which has not come to its program yet.
    let child = fs::File::open(path.join("lock")).unwrap();
    child.lock().unwrap();
    let opening = std::thread::spawn(move || attempt(&path).map(drop));
    #[expect(clippy::disallowed_methods, reason = "the one who waits says nothing while it waits")]
    std::thread::sleep(std::time::Duration::from_millis(50));
    drop(child);
    opening.join().unwrap().unwrap();
}

#[test]
fn a_newer_format_is_refused_and_not_one_byte_changed() {
    let (_folder, path) = crashed();
    let known = directory::FORMAT;
    fs::write(path.join("FORMAT"), format!("punctual data directory\nformat {}\n", known + 1)).unwrap();
    let before = content(&path);
    let Err(OpenError::NewerFormat { found, known: said, .. }) = attempt(&path) else {
        panic!("not refused")
    };
    assert_eq!((found, said), (known + 1, known));
    assert_eq!(content(&path), before);
    fs::write(path.join("FORMAT"), "what?").unwrap();
    assert!(matches!(attempt(&path), Err(OpenError::Damaged { .. })));
}

/// All but the lock, which says who looked.
pub(super) fn content_of_store(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    content(path).into_iter().filter(|(name, _)| !name.ends_with("lock")).collect()
}

#[test]
fn a_tail_cut_below_the_seal_is_refused_with_both_numbers_and_nothing_touched() {
    let (_folder, path) = crashed();
    let (file, end) = journal(&path);
    truncate(&file, end - 10);
    let before = content_of_store(&path);
    for _ in 0..2 {
        let error = attempt(&path).err().unwrap();
        let OpenError::BehindSeal { sealed: 10, found: 9, aside: None, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(error.to_string().contains("up to 10 ") && error.to_string().contains("up to 9 "), "{error}");
        let repair = format!("punctual store repair --data {} --to", path.display());
        assert!(error.to_string().contains(&repair), "{error}");
        assert_eq!(content_of_store(&path), before);
    }
}

#[test]
fn journals_of_an_unknown_layout_are_kept_before_the_database_looks_at_them() {
    let (_folder, path) = crashed();
    let (file, end) = journal(&path);
    truncate(&file, end - 10);
    let cut = fs::read(&file).unwrap();
    // The database itself reads only the first bytes of its version.
    fs::write(path.join("db/version"), b"FJL\x04").unwrap();
    let OpenError::Damaged { sealed: Some(10), aside: Some(aside), .. } = attempt(&path).err().unwrap()
    else {
        panic!("not refused")
    };
    assert_eq!(fs::read(aside.join(file.file_name().unwrap())).unwrap(), cut);
}

#[test]
fn a_missing_or_empty_journal_is_refused() {
    let (_folder, path) = crashed();
    let (file, _) = journal(&path);
    let whole = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let before = content(&path);
    let error = attempt(&path).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { sealed: Some(10), .. }), "{error:?}");
    assert!(error.to_string().contains("journals are missing"), "{error}");
    let changed: Vec<_> =
        content(&path).into_iter().filter(|(name, bytes)| before.get(name) != Some(bytes)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    fs::write(&file, []).unwrap();
    assert!(matches!(attempt(&path), Err(OpenError::BehindSeal { sealed: 10, found: 0, .. })));
    fs::write(&file, whole).unwrap();
    assert_eq!(attempt(&path).unwrap().sequence, 10);
}

#[test]
fn of_several_journals_none_may_be_missing() {
    let journals = |numbers: &[u64]| -> Vec<_> {
        numbers.iter().map(|number| journals::Journal { number: *number, path: PathBuf::new() }).collect()
    };
    let sealed = |clean| Mark { sequence: 10, journals: (2, 4), clean };
    let check = |numbers: &[u64], clean| check_journals(&journals(numbers), sealed(clean)).is_ok();
    for (numbers, after_a_crash, after_a_stop) in [
        (&[2, 3, 4][..], true, true),
        (&[2, 3, 4, 5], true, true),
        // The database removes the oldest ones by itself.
        (&[3, 4], true, false),
        (&[4], true, false),
        (&[5], true, false),
        (&[2, 4], false, false),
        (&[2, 3], false, false),
        (&[2, 3, 5], false, false),
        (&[], false, false),
    ] {
        assert_eq!(check(numbers, false), after_a_crash, "{numbers:?} after a crash");
        assert_eq!(check(numbers, true), after_a_stop, "{numbers:?} after a stop");
    }
}

#[test]
fn an_older_journal_that_ends_early_is_refused_before_the_database_goes_on_with_the_next() {
    let (_folder, path) = crashed();
    let (first, end) = journal(&path);
    let number = number(&first);
    fs::write(journals::path(&path.join("db"), number + 1), []).unwrap();
    let whole = fs::read(&first).unwrap();
    truncate(&first, end - 10);
    let before = content(&path);
    let error = attempt(&path).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { sealed: Some(10), .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("journal {number} cannot be read to its end")), "{error}");
    let after = content(&path);
    assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes) || name.ends_with("lock")));
    fs::write(&first, whole).unwrap();
    assert_eq!(attempt(&path).unwrap().sequence, 10);
}

#[test]
fn a_keyspace_that_has_lost_its_files_is_refused_before_the_database_removes_the_rest() {
    for lost in ["keyspaces/0/current", "keyspaces/3/current", "version"] {
        let (_folder, path) = crashed();
        fs::remove_file(path.join("db").join(lost)).unwrap();
        let before = content(&path);
        let error = attempt(&path).err().unwrap();
        assert!(matches!(error, OpenError::Damaged { sealed: Some(10), .. }), "{lost}: {error:?}");
        assert_eq!(content(&path).len(), before.len());
    }
}

#[test]
fn without_its_seal_or_format_a_store_is_refused() {
    let (_folder, path) = crashed();
    let seal = fs::read(path.join("seal")).unwrap();
    fs::remove_file(path.join("seal")).unwrap();
    assert!(matches!(attempt(&path), Err(OpenError::Damaged { .. })));
    fs::write(path.join("seal"), &seal[..20]).unwrap();
    assert!(matches!(attempt(&path), Err(OpenError::Damaged { .. })));
    fs::write(path.join("seal"), seal).unwrap();
    fs::remove_file(path.join("FORMAT")).unwrap();
    assert!(matches!(attempt(&path), Err(OpenError::Damaged { sealed: Some(10), .. })));
}

#[test]
fn an_interrupted_make_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    // As the database leaves it before its version is written: it would stumble over its own journal.
    fs::create_dir_all(path.join("db/keyspaces")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(path.join("db/0.jnl"), [0; 100]).unwrap();
    let mut store = attempt(&path).unwrap();
    store.commit(0);
    drop(store);
    // As it is just before FORMAT is written.
    let (_folder, path) = crashed();
    fs::remove_file(path.join("FORMAT")).unwrap();
    fs::remove_file(path.join("seal")).unwrap();
    assert_eq!(attempt(&path).unwrap().sequence, 10);
}

#[test]
fn a_malformed_record_is_set_aside_and_nothing_else_suffers() {
    let (_folder, path) = crashed();
    let store = attempt(&path).unwrap();
    let keyspaces = &store.core.keyspaces;
    keyspaces.runs.insert(5u64.to_be_bytes(), [1, 0xff, 0xff]).unwrap();
    keyspaces.open.insert(b"short", b"").unwrap();
    keyspaces.heads.insert(7u64.to_be_bytes(), [9]).unwrap();
    let view = store.core.view();
    assert!(matches!(view.run(RunId::new(5).unwrap()), Err(Error::Unreadable { kind: "run", .. })));
    let mut seen = 0;
    let mut count = || {
        seen += 1;
        ControlFlow::Continue(())
    };
    view.runs(None, true, &mut |_| count()).unwrap();
    view.open(None, &mut |_, _| count()).unwrap();
    view.heads(None, &mut |_, _| count()).unwrap();
    assert_eq!(seen, 0);
    let listed: Vec<_> = store.core.quarantine.list().into_iter().map(|q| (q.kind, q.key)).collect();
    let listed: Vec<_> = listed.iter().map(|(kind, key)| (kind.as_str(), key.as_str())).collect();
    assert_eq!(
        listed,
        [("head", "0000000000000007"), ("open run", "73686f7274"), ("run", "0000000000000005")]
    );
}
