//! Limits of an attempt as a whole (memory, processors, processes), which the kernel keeps by a control group of its own,
//! of version 2 or 1. A limit that is asked for and cannot be had fails the start; a run without limits has no group.
//!
//! ```text
//! daemon  find the layer ─► note ─► make, with limits ─► start      end: kill what is in it ─► count ─► remove
//! child                                              └► enter ─► exec
//! ```
//!
//! The note lies in the data directory beside the states of shims, so that whoever comes back finds the group, wherever
//! the daemon is by then.

mod base;
mod group;
#[cfg(test)]
mod kernel_tests;
mod layout;
mod limits;

pub(crate) use group::Group;
pub(super) use limits::size;

use super::home::ProcessHome;
use super::shim::files::Files;
use super::strays::{FIRST_LOOK, LONGEST_LOOK, PROOF};
use crate::driver::{Attempt, RunSink};
use group::{Part, Version};
use layout::Layout;
use limits::Limit;
use punctual_clock::{Chance, Clock};
use punctual_model::event::EventKind;
use punctual_model::process::Resources;
use punctual_model::{Failure, FailureKind};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::task::JoinHandle;

/// What makes a group stand still while it is killed, in version 1.
const FREEZER: &str = "freezer";

const HINT: &str = "the daemon needs a control group that it may change: run it as root, or under systemd with \
    Delegate=yes and DelegateSubgroup=daemon";

/// A group that goes, with all that is in it, unless somebody else takes it over.
#[derive(Debug)]
pub(super) struct Held {
    group: Group,
    note: Option<Files>,
    is_ours: bool,
}

/// By which a node knows its groups.
fn mark(home: &ProcessHome) -> Option<u32> {
    home.mark().map(|it| crc32fast::hash(it.as_bytes()))
}

/// The group of an attempt of this node, which may be gone.
///
/// # Errors
/// If its note cannot be read: there may be a group.
fn noted(home: &ProcessHome, note: &Files) -> io::Result<Option<Group>> {
    Ok(note.group()?.filter(|group| mark(home).is_some_and(|mark| group.is_marked(mark))))
}

/// The same for who can do without: a group whose note cannot be read stays until the next start.
pub(super) fn found(home: &ProcessHome, note: &Files) -> Option<Group> {
    noted(home, note).unwrap_or_else(|error| {
        tracing::warn!(%error, "the note of a control group could not be read; the next start tries again");
        None
    })
}

/// Makes the group of an attempt, if its task has limits.
pub(super) async fn begin(
    home: &ProcessHome,
    attempt: &Attempt,
    resources: &Resources,
) -> Result<Option<Held>, Failure> {
    if resources.is_unlimited() {
        return Ok(None);
    }
    let run = &attempt.run;
    let of = format!("{}.{}", run.id, run.life.attempt);
    // A node that keeps nothing finds nothing again, so any name will do that nobody else has.
    let mark = mark(home).unwrap_or_else(|| (Chance::from_os().bits() >> 32) as u32);
    let name = group::name(mark, &of);
    let note = home.keeping().map(|keeping| {
        // If it cannot be, neither can the note.
        let _ = keeping.prepare();
        keeping.files(run.id, run.life.attempt)
    });
    let resources = *resources;
    // In a thread that may wait: the kernel takes its time over groups. Given up meanwhile, it goes again.
    let made =
        tokio::task::spawn_blocking(move || Held::make(Path::new("/proc"), &name, note, &resources)).await;
    match made {
        Ok(Ok(held)) => Ok(Some(held)),
        Ok(Err(text)) => Err(Failure::new(FailureKind::Start, text)),
        Err(error) => Err(Failure::new(FailureKind::Panic, error.to_string()).recoverable()),
    }
}

