//! Who a shim and its work are, for a daemon that has to find them again, in `DATA/processes`:
//!
//! ```text
//! SESSION-NUMBER.shim   of this shim: a line that says what it keeps, and the checksum of that line
//! RUN.ATTEMPT.state     of a shim of an earlier build, which kept one attempt: the line alone
//! ```
//!
//! One file a shim, written over in place, and not one a run: a file that is made and removed costs a short run more
//! than all else that its shim does. Fields of the line are only ever added; what is written in another way has to get
//! another name.

use super::super::home::Identity;
use super::files::private;
use super::messages;
use punctual_model::RunId;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const OURS: &str = "shim";
const EARLIER: &str = "state";

/// Who a shim is, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) run: RunId,
    pub(crate) attempt: u32,
    pub(crate) node: String,
    pub(crate) token: String,
    /// The boot of the machine under which the two numbers mean something.
    pub(crate) boot: String,
    pub(crate) shim: Identity,
    pub(crate) leader: Identity,
    /// Microseconds of processor time of what the shim kept before, which the system counts as its children's for ever: in
    /// their own code, and of the system.
    #[serde(default)]
    pub(crate) before: [u64; 2],
}

impl State {
    pub(crate) fn is_of(&self, run: RunId, attempt: u32) -> bool {
        (self.run, self.attempt) == (run, attempt)
    }
}

/// The file of one shim, which it alone writes, and removes when it ends.
#[derive(Debug)]
pub(super) struct Note {
    file: File,
    path: PathBuf,
}

impl Note {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self { file: private(&path)?, path })
    }

    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Not synced: after a power loss no shim lives either. Work begins after it, so half of one stands for nobody, and
    /// the checksum tells it from a whole one.
    pub(super) fn write(&self, state: &State) -> io::Result<()> {
        let mut text = messages::line(state);
        let sum = crc32fast::hash(&text);
        writeln!(text, "{sum:08x}")?;
        self.file.write_all_at(&text, 0)
    }

    /// From now on it stands for nobody.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.file.write_all_at(b"\n", 0)
    }

    pub(super) fn remove(self) {
        // What cannot be removed is garbage that the next start sweeps.
        let _ = std::fs::remove_file(self.path);
    }
}

/// The name of the file of one shim of many of one session of a daemon.
pub(crate) fn name(session: &str, number: u64) -> String {
    format!("{session}-{number}.{OURS}")
}

/// Whether it is one of that session's.
pub(crate) fn is_of_session(path: &Path, session: &str) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.strip_prefix(session).is_some_and(|rest| rest.starts_with('-'))
}

/// What stands in it. None if there is none that is whole, or it stands for nobody.
pub(crate) fn read(path: &Path) -> Option<State> {
    let text = std::fs::read(path).ok()?;
    if path.extension() == Some(OsStr::new(EARLIER)) {
        return serde_json::from_slice(&text).ok();
    }
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = text.split_at_checked(end + 1)?;
    let sum = std::str::from_utf8(rest.get(..8)?).ok()?;
    let is_whole = u32::from_str_radix(sum, 16).is_ok_and(|sum| sum == crc32fast::hash(line));
    is_whole.then(|| serde_json::from_slice(line).ok())?
}

/// The files of all shims that are there, in the order of their names.
pub(crate) fn all(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_one =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == OURS || extension == EARLIER);
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_one).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(run: u64, node: &str) -> State {
        let identity = Identity { pid: 4, start_time: 5 };
        State {
            run: RunId::new(run).unwrap(),
            attempt: 3,
            node: node.to_owned(),
            token: "t".to_owned(),
            boot: "b".to_owned(),
            shim: identity,
            leader: identity,
            before: [0; 2],
        }
    }

    #[test]
    fn one_state_after_another_stands_in_one_file_and_none_between_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name("session", 7));
        assert_eq!(read(&path), None);
        let note = Note::open(path.clone()).unwrap();
        assert_eq!(read(&path), None);
        // Longer than a page, and a shorter one over it.
        for state in [state(5, &"n".repeat(5_000)), state(6, "n")] {
            note.write(&state).unwrap();
            assert!(state.is_of(state.run, 3) && !state.is_of(state.run, 4));
            assert_eq!(read(&path), Some(state));
            note.clear().unwrap();
            assert_eq!(read(&path), None);
        }
        assert_eq!(all(directory.path()), std::slice::from_ref(&path));
        assert!(is_of_session(&path, "session") && !is_of_session(&path, "sess"));
        note.remove();
        assert_eq!(all(directory.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn half_a_state_over_another_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name("session", 7));
        let note = Note::open(path.clone()).unwrap();
        note.write(&state(5, "one")).unwrap();
        let before = std::fs::read(&path).unwrap();
        note.write(&state(6, "two")).unwrap();
        let after = std::fs::read(&path).unwrap();
        assert_eq!(before.len(), after.len());
        for cut in 0..=after.len() {
            std::fs::write(&path, [&after[..cut], &before[cut..]].concat()).unwrap();
            let whole = [&before, &after].into_iter().any(|text| *text == std::fs::read(&path).unwrap());
            assert_eq!(read(&path).is_some(), whole, "{cut}");
            std::fs::write(&path, &after[..cut]).unwrap();
            // The last byte is the end of a line that says all.
            assert_eq!(read(&path).is_some(), cut + 1 >= after.len(), "{cut}");
        }
    }

    /// As builds before the one file a shim have left it; what a later one adds is passed over.
    #[test]
    fn the_state_of_a_shim_of_an_earlier_or_later_build_is_understood() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0000000000000005.3.state");
        let text = r#"{"run":"0000000000000005","attempt":3,"node":"n","token":"t","boot":"b","shim":{"pid":4,"start_time":5},"leader":{"pid":4,"start_time":5}}"#;
        for text in [format!("{text}\n"), text.replacen('{', r#"{"of a later build":[1],"#, 1)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path), Some(state(5, "n")));
        }
        assert_eq!(all(directory.path()), std::slice::from_ref(&path));
        std::fs::write(&path, &text[..20]).unwrap();
        assert_eq!(read(&path), None);
    }
}
