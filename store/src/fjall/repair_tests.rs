//! What a copy holds of a damaged directory, and that the original stays as it is.

use super::directory;
use super::embedded::FjallStore;
use super::journals;
use super::open_error::OpenError;
use super::open_tests::{attempt, content, crashed, journal, number, overwrite, truncate};
use super::options::Options;
use super::repair::{RepairError, Repaired, repair, survey};
use crate::store::{HistoryStore, SessionStore};
use jiff::{SignedDuration, Timestamp};
use punctual_clock::{Clock, IdGenerator, SystemClock};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new().unwrap())
}

/// A copy of the directory, and that nothing in the original changed.
fn repaired(path: &Path) -> (TempDir, PathBuf, Repaired) {
    let before = content(path);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let repaired = repair(path, &copy, clock().now()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(content(path), before);
    (folder, copy, repaired)
}

#[test]
fn the_copy_holds_everything_before_the_damage_and_opens() {
    let (_folder, path) = crashed();
    let (file, end) = journal(&path);
    let whole = fs::read(&file).unwrap();
    type Damage = fn(&Path, u64);
    let damages: [(&str, Damage, u64, Option<&str>); 6] = [
        ("none", |_, _| {}, 10, None),
        ("a cut tail", |file, end| truncate(file, end - 10), 9, None),
        ("a wrong value", |file, _| overwrite(file, value(file, 5), &[0xee; 4]), 5, Some("wrong checksum")),
        ("a page of zeros", |file, end| overwrite(file, end / 2, &[0; 200]), 4, Some("cannot be read")),
        ("a wrong value at the end", |file, end| overwrite(file, end - 20, &[0]), 9, Some("wrong checksum")),
        ("the first commit", |file, _| overwrite(file, 0, &[0; 30]), 0, Some("cannot be read")),
    ];
    for (name, damage, least, said) in damages {
        damage(&file, end);
        assert_eq!(attempt_on_a_copy(&path).is_ok(), name == "none", "{name}");
        let (_folder, copy, repaired) = repaired(&path);
        assert_eq!(repaired.sealed, Some(10), "{name}");
        assert!((least..=least + 1).contains(&repaired.found), "{name}: {repaired:?}");
        assert_eq!(repaired.missing, Some(10 - repaired.found), "{name}");
        match said {
            None => assert_eq!(repaired.damage, None, "{name}"),
            Some(said) => assert!(repaired.damage.as_ref().unwrap().contains(said), "{name}: {repaired:?}"),
        }
        assert!(repaired.ahead.is_empty() && repaired.broken.is_empty(), "{name}: {repaired:?}");
        // Twice: it is a store like any other.
        for sequence in [11, 12] {
            let mut store = attempt(&copy).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(store.sequence, sequence, "{name}");
            store.commit(10);
            store.seal(true);
        }
        fs::write(&file, &whole).unwrap();
    }
}

/// Somewhere in a value of the commit with this number, counted from 0: it is padded with sevens.
fn value(file: &Path, commit: u64) -> u64 {
    let bytes = fs::read(file).unwrap();
    let mut at = 0;
    for n in 0.. {
        at += bytes[at..].windows(100).position(|bytes| bytes == [7; 100]).unwrap();
        if n == commit {
            return at as u64 + 50;
        }
        at += 100;
    }
    unreachable!()
}

/// What opening says, of a copy: opening may change something.
fn attempt_on_a_copy(path: &Path) -> Result<(), OpenError> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    for (file, bytes) in content(path) {
        let target = copy.join(file.strip_prefix(path).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).unwrap();
    attempt(&copy).map(drop)
}

#[tokio::test]
async fn no_epoch_and_no_id_of_what_was_lost_is_given_out_again() {
    let (_folder, path) = crashed();
    let (file, end) = journal(&path);
    truncate(&file, end / 2);
    // The output of a run that the copy does not know.
    let lost = IdGenerator::highest_at(clock().now() + SignedDuration::from_hours(1));
    fs::write(path.join(format!("output/{lost:016x}.log")), b"said").unwrap();
    let (_copied, copy, repaired) = repaired(&path);
    assert!(repaired.epoch > 10 && repaired.id_floor == lost, "{repaired:?}");
    assert_eq!(fs::read(copy.join(format!("output/{lost:016x}.log"))).unwrap(), b"said");
    let store = FjallStore::open(&copy, clock(), &Options::default()).unwrap();
    let session = store.open_session("node").await.unwrap();
    assert_eq!(session.epoch, repaired.epoch + 1);
    assert!(session.id_floor >= lost);
    assert!(store.quarantined().is_empty());
}

#[test]
fn without_an_output_the_floor_is_the_time_of_the_repair_or_of_the_last_write_if_that_is_later() {
    let (_folder, path) = crashed();
    let folder = tempfile::tempdir().unwrap();
    let now = clock().now();
    let late = now + SignedDuration::from_hours(1);
    let floor = |to: &str, now| repair(&path, &folder.path().join(to), now).unwrap().id_floor;
    assert_eq!(floor("late", late), IdGenerator::highest_at(late));
    let early = floor("early", Timestamp::UNIX_EPOCH);
    assert!(early > IdGenerator::highest_at(now - SignedDuration::from_mins(5)), "{early:x}");
}

#[test]
fn a_missing_seal_does_not_keep_a_copy_from_being_made() {
    let (_folder, path) = crashed();
    fs::remove_file(path.join("seal")).unwrap();
    let (_copied, copy, repaired) = repaired(&path);
    assert_eq!((repaired.sealed, repaired.found, repaired.missing), (None, 10, None));
    assert_eq!(attempt(&copy).unwrap().sequence, 11);
    let (_folder, path) = crashed();
    fs::write(path.join("FORMAT"), "what?").unwrap();
    assert_eq!(self::repaired(&path).2.found, 10);
}

#[test]
fn of_several_journals_those_before_the_missing_one_are_kept() {
    let (_folder, path) = crashed();
    let (first, _) = journal(&path);
    // As after a rotation, with the second of three lost.
    let number = number(&first);
    fs::write(journals::path(&path.join("db"), number + 2), fs::read(&first).unwrap()).unwrap();
    let (_copied, copy, repaired) = repaired(&path);
    assert_eq!(repaired.damage.as_deref(), Some(&*format!("journal {} is missing", number + 1)));
    assert_eq!((repaired.found, repaired.missing), (10, Some(1)));
    assert_eq!(attempt(&copy).unwrap().sequence, 11);
}

#[test]
fn what_is_already_in_tables_beyond_the_damage_is_told() {
    let (_folder, path) = crashed();
    let store = attempt(&path).unwrap();
    store.core.keyspaces.keys.rotate_memtable_and_wait().unwrap();
    drop(store);
    let (file, end) = journal(&path);
    overwrite(&file, end / 2, &[0; 200]);
    let (_copied, copy, repaired) = repaired(&path);
    assert!(repaired.found < 10);
    assert_eq!(repaired.ahead, ["keys"]);
    assert_eq!(attempt(&copy).unwrap().sequence, 11);
}

#[test]
fn journals_that_an_earlier_start_has_kept_are_used_if_they_belong_here() {
    let (_folder, path) = crashed();
    let (file, end) = journal(&path);
    let name = file.file_name().unwrap();
    fs::create_dir_all(path.join("aside/1")).unwrap();
    journals::copy(&file, &path.join("aside/1").join(name), end).unwrap();
    truncate(&file, end / 2);
    let (_copied, _, from_aside) = repaired(&path);
    assert_eq!((from_aside.found, from_aside.missing), (10, Some(0)));
    assert_eq!(from_aside.aside, Some(path.join("aside/1").canonicalize().unwrap()));
    // Those of another life of the directory are not.
    overwrite(&path.join("aside/1").join(name), 100, &[0xee]);
    let (_copied, _, alone) = repaired(&path);
    assert!(alone.found < 10 && alone.aside.is_none(), "{alone:?}");
}

#[test]
fn a_copy_is_made_only_where_nothing_is_and_only_of_what_nobody_works_on() {
    let (_folder, path) = crashed();
    let folder = tempfile::tempdir().unwrap();
    let (empty, full) = (folder.path().join("empty"), folder.path().join("full"));
    fs::create_dir_all(&empty).unwrap();
    fs::create_dir_all(full.join("something")).unwrap();
    let now = clock().now();
    for to in [&full, &path, &path.join("copy"), &path.join("db/deep/copy"), &path.join("aside")] {
        let refused = repair(&path, to, now);
        assert!(matches!(refused, Err(RepairError::Occupied { .. })), "{}: {refused:?}", to.display());
    }
    let store = attempt(&path).unwrap();
    for refused in [repair(&path, &empty, now).err(), survey(&path).err()] {
        let Some(RepairError::Open(OpenError::Locked { pid, .. })) = refused else { panic!("{refused:?}") };
        assert_eq!(pid, Some(std::process::id()));
    }
    drop(store);
    assert!(fs::read_dir(&empty).unwrap().next().is_none());
    repair(&path, &empty, now).unwrap();
    let refused = repair(folder.path(), &folder.path().join("new"), now);
    assert!(matches!(refused, Err(RepairError::NoStore { .. })), "{refused:?}");
    let newer = format!("punctual data directory\nformat {}\n", directory::FORMAT + 1);
    fs::write(path.join("FORMAT"), newer).unwrap();
    let before = content(&path);
    for refused in [repair(&path, &folder.path().join("new"), now).err(), survey(&path).err()] {
        assert!(matches!(refused, Some(RepairError::Open(OpenError::NewerFormat { .. }))), "{refused:?}");
    }
    assert_eq!(content(&path), before);
}

#[test]
fn half_a_copy_cannot_be_opened() {
    let (_folder, path) = crashed();
    // Nothing but a missing file of a table is found only while the copy is made.
    let (_copied, copy, _) = repaired(&path);
    fs::remove_file(copy.join("FORMAT")).unwrap();
    assert!(matches!(attempt(&copy), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_damaged_table_is_told_and_not_papered_over() {
    let (_folder, path) = crashed();
    fs::remove_file(path.join("db/keyspaces/3/current")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let refused = repair(&path, &folder.path().join("copy"), clock().now());
    assert!(matches!(refused, Err(RepairError::Lost { .. })), "{refused:?}");
}

#[test]
fn a_survey_says_what_opening_would_without_opening() {
    let (_folder, path) = crashed();
    let (file, end) = journal(&path);
    let before = content(&path);
    let sound = survey(&path).unwrap();
    assert_eq!((sound.sealed, sound.found, sound.stopped), (Some(10), Some(10), false));
    assert_eq!(sound.journals, [(format!("{}.jnl", number(&file)), end, None)]);
    assert_eq!(sound.problem, None);
    assert_eq!(content(&path), before);
    truncate(&file, end - 10);
    let torn = survey(&path).unwrap();
    assert_eq!(torn.found, Some(9));
    assert!(torn.problem.as_ref().unwrap().contains("only those up to 9 are there"), "{torn:?}");
    assert_eq!(torn.problem, attempt(&path).err().map(|error| error.to_string()));
    fs::remove_file(path.join("seal")).unwrap();
    assert!(survey(&path).unwrap().problem.unwrap().contains("the seal is missing"));
}
