//! Hands a run's directory, with what the hooks before it have put there, to the user that the work is. Once a run,
//! before any of its work: later the directory is that user's, and nothing of ours goes through it by name.

use super::work_dir::blocking;
use super::work_place;
use crate::drivers::process::control;
use crate::hook::{Around, Hook, MakeHook, Prestarted};
use async_trait::async_trait;
use punctual_model::event::EventKind;
use punctual_model::process::ProcessContext;
use punctual_model::{Failure, FailureKind, Task};
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use std::io;
use std::path::{Path, PathBuf};

/// Makes [`OwnerHook`]s.
pub(super) struct MakeOwner;

impl MakeHook for MakeOwner {
    fn make(&self, task: &Task, hooks: &mut Vec<Box<dyn Hook>>) {
        let context = task.spec.work.context().filter(|it| it.user.is_some() || it.group.is_some());
        if let Some(context) = context.filter(|it| it.work_dir.is_some()) {
            hooks.push(Box::new(OwnerHook { context: context.clone() }));
        }
    }
}

struct OwnerHook {
    context: ProcessContext,
}

#[async_trait]
impl Hook for OwnerHook {
    fn name(&self) -> &str {
        "owner"
    }

    async fn prestart(&self, around: &Around) -> Result<Prestarted, Failure> {
        let directory = around.attempt.setup.as_ref().and_then(|setup| setup.work_dir.clone());
        if let Some(directory) = directory {
            let context = self.context.clone();
            let given = blocking(move || Ok(give(&directory, &context))).await;
            if let Some(text) = given.unwrap_or_else(|error| Err(failed(&error)))? {
                around.sink.event(EventKind::Message { source: "owner".to_owned(), text });
            }
        }
        Ok(Prestarted { done: true, ..Prestarted::default() })
    }
}

/// Answers what is worth telling: that its user cannot come to it by its path.
fn give(directory: &Path, context: &ProcessContext) -> Result<Option<String>, Failure> {
    let Some((owner, group)) = control::owner(context)? else { return Ok(None) };
    let mut left: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(group));
        chownat(CWD, &path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed(&error.into()))?;
        if path.symlink_metadata().is_ok_and(|about| about.is_dir()) {
            for entry in std::fs::read_dir(&path).map_err(|error| failed(&error))? {
                left.push(entry.map_err(|error| failed(&error))?.path());
            }
        }
    }
    Ok(work_place::closed_to(directory, owner, group).map(|(closed, mode)| {
        format!(
            "user {owner} works in {} and cannot come to it by this path: {} is closed to it (mode {mode:o}); \
             --work-dir names a place that is not",
            directory.display(),
            closed.display()
        )
    }))
}

fn failed(error: &io::Error) -> Failure {
    Failure::new(FailureKind::Start, format!("the run's directory cannot be given to its user: {error}"))
}
