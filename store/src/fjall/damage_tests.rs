//! Journals that a crash or a bad disk has left: what is no damage and costs only what was not answered, and what is
//! refused with nothing touched.

use super::open_error::OpenError;
use super::open_tests::{attempt, content, content_of_store, crashed, journal, overwrite, truncate};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
