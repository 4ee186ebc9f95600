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
    assert_eq!(fs::read_to_string(path.join("FORMAT")).unwrap(), "punctual data directory\nformat 1\n");
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

#[test]
fn a_torn_tail_costs_only_what_was_not_acknowledged() {
    let (_folder, path) = crashed();
    let mut store = attempt(&path).unwrap();
    store.commit(100);
    drop(store);
    let (file, end) = journal(&path);
    // Lengths that leave the ten sealed commits and something of the eleventh.
    let last = end - 150;
    for cut in (last..end).rev().step_by(7) {
        let copy = tempfile::tempdir().unwrap();
        let copy = copy_of(&path, copy.path());
        truncate(&copy.join("db").join(file.file_name().unwrap()), cut);
        let store = attempt(&copy).unwrap_or_else(|error| panic!("cut at {cut} of {end}: {error}"));
        assert_eq!(store.sequence, 10);
        assert!(fs::read_dir(copy.join("aside")).unwrap().next().is_none());
    }
}

/// What a power cut leaves where only some of the pages of a commit had come to the disk.
#[test]
fn a_tail_that_turns_into_zeros_costs_only_what_was_not_acknowledged() {
    let (_folder, path) = crashed();
    let mut store = attempt(&path).unwrap();
    store.commit(100);
    drop(store);
    let (file, end) = journal(&path);
    for cut in (end - 150..end).step_by(3) {
        let copy = tempfile::tempdir().unwrap();
        let copy = copy_of(&path, copy.path());
        let journal = copy.join("db").join(file.file_name().unwrap());
        overwrite(&journal, cut, &vec![0; usize::try_from(end - cut).unwrap()]);
        truncate(&journal, end + 4096);
        let store = attempt(&copy).unwrap_or_else(|error| panic!("zeros from {cut} to {end}: {error}"));
        assert_eq!(store.sequence, 10);
        assert!(fs::read_dir(copy.join("aside")).unwrap().next().is_none());
    }
}

fn copy_of(path: &Path, to: &Path) -> PathBuf {
    let to = to.join("copy");
    for (file, bytes) in content(path) {
        // Journals are preallocated; the zeros tell nothing.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let bytes = if file.extension().is_some_and(|ext| ext == "jnl") { &bytes[..end] } else { &bytes[..] };
        let target = to.join(file.strip_prefix(path).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
    fs::create_dir_all(to.join("aside")).unwrap();
    fs::set_permissions(&to, fs::Permissions::from_mode(0o700)).unwrap();
    to
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
fn damage_in_the_middle_is_refused_and_nothing_touched() {
    let (_folder, path) = crashed();
    let (file, end) = journal(&path);
    let whole = fs::read(&file).unwrap();
    for bytes in [vec![0; 64], vec![0xff; 8], vec![0; 1], vec![0xff; 300]] {
        for at in (20..end - 300).step_by(97) {
            overwrite(&file, at, &bytes);
            if fs::read(&file).unwrap() == whole {
                continue;
            }
            let before = content_of_store(&path);
            match attempt(&path) {
                // The database would open those that lost a tag, and find those with a wrong value.
                Err(error @ OpenError::BehindSeal { sealed: 10, found: 0..10, aside: None, .. })
                | Err(error @ OpenError::Damaged { sealed: Some(10), aside: None, .. }) => {
                    assert_eq!(content_of_store(&path), before, "{error}");
                }
                // The database's own number of a commit is in no checksum.
                Ok(store) => assert_eq!(store.sequence, 10),
                other => panic!("{:?}", other.err()),
            }
            fs::write(&file, &whole).unwrap();
        }
    }
    assert_eq!(attempt(&path).unwrap().sequence, 10);
}

#[test]
fn a_table_that_is_ahead_of_a_damaged_journal_does_not_hide_the_loss() {
    let (_folder, path) = crashed();
    let store = attempt(&path).unwrap();
    // The number of the last commit is in a table by now, and the commits of all other keyspaces are not.
    store.core.keyspaces.meta.rotate_memtable_and_wait().unwrap();
    drop(store);
    let (file, end) = journal(&path);
    overwrite(&file, end / 2, &[0; 64]);
    let error = attempt(&path).err().unwrap();
    assert!(matches!(error, OpenError::BehindSeal { sealed: 10, found: 1..10, .. }), "{error:?}");
}

#[test]
fn damage_before_commits_that_the_seal_has_not_seen_is_refused_too() {
    let (_folder, path) = crashed();
    let (file, sealed_end) = journal(&path);
    let mut store = attempt(&path).unwrap();
    (0..3).for_each(|_| store.commit(100));
    drop(store);
    // The eleventh of thirteen was acknowledged, or the twelfth would not have been written.
    overwrite(&file, sealed_end, &[0; 13]);
    let before = content_of_store(&path);
    let error = attempt(&path).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { sealed: Some(10), aside: None, .. }), "{error:?}");
    assert!(error.to_string().contains("after commit 10, and commits follow"), "{error}");
    assert_eq!(content_of_store(&path), before);
}

#[test]
fn a_last_commit_with_a_wrong_checksum_is_refused_since_it_may_have_been_acknowledged() {
    let (_folder, path) = crashed();
    let mut store = attempt(&path).unwrap();
    store.commit(100);
    drop(store);
    let (file, end) = journal(&path);
    // In the value of its last entry, before its end of 13 bytes.
    overwrite(&file, end - 20, &[0]);
    let before = content_of_store(&path);
    let error = attempt(&path).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { sealed: Some(10), aside: None, .. }), "{error:?}");
    assert!(error.to_string().contains("has a wrong checksum after commit 10"), "{error}");
    assert_eq!(content_of_store(&path), before);
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
    fs::write(path.join("db/1.jnl"), []).unwrap();
    let whole = fs::read(&first).unwrap();
    truncate(&first, end - 10);
    let before = content(&path);
    let error = attempt(&path).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { sealed: Some(10), .. }), "{error:?}");
    assert!(error.to_string().contains("journal 0 cannot be read to its end"), "{error}");
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