impl Held {
    fn make(proc: &Path, name: &str, note: Option<Files>, resources: &Resources) -> Result<Self, String> {
        let all = limits::of(resources);
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        let refused = |why: String| format!("its limits ({}) cannot be had: {why}; {HINT}", names.join(", "));
        let layout = Layout::read(proc)
            .map_err(|error| refused(format!("where the daemon is cannot be read: {error}")))?;
        let (version, parts) = parts(&layout, &all).map_err(refused)?;
        let mut group = Group::planned(version, &parts, &all, name);
        if let Some(note) = &note {
            // Before there is anything to be found.
            note.write_group(&group).map_err(|error| refused(format!("it cannot be noted: {error}")))?;
        }
        let made = group.make(&parts);
        let mut held = Self { group, note, is_ours: true };
        if let Err(why) = made {
            held.is_ours = false;
            held.group.kill();
            remove(&held.group, held.note.as_ref());
            return Err(refused(why));
        }
        Ok(held)
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    /// Says in the run's record by what its limits are kept.
    pub(super) fn tell(&self, sink: &dyn RunSink) {
        sink.event(EventKind::LimitsApplied { layer: self.group.about() });
    }

    /// Somebody else ends and removes it.
    pub(super) fn hand_over(mut self) -> HandedOver {
        self.is_ours = false;
        HandedOver(self)
    }

    /// Removes it once nothing lives in it; what cannot be removed is found by its note at the next start.
    pub(super) async fn remove(mut self) {
        self.is_ours = false;
        removed(self.group.clone(), self.note.clone()).await;
    }
}

/// A group that somebody else ends and removes.
pub(super) struct HandedOver(Held);

impl HandedOver {
    /// See [`Held::tell`].
    pub(super) fn tell(&self, sink: &dyn RunSink) {
        self.0.tell(sink);
    }

    /// Nobody else did: ends what lives in it, and removes it.
    pub(super) fn take_back(mut self) {
        self.0.is_ours = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        let (group, note) = (self.group.clone(), self.note.clone());
        let end = move || {
            group.kill();
            remove(&group, note.as_ref());
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
        }
    }
}

/// Kills a group again and again, in threads that may wait: one kill at a time, and what is asked for meanwhile is done
/// by the one at work or asked for again.
#[derive(Debug, Default)]
pub(super) struct Killing(Mutex<Option<JoinHandle<()>>>);

impl Killing {
    pub(super) fn kill(&self, group: &Group) {
        let mut killing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if killing.as_ref().is_none_or(JoinHandle::is_finished) {
            let group = group.clone();
            *killing = Some(tokio::task::spawn_blocking(move || group.kill()));
        }
    }
}

/// Ends what lives in the group of an attempt of which nothing else is left, and removes it.
pub(super) async fn end(home: &ProcessHome, note: &Files, clock: &dyn Clock) {
    let group = match noted(home, note) {
        Ok(Some(group)) => group,
        Ok(None) => {
            // Half a note was written before there was anything to be found, and one of another node is not ours.
            note.remove_group();
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "the note of a control group could not be read; the next start tries again");
            return;
        }
    };
    end_group(group, note, clock).await;
}

