//! What a daemon knows of its shims as a whole: where their files are, how they are made, which it has taken up.

use super::home::{Identity, ProcessHome};
use super::idle::Idle;
use super::shim::files::{self, Files};
use super::shim::note::{self, State};
use super::shim::tree;
use super::spawner::{Program, Spawner};
use super::strays;
use super::{cgroup, proc_table};
use punctual_clock::{Chance, Clock};
use punctual_model::RunId;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Only the owner of the data may see, and talk with, what is in it.
const DIRECTORY_MODE: u32 = 0o700;

/// The shims of one node.
#[derive(Debug)]
pub(super) struct Keeping {
    directory: PathBuf,
    program: Option<Program>,
    /// It has been said that there is none.
    told: AtomicBool,
    pub(super) spawner: Spawner,
    /// Those without work.
    pub(super) idle: Idle,
    /// Told from all others of this directory by this, and from one another by a number.
    session: String,
    made: AtomicU64,
    /// Where those of earlier sessions noted whom they keep, at the first look: who was not noted then never begins.
    earlier: OnceLock<BTreeMap<(RunId, u32), PathBuf>>,
    /// There is a `/proc`, and this is a boot of its own.
    can_tell: bool,
    /// Attempts of earlier sessions that this one goes on with.
    taken_up: Mutex<BTreeSet<(RunId, u32)>>,
}

impl Keeping {
    pub(super) fn below(data: &Path) -> Self {
        Self {
            directory: data.join("processes"),
            program: Program::this(),
            told: AtomicBool::new(false),
            spawner: Spawner::default(),
            idle: Idle::default(),
            session: format!("{:016x}", Chance::from_os().bits()),
            made: AtomicU64::new(0),
            earlier: OnceLock::new(),
            can_tell: proc_table::is_readable() && !proc_table::boot_id().is_empty(),
            taken_up: Mutex::default(),
        }
    }

    pub(super) fn set_program(&mut self, program: Program) {
        self.program = Some(program);
    }

    /// How the spawner is started; none if that cannot be, or nobody could be told from a stranger.
    pub(super) fn program(&self) -> Option<&Program> {
        if self.program.is_none() && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "processes end with this program: it has not called punctual::shim::enter() first"
            );
        }
        self.program.as_ref().filter(|_| self.can_tell)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory, which is not there before the first process.
    pub(super) fn prepare(&self) -> io::Result<()> {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn files(&self, run: RunId, attempt: u32) -> Files {
        Files::new(&self.directory, run, attempt)
    }

    /// Where the next shim is to note whom it keeps.
    pub(super) fn new_note(&self) -> PathBuf {
        self.directory.join(note::name(&self.session, self.made.fetch_add(1, Ordering::Relaxed)))
    }

    /// Who keeps an attempt, and where that is noted.
    pub(super) fn state(&self, run: RunId, attempt: u32) -> Option<(PathBuf, State)> {
        let ours = || self.notes().into_iter().filter(|path| self.is_ours(path));
        let read = |path: PathBuf| Some((note::read(&path)?, path));
        let earlier = self.earlier().get(&(run, attempt)).cloned();
        let mut found = earlier.into_iter().chain(ours()).filter_map(read);
        found.find(|(state, _)| state.is_of(run, attempt)).map(|(state, path)| (path, state))
    }

    fn earlier(&self) -> &BTreeMap<(RunId, u32), PathBuf> {
        self.earlier.get_or_init(|| {
            let paths = self.notes().into_iter().filter(|path| !self.is_ours(path));
            let read = |path: PathBuf| note::read(&path).map(|state| ((state.run, state.attempt), path));
            paths.filter_map(read).collect()
        })
    }

    fn notes(&self) -> Vec<PathBuf> {
        note::all(&self.directory)
    }

    /// Of this session.
    fn is_ours(&self, path: &Path) -> bool {
        note::is_of_session(path, &self.session)
    }

    /// This session goes on with an attempt of an earlier one.
    pub(super) fn take_up(&self, run: RunId, attempt: u32) {
        self.taken_up.lock().unwrap_or_else(PoisonError::into_inner).insert((run, attempt));
    }

    /// The runs that are in a living shim's hands.
    pub(super) fn kept(&self, home: &ProcessHome) -> BTreeSet<RunId> {
        let states = self.notes().into_iter().filter_map(|path| note::read(&path));
        states.filter(|state| living(home, state).is_some()).map(|state| state.run).collect()
    }

    /// Ends what shims keep that no run asks for, and removes what was left of attempts that are over. Called when
    /// every run has been judged.
    pub(super) async fn sweep(&self, home: &ProcessHome, grace: Duration, clock: &dyn Clock) {
        let taken_up = std::mem::take(&mut *self.taken_up.lock().unwrap_or_else(PoisonError::into_inner));
        // Those first that stand for somebody; who ends shall not leave anything to be found behind the last look.
        for path in self.notes().into_iter().filter(|path| !self.is_ours(path)) {
            let state = note::read(&path);
            if let Some(state) = &state {
                let (run, attempt) = (state.run, state.attempt);
                if taken_up.contains(&(run, attempt)) {
                    continue;
                }
                if let Some(shim) = living(home, state) {
                    tracing::warn!(run.id = %run, attempt, "ends a process that no run asks for");
                    end_shim(shim, Signal::TERM, grace, clock).await;
                }
            }
            // One that stands for nobody is of a shim that ends without its daemon, and begins nothing any more.
            let _ = std::fs::remove_file(path);
        }
        for (run, attempt) in files::all(&self.directory) {
            if taken_up.contains(&(run, attempt)) {
                continue;
            }
            let files = self.files(run, attempt);
            files.remove();
            // With a shim or without one, and whatever was left of it.
            cgroup::end(home, &files, clock).await;
        }
    }
}

/// Whether the numbers in a state mean processes of this node, or could.
pub(super) fn is_ours(home: &ProcessHome, state: &State) -> bool {
    home.mark().is_some_and(|mark| mark == state.node) && state.boot == home.boot()
}

/// The shim of a state, if it is ours and lives.
pub(super) fn living(home: &ProcessHome, state: &State) -> Option<Identity> {
    (is_ours(home, state) && state.shim.start_time != 0 && strays::is_alive(state.shim)).then_some(state.shim)
}

/// Ends a shim that cannot be talked with, its work first.
pub(super) async fn end_shim(shim: Identity, signal: Signal, grace: Duration, clock: &dyn Clock) {
    let left = strays::end(|| tree::identities(&tree::below(shim.pid)), signal, grace, clock).await.left;
    strays::end(
        || Some(shim).filter(|shim| strays::is_alive(*shim)).into_iter().collect(),
        Signal::KILL,
        Duration::ZERO,
        clock,
    )
    .await;
    if !left.is_empty() {
        tracing::error!(pids = ?left, "processes could not be ended");
    }
}
