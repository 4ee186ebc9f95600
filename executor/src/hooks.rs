//! The hooks that are built in. Which of them an attempt has is read from its definition; one that has none of
//! their settings has none of them.

mod artifacts;
mod command;
pub(crate) mod environment;
#[cfg(target_os = "linux")]
mod owner;
mod payload;
mod user;
mod work_dir;
mod work_place;

pub use work_dir::WorkDirs;

#[cfg(feature = "http")]
use crate::client::Client;
use crate::drivers::process::ProcessHome;
#[cfg(feature = "http")]
use crate::fetch::Fetcher;
use crate::hook::MakeHook;
use std::sync::Arc;

/// What the built-in hooks work with on this node.
#[derive(Clone)]
pub struct Means {
    work_dirs: WorkDirs,
    /// A variable for commands.
    mark: Option<(String, String)>,
    #[cfg(feature = "http")]
    client: Option<Arc<Client>>,
    #[cfg(feature = "http")]
    fetcher: Option<Arc<Fetcher>>,
}

impl Means {
    /// Directories of runs, and nothing that goes over a network.
    #[must_use]
    pub fn new(work_dirs: WorkDirs) -> Self {
        Self {
            work_dirs,
            mark: None,
            #[cfg(feature = "http")]
            client: None,
            #[cfg(feature = "http")]
            fetcher: None,
        }
    }

    /// Commands are found again by the marks of this node.
    #[must_use]
    pub fn marked_by(mut self, home: &ProcessHome) -> Self {
        self.mark = home.hook_variable();
        self
    }

    /// Hooks that are requests are made by this client.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn requests_by(mut self, client: Arc<Client>) -> Self {
        self.client = Some(client);
        self
    }

    /// Artifacts are fetched by this fetcher.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn fetches_by(mut self, fetcher: Arc<Fetcher>) -> Self {
        self.fetcher = Some(fetcher);
        self
    }
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("work_dirs", &self.work_dirs).finish_non_exhaustive()
    }
}

/// All of them, in the order in which they come before a start; after the exit they come the other way round.
#[must_use]
pub fn built_in(means: &Means) -> Vec<Arc<dyn MakeHook>> {
    vec![
        // Where the work runs; all that follow may put something there.
        Arc::new(work_dir::MakeWorkDir(means.work_dirs.clone())),
        // What the run was given.
        Arc::new(payload::MakePayload),
        // What its task wants there.
        Arc::new(artifacts::MakeArtifacts(means.clone())),
        // All of that is for whoever the work is.
        #[cfg(target_os = "linux")]
        Arc::new(owner::MakeOwner),
        // What the task's user wants done, with all of that in place.
        Arc::new(user::MakeUserHooks(means.clone())),
    ]
}