/// Ends what lives in a group, until that is proven or has taken too long, and removes it.
pub(super) async fn end_group(group: Group, note: &Files, clock: &dyn Clock) {
    let (start, mut pause, killing) = (clock.monotonic(), FIRST_LOOK, Killing::default());
    while !group.is_empty() && clock.monotonic().saturating_sub(start) < PROOF {
        killing.kill(&group);
        clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
    removed(group, Some(note.clone())).await;
}

/// [`remove`] in a thread that may wait.
async fn removed(group: Group, note: Option<Files>) {
    let removing = tokio::task::spawn_blocking(move || remove(&group, note.as_ref()));
    if let Err(error) = removing.await {
        tracing::error!(%error, "a control group was not removed; the next start tries again");
    }
}

/// Removes an empty group and then its note.
pub(super) fn remove(group: &Group, note: Option<&Files>) {
    if group.remove() {
        note.into_iter().for_each(Files::remove_group);
    } else {
        tracing::warn!(
            group = group.about(),
            "a control group could not be removed; the next start tries again"
        );
    }
}

/// What is to be made where.
fn parts<'a>(layout: &Layout, all: &'a [Limit]) -> Result<(Version, Vec<Part<'a>>), String> {
    let wanted: Vec<&str> = all.iter().map(|limit| limit.controller).collect();
    let unified = match &layout.unified {
        Some(place) => base::base(place, &wanted),
        None => Err("it is not mounted here".to_owned()),
    };
    let why = match unified {
        Ok(base) => {
            let settings = all.iter().flat_map(|limit| limit.unified.iter().map(move |it| (limit, it)));
            return Ok((Version::Two, vec![Part { base, settings: settings.collect(), may_lack: false }]));
        }
        Err(why) => why,
    };
    let missing: Vec<&str> =
        wanted.iter().copied().filter(|name| !layout.single.contains_key(*name)).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(format!("cgroup v2: {why}; cgroup v1: no hierarchy for {missing} is to be seen here"));
    }
    // Two controllers may share a hierarchy.
    let mut bases: BTreeMap<&PathBuf, Part<'a>> = BTreeMap::new();
    for limit in all {
        let Some(base) = layout.single.get(limit.controller) else { continue };
        let part = bases.entry(base).or_insert_with(|| Part {
            base: base.clone(),
            settings: Vec::new(),
            may_lack: false,
        });
        part.settings.extend(limit.single.iter().map(|setting| (limit, setting)));
    }
    if let Some(base) = layout.single.get(FREEZER) {
        bases.entry(base).or_insert_with(|| Part {
            base: base.clone(),
            settings: Vec::new(),
            may_lack: true,
        });
    }
    Ok((Version::One, bases.into_values().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(single: &[(&str, &str)]) -> Layout {
        let single = single.iter().map(|(name, at)| ((*name).to_owned(), PathBuf::from(at)));
        Layout { unified: None, single: single.collect() }
    }

    fn all() -> Vec<Limit> {
        limits::of(&Resources { memory: Some(1 << 20), cpu: Some(Resources::MIN_CPU), pids: Some(1) })
    }

    #[test]
    fn each_hierarchy_of_version_one_gets_what_it_keeps() {
        let all = all();
        let layout = layout(&[
            ("memory", "/m/a"),
            ("cpu", "/c"),
            ("cpuacct", "/c"),
            ("pids", "/c"),
            ("freezer", "/f"),
        ]);
        let (version, parts) = parts(&layout, &all).unwrap();
        let found: Vec<(PathBuf, usize, bool)> =
            parts.into_iter().map(|part| (part.base, part.settings.len(), part.may_lack)).collect();
        let expect = [("/c", 3, false), ("/f", 0, true), ("/m/a", 2, false)];
        assert_eq!(version, Version::One);
        assert_eq!(found, expect.map(|(base, count, lack)| (PathBuf::from(base), count, lack)));
    }

    #[test]
    fn a_limit_that_nothing_keeps_is_named_with_what_was_looked_at() {
        let tree = tempfile::tempdir().unwrap();
        let own = tree.path().join("self");
        std::fs::create_dir(&own).unwrap();
        let point = tree.path().join("v2");
        std::fs::create_dir(&point).unwrap();
        std::fs::write(point.join("cgroup.controllers"), "hugetlb\n").unwrap();
        std::fs::write(own.join("cgroup"), "0::/\n").unwrap();
        let mount = format!("1 2 0:3 / {} rw - cgroup2 cgroup2 rw", point.display());
        std::fs::write(own.join("mountinfo"), mount).unwrap();
        let resources = Resources { pids: Some(5), ..Resources::default() };
        let error = Held::make(tree.path(), "x", None, &resources).unwrap_err();
        for part in
            ["its limits (pids 5)", "v2 has no controller for pids", "v1: no hierarchy for pids", HINT]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = Held::make(&tree.path().join("none"), "x", None, &resources).unwrap_err();
        assert!(error.contains("cannot be read: No such file"), "{error}");
    }

    #[tokio::test]
    async fn a_note_that_cannot_be_read_stays_and_one_that_says_nothing_goes() {
        let data = tempfile::tempdir().unwrap();
        let home = ProcessHome::in_directory(data.path()).unwrap();
        let clock = punctual_clock::SystemClock::new().unwrap();
        let note = Files::new(data.path(), punctual_model::RunId::new(5).unwrap(), 1);
        let path = data.path().join(format!("{}.1.group", punctual_model::RunId::new(5).unwrap()));
        // It leads to itself.
        std::os::unix::fs::symlink(&path, &path).unwrap();
        end(&home, &note, &clock).await;
        assert!(path.is_symlink());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "{\"version\":").unwrap();
        end(&home, &note, &clock).await;
        assert!(!path.exists());
    }
}