/// What a power cut leaves of commits that were on their way to the disk together.
#[test]
fn whole_commits_behind_a_torn_one_are_no_damage_if_it_was_not_synced_when_they_were_written() {
    // For each commit after the tenth, the last one that was synced when it was written; then what is refused.
    for (synced, refused) in [
        (&[10, 10, 10][..], false),
        (&[10, 10], false),
        (&[10], false),
        (&[10, 11], true),
        (&[10, 10, 11], true),
        (&[10, 10, 12], true),
    ] {
        for torn in [&[0; 13][..], &[0xff; 40]] {
            let (_folder, path) = crashed();
            let (file, end) = journal(&path);
            let mut store = attempt(&path).unwrap();
            synced.iter().for_each(|synced| store.commit_ahead(*synced, 100));
            drop(store);
            overwrite(&file, end, torn);
            let before = content_of_store(&path);
            match attempt(&path) {
                Ok(store) => assert!(!refused && store.sequence == 10, "{synced:?}: {}", store.sequence),
                Err(error) => {
                    assert!(refused, "{synced:?}: {error}");
                    assert!(error.to_string().contains("after commit 10, and commits follow"), "{error}");
                    assert_eq!(content_of_store(&path), before);
                }
            }
        }
    }
}

#[test]
fn a_wrong_checksum_is_damage_unless_a_later_commit_says_that_it_was_not_synced() {
    for (synced, refused) in [(&[10][..], true), (&[10, 10], false), (&[10, 11], true)] {
        let (_folder, path) = crashed();
        let (file, end) = journal(&path);
        let mut store = attempt(&path).unwrap();
        synced.iter().for_each(|synced| store.commit_ahead(*synced, 5_000));
        drop(store);
        // A page of a large value, within the eleventh commit.
        overwrite(&file, end + 200, &[0; 4_096]);
        match attempt(&path) {
            Ok(store) => assert!(!refused && store.sequence == 10, "{synced:?}: {}", store.sequence),
            Err(error) => {
                assert!(refused, "{synced:?}: {error}");
                assert!(error.to_string().contains("has a wrong checksum after commit 10"), "{error}");
            }
        }
    }
}
