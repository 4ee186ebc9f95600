//! Writes the parameters of a run into a file in its directory, as JSON.

use super::work_dir::blocking;
use crate::hook::{Around, Hook, MakeHook, Prestarted};
use async_trait::async_trait;
use punctual_model::{Failure, FailureKind, Task};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path};

/// The variable with the file's path.
const VARIABLE: &str = "PUNCTUAL_PAYLOAD_FILE";

/// The mode of the file: parameters are the run's own.
const MODE: u32 = 0o600;

/// Makes [`PayloadHook`]s.
pub(super) struct MakePayload;

impl MakeHook for MakePayload {
    fn make(&self, task: &Task, hooks: &mut Vec<Box<dyn Hook>>) {
        let file = task.spec.work.context().and_then(|context| context.payload_file.clone());
        hooks.extend(file.map(|file| Box::new(PayloadHook { file }) as Box<dyn Hook>));
    }
}

struct PayloadHook {
    /// Relative to the run's directory.
    file: String,
}

#[async_trait]
impl Hook for PayloadHook {
    fn name(&self) -> &str {
        "payload"
    }

    async fn prestart(&self, around: &Around) -> Result<Prestarted, Failure> {
        let params = &around.attempt.run.params;
        if params.is_null() {
            return Ok(Prestarted { done: true, ..Prestarted::default() });
        }
        let directory = around.attempt.setup.as_ref().and_then(|setup| setup.work_dir.clone());
        let Some(directory) = directory else {
            return Err(Failure::new(FailureKind::Start, "the run has no directory for its payload file"));
        };
        let (file, bytes) = (self.file.clone(), params.to_string().into_bytes());
        let path = directory.join(&file);
        blocking(move || write(&directory, &file, &bytes)).await.map_err(|error| {
            let failure = Failure::new(FailureKind::Start, format!("the payload cannot be written: {error}"));
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure.recoverable(),
                _ => failure,
            }
        })?;
        let env = BTreeMap::from([(VARIABLE.to_owned(), path.display().to_string())]);
        Ok(Prestarted { env, done: true, ..Prestarted::default() })
    }
}

/// Writes it in one step, and never through a link that leads out of the directory.
fn write(directory: &Path, file: &str, bytes: &[u8]) -> io::Result<()> {
    let refused = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{file:?}: {text}"));
    let relative = Path::new(file);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(refused("is no path within the run's directory"));
    }
    let Some(name) = relative.file_name() else { return Err(refused("names no file")) };
    let mut parent = directory.to_owned();
    for part in relative.parent().into_iter().flat_map(Path::components) {
        parent.push(part);
        match std::fs::symlink_metadata(&parent) {
            Ok(there) if there.is_dir() => {}
            Ok(_) => return Err(refused("leads through what is no directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir(&parent)?,
            Err(error) => return Err(error),
        }
    }
    let mut hidden = std::ffi::OsString::from(".punctual-");
    hidden.push(name);
    let partial = parent.join(hidden);
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = std::fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&partial)?;
    written.write_all(bytes)?;
    std::fs::rename(&partial, parent.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TR14: exactly these bytes.
    #[test]
    fn tr14_the_payload_is_written_as_it_is_into_directories_that_are_made() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "in/deep/payload.json", b"{\"a\":1}").unwrap();
        write(dir.path(), "in/deep/payload.json", b"{}").unwrap();
        assert_eq!(std::fs::read(dir.path().join("in/deep/payload.json")).unwrap(), b"{}");
        assert_eq!(
            std::fs::read_dir(dir.path().join("in/deep")).unwrap().count(),
            1,
            "nothing half written is left"
        );
    }

    #[test]
    fn no_path_and_no_link_leads_out_of_the_directory() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(other.path(), dir.path().join("out")).unwrap();
        std::fs::write(other.path().join("kept"), "kept").unwrap();
        std::os::unix::fs::symlink(other.path().join("kept"), dir.path().join("link")).unwrap();
        for bad in ["../x", "/etc/x", "a/../../x", "", ".", "out/x"] {
            assert!(write(dir.path(), bad, b"x").is_err(), "{bad}");
        }
        write(dir.path(), "link", b"x").unwrap();
        assert_eq!(std::fs::read(other.path().join("kept")).unwrap(), b"kept", "the link itself is replaced");
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1);
    }
}
