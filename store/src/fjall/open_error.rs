//! Why a data directory was not opened: what, where, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A data directory was not opened. Unless it says otherwise, nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something else is in its place.
    #[error("{} is not a directory: name one, or a path where one can be made", .path.display())]
    NotADirectory {
        /// Where.
        path: PathBuf,
    },
    /// Others could read or change what is in it, or we may not.
    #[error("{}: {problem}; {hint}", .path.display())]
    Permissions {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// Another process works on it.
    #[error("{} is in use by {}: stop that one first, or name another directory", .path.display(), process(*.pid))]
    Locked {
        /// Where.
        path: PathBuf,
        /// The process, if its mark can be read.
        pid: Option<u32>,
    },
    /// A later version has written it.
    #[error(
        "{} has format {found} and this version knows up to {known}: use the version that wrote it, or a later one",
        .path.display()
    )]
    NewerFormat {
        /// Where.
        path: PathBuf,
        /// The format of the directory.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// Commits that were acknowledged are not there any more.
    #[error(
        "{}: commits up to {sealed} were acknowledged, and only those up to {found} are there{}; {}",
        .path.display(), kept(.aside.as_deref()), what_now(.path)
    )]
    BehindSeal {
        /// Where.
        path: PathBuf,
        /// The last commit that is known to have been synced.
        sealed: u64,
        /// The last commit that is there.
        found: u64,
        /// The journals as they were before the database looked at them, if there was anything to lose.
        aside: Option<PathBuf>,
    },
    /// It cannot be read.
    #[error(
        "{} is damaged: {error}{}{}; {}",
        .path.display(), acknowledged(*.sealed), kept(.aside.as_deref()), what_now(.path)
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What was found.
        error: String,
        /// The last commit that is known to have been synced, if that can still be read.
        sealed: Option<u64>,
        /// The journals as they were before the database looked at them, if there was anything to lose.
        aside: Option<PathBuf>,
    },
    /// The system refused.
    #[error("failed to {what} {}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// Gives a system error its place.
    pub(super) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| match source.kind() {
            io::ErrorKind::NotADirectory => Self::NotADirectory { path: path.to_owned() },
            io::ErrorKind::PermissionDenied => Self::Permissions {
                path: path.to_owned(),
                problem: format!("permission denied to {what} it"),
                hint: "give the directory to the user that runs this",
            },
            _ => Self::Io { what, path: path.to_owned(), source },
        }
    }
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn what_now(path: &Path) -> String {
    let path = path.display();
    format!(
        "restore a backup, or let a copy be made of what can be saved: punctual store repair --data {path} --to COPY"
    )
}

fn acknowledged(sealed: Option<u64>) -> String {
    sealed.map_or_else(String::new, |sealed| format!(" (commits up to {sealed} were acknowledged)"))
}

fn kept(aside: Option<&Path>) -> String {
    aside.map_or_else(String::new, |aside| {
        format!(" (the journals as they were found are in {})", aside.display())
    })
}
