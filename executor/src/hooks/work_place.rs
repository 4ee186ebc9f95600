//! A place outside the data directory for the directories of runs, so that work of other users can enter its own: made
//! if it is not there, and refused if anybody else could put something else in its stead or into it. Looked at once,
//! before anything is started.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The mode of a place that is made here: whoever knows the name of a directory in it may pass through, nobody else may
/// list or change anything.
const MODE: u32 = 0o711;
/// Bits of a mode by which others than the owner may write.
const WRITABLE: u32 = 0o022;
/// The bit by which those that may write to a directory may remove only what is their own.
const STICKY: u32 = 0o1000;

/// Makes the place if only it is missing, and answers its real path once it is seen to be ours.
pub(super) fn prepare(path: &Path) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(MODE).create(path) {
        // The mask of the process may have taken rights away.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(MODE))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(told(path, &error.to_string(), error.kind())),
    }
    let real = path.canonicalize()?;
    let us = rustix::process::geteuid().as_raw();
    let about = real.metadata()?;
    if !about.is_dir() {
        return Err(refused(&real, "it is no directory"));
    }
    if about.uid() != us {
        let problem = format!("it belongs to user {}, and this runs as user {us}", about.uid());
        return Err(refused(&real, &problem));
    }
    if about.mode() & WRITABLE != 0 {
        return Err(refused(
            &real,
            &format!(
                "others than its owner may write to it (mode {:o}); name a directory below it, or chmod 711 it",
                about.mode() & 0o7777
            ),
        ));
    }
    // Whoever owns the root directory has everything anyway, whatever number it has here.
    let root = Path::new("/").metadata()?.uid();
    for above in real.ancestors().skip(1) {
        let about = above.metadata()?;
        if let Some(problem) = insecure(&about, [us, root, 0]) {
            return Err(refused(&real, &format!("{} above it {problem}", above.display())));
        }
    }
    Ok(real)
}

/// Why somebody else could move away what is in a directory, if so.
fn insecure(about: &Metadata, trusted: [u32; 3]) -> Option<String> {
    if !trusted.contains(&about.uid()) {
        return Some(format!("belongs to user {}", about.uid()));
    }
    let mode = about.mode();
    (mode & WRITABLE != 0 && mode & STICKY == 0)
        .then(|| format!("can be written to by others than its owner (mode {:o})", mode & 0o7777))
}

/// The first directory on the way to this one that a user and a group do not come through by its mode, with that mode.
/// Further groups and lists of rights are not looked at: it is for a hint.
#[cfg(target_os = "linux")]
pub(super) fn closed_to(directory: &Path, uid: u32, gid: u32) -> Option<(PathBuf, u32)> {
    let mut above: Vec<&Path> = directory.ancestors().skip(1).collect();
    above.reverse();
    above.into_iter().find_map(|above| {
        let about = above.metadata().ok()?;
        let bit = match (about.uid() == uid, about.gid() == gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        (uid != 0 && about.mode() & bit == 0).then(|| (above.to_owned(), about.mode() & 0o7777))
    })
}

fn refused(path: &Path, problem: &str) -> io::Error {
    told(path, problem, io::ErrorKind::PermissionDenied)
}

fn told(path: &Path, problem: &str, kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, format!("{}: {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[track_caller]
    fn is_refused(path: &Path, parts: &[&str]) {
        let text = prepare(path).unwrap_err().to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }

    #[test]
    fn what_is_missing_is_made_so_that_others_can_only_pass_through() {
        let above = tempfile::tempdir().unwrap();
        let place = above.path().join("runs");
        let real = prepare(&place).unwrap();
        assert_eq!(real, place.canonicalize().unwrap());
        assert_eq!(real.metadata().unwrap().mode() & 0o7777, MODE);
        // One that is there keeps what its owner has given it.
        chmod(&place, 0o755);
        prepare(&place).unwrap();
        assert_eq!(real.metadata().unwrap().mode() & 0o7777, 0o755);
        is_refused(&above.path().join("not/there"), &["not/there"]);
    }

    #[test]
    fn a_place_that_others_could_change_or_exchange_is_refused() {
        let above = tempfile::tempdir().unwrap();
        let place = above.path().join("runs");
        prepare(&place).unwrap();
        // Sticky or not: others could make directories there before their runs do.
        for mode in [0o777, 0o1777, 0o770] {
            chmod(&place, mode);
            is_refused(&place, &["runs", "may write", "711"]);
        }
        chmod(&place, 0o711);
        chmod(above.path(), 0o777);
        is_refused(&place, &["above it", "mode 777"]);
        // There nobody can move it away.
        chmod(above.path(), 0o1777);
        prepare(&place).unwrap();
        let file = above.path().join("file");
        fs::write(&file, "").unwrap();
        is_refused(&file, &["no directory"]);
    }

    #[test]
    fn a_place_of_somebody_elses_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: a place of somebody else's is refused: needs root");
            return;
        }
        let above = tempfile::tempdir().unwrap();
        let place = above.path().join("runs");
        prepare(&place).unwrap();
        let give = |path: &Path| std::os::unix::fs::chown(path, Some(65_534), None).unwrap();
        give(&place);
        is_refused(&place, &["belongs to user 65534", "runs as user 0"]);
        let (theirs, ours) = (above.path().join("theirs"), above.path().join("theirs/ours"));
        fs::create_dir(&theirs).unwrap();
        prepare(&ours).unwrap();
        give(&theirs);
        is_refused(&ours, &["theirs above it belongs to user 65534"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_way_to_a_directory_is_closed_where_its_mode_says_so() {
        let above = tempfile::tempdir().unwrap();
        let (closed, within) = (above.path().join("closed"), above.path().join("closed/a/b"));
        fs::create_dir_all(&within).unwrap();
        chmod(above.path(), 0o711);
        chmod(&closed, 0o700);
        let (us, other) = (closed.metadata().unwrap().uid(), 4_000_000_000);
        let ours = closed_to(&within, us, other).filter(|(path, _)| path.starts_with(above.path()));
        assert_eq!(ours, None);
        assert_eq!(closed_to(&within, other, other), Some((closed.clone(), 0o700)));
        chmod(&closed, 0o711);
        assert_eq!(closed_to(&within, other, other), None);
        let group = closed.metadata().unwrap().gid();
        chmod(&closed, 0o701);
        assert_eq!(
            closed_to(&within, other, group),
            Some((closed, 0o701)),
            "its group comes before all others"
        );
    }
}
