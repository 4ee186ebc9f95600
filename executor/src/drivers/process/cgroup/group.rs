//! The control group of one attempt: made with its limits, entered by the child, read, ended with all that is in it,
//! removed. In version 2 that is one directory, in version 1 one in each hierarchy that has a say. Whatever the work
//! does about sessions and parents, it stays in its group, so a group without processes is proof that nothing lives.

use super::super::home::Identity;
use super::super::proc_table;
use super::limits::{Limit, Setting};
use rustix::event::poll;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The beginning of the name of each group that is ours.
const PREFIX: &str = "punctual-";

/// Looks at a group that is about to stand still, and the pause between two: together ten times what it takes, and if it
/// takes longer, whoever kills looks again anyway.
const STILL: u32 = 20;
/// And at one that is about to be empty for good: the kernel lets go of who has ended a moment after his parent was told.
/// What takes longer stays until the next start, so rather too many.
const EMPTY: u32 = 1_000;
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Which of the two ways of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Version {
    #[serde(rename = "1")]
    One,
    #[serde(rename = "2")]
    Two,
}

/// A group, which may be gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(super) version: Version,
    /// One, or one a hierarchy.
    directories: Vec<PathBuf>,
    /// What is limited, for people.
    limits: String,
    /// Where the kernel counts whom it killed for want of memory.
    memory: Option<PathBuf>,
}

/// A directory to be made in a hierarchy, with what is written into it.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Below which group.
    pub(super) base: PathBuf,
    pub(super) settings: Vec<(&'a Limit, &'a Setting)>,
    /// The work can do without it.
    pub(super) may_lack: bool,
}

/// The name of an attempt's group: the same for whoever looks for it, and nobody else's.
pub(super) fn name(mark: u32, attempt: &str) -> String {
    format!("{PREFIX}{mark:08x}-{attempt}")
}

impl Group {
    /// The group as it will be, with nothing made yet, so that it can be noted before.
    pub(super) fn planned(version: Version, parts: &[Part<'_>], limits: &[Limit], name: &str) -> Self {
        let directories = parts.iter().map(|part| part.base.join(name)).collect();
        let limits: Vec<String> = limits.iter().map(ToString::to_string).collect();
        let counts = |part: &&Part<'_>| part.settings.iter().any(|(limit, _)| limit.controller == "memory");
        let memory = parts.iter().find(counts).map(|part| part.base.join(name));
        Self { version, directories, limits: limits.join(", "), memory }
    }

    /// Makes it; if that fails, nothing of it is left, and the answer says which limit, and why.
    pub(super) fn make(&mut self, parts: &[Part<'_>]) -> Result<(), String> {
        let mut made = Vec::new();
        for (part, directory) in parts.iter().zip(std::mem::take(&mut self.directories)) {
            match make(part, &directory) {
                Ok(()) => made.push(directory),
                Err(_) if part.may_lack => drop(std::fs::remove_dir(directory)),
                Err(error) => {
                    made.push(directory);
                    self.directories = made;
                    self.remove();
                    return Err(error);
                }
            }
        }
        self.directories = made;
        Ok(())
    }

    /// Whether every directory is named for this attempt; no other one is to be touched.
    pub(crate) fn is_of(&self, attempt: &str) -> bool {
        self.directories.iter().all(|directory| {
            let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.strip_prefix(PREFIX)
                .and_then(|rest| rest.split_once('-'))
                .is_some_and(|(_, it)| it == attempt)
        })
    }

    /// Whether every directory is named for this node: a note in a copy of its data names the groups of the original.
    pub(super) fn is_marked(&self, mark: u32) -> bool {
        let beginning = name(mark, "");
        self.directories.iter().all(|directory| {
            let name = directory.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&beginning))
        })
    }

    /// The files into which a process writes `0` to be in it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = PathBuf> {
        self.directories.iter().map(|directory| directory.join("cgroup.procs"))
    }

    /// By what limits are kept, and which.
    pub(crate) fn about(&self) -> String {
        let version = match self.version {
            Version::One => "v1",
            Version::Two => "v2",
        };
        format!("cgroup {version}: {}", self.limits)
    }

    /// Everything that lives in it, as far as it can be read.
    pub(crate) fn members(&self) -> Vec<Identity> {
        let stats = self.pids().0.into_iter().filter_map(proc_table::stat);
        stats.filter(|stat| stat.alive).map(|stat| stat.identity).collect()
    }

    /// Whether it is proven that nothing lives in it: of what cannot be read that is not known.
    pub(crate) fn is_empty(&self) -> bool {
        match self.version {
            // What the kernel counts through all that is in it, threads of groups that cannot be read included.
            Version::Two => self.directories.iter().all(|directory| {
                match std::fs::read_to_string(directory.join("cgroup.events")) {
                    Ok(text) => text.lines().any(|line| line == "populated 0"),
                    Err(error) => is_gone(&error),
                }
            }),
            Version::One => {
                let (pids, all) = self.pids();
                let lives = |pid| proc_table::stat(pid).is_some_and(|stat| stat.alive);
                all && !pids.into_iter().any(lives)
            }
        }
    }

    /// Who is in it besides us, and whether those are all: whether every list could be read.
    fn pids(&self) -> (BTreeSet<i32>, bool) {
        let us = i32::try_from(std::process::id()).unwrap_or_default();
        let (mut pids, mut all) = (BTreeSet::new(), true);
        for group in self.directories.iter().flat_map(|directory| below(directory)) {
            match group.and_then(|group| std::fs::read_to_string(group.join("cgroup.procs"))) {
                // Those of another view of processes are shown as 0.
                Ok(text) => pids.extend(
                    text.lines()
                        .filter_map(|pid| pid.parse::<i32>().ok())
                        .filter(|pid| *pid > 0 && *pid != us),
                ),
                Err(error) => all &= is_gone(&error),
            }
        }
        (pids, all)
    }

    /// Sends a signal to all that are in it, except to those that `but` says.
    pub(crate) fn signal(&self, signal: Signal, but: impl Fn(i32) -> bool) {
        let held: Vec<_> = self
            .pids()
            .0
            .into_iter()
            .filter(|pid| !but(*pid))
            .filter_map(|pid| Some((pid, pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?)))
            .collect();
        // Whoever is in it now with that number is who is held, or who is held has gone.
        let still = self.pids().0;
        for (_, process) in held.iter().filter(|(pid, _)| still.contains(pid)) {
            // Gone in between is what was wanted.
            let _ = pidfd_send_signal(process, signal);
        }
    }

    /// Kills all that are in it at once, so that nobody has children in between where the kernel can do that. Does not
    /// wait until they have gone.
    pub(crate) fn kill(&self) {
        self.hurry();
        let kills = |directory: &PathBuf| std::fs::write(existing(directory, "cgroup.kill")?, "1");
        if self.version == Version::Two && self.directories.iter().all(|directory| kills(directory).is_ok()) {
            return;
        }
        let freezer = self.directories.iter().find_map(|directory| existing(directory, "freezer.state").ok());
        if let Some(state) = &freezer
            && std::fs::write(state, "FROZEN").is_ok()
        {
            // Until then, somebody may still be on the way into a fork.
            let is_still = || std::fs::read_to_string(state).is_ok_and(|text| text.trim() == "FROZEN");
            until(STILL, is_still);
        }
        self.signal(Signal::KILL, |_| false);
        if let Some(state) = freezer {
            // Also what somebody froze who died before he could do this.
            let _ = std::fs::write(state, "THAWED");
        }
    }

    /// Lifts its limit of processor time: who may use a hundredth of a processor needs a hundred times as long to go.
    fn hurry(&self) {
        for group in self.directories.iter().flat_map(|directory| below(directory)).flatten() {
            for (file, none) in [("cpu.max", "max"), ("cpu.cfs_quota_us", "-1")] {
                // One that is not there limits nothing, and with one that cannot be lifted it takes longer.
                let _ = existing(&group, file).and_then(|file| std::fs::write(file, none));
            }
        }
    }

    /// How many of its processes the kernel has killed because there was no more memory to be had.
    pub(crate) fn out_of_memory(&self) -> u64 {
        let Some(directory) = &self.memory else { return 0 };
        let read = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        // The kernel also counts whom it killed for want of the whole machine's memory, which is not the work's failure:
        // so the limit must have been met, as far as it says that. (Version 1 does in one of several files.)
        let (text, was_met) = match self.version {
            Version::One => (read("memory.oom_control"), true),
            Version::Two => {
                let text = read("memory.events");
                let was_met = counted(&text, "oom ") > 0;
                (text, was_met)
            }
        };
        if was_met { counted(&text, "oom_kill ") } else { 0 }
    }

    /// Removes it, and answers whether it is gone. What still has a process cannot be removed.
    pub(crate) fn remove(&self) -> bool {
        let gone = |directory: &PathBuf| match std::fs::remove_dir(directory) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let all = || {
            let groups = self.directories.iter().flat_map(|directory| below(directory));
            // What is in one that cannot be looked into keeps that one from being removed.
            groups.flatten().all(|group| gone(&group))
        };
        // Of what was killed just now, the last may still be on its way out. Seldom more than a look.
        until(EMPTY, all)
    }
}

fn make(part: &Part<'_>, directory: &Path) -> Result<(), String> {
    let what = |limit: Option<&&Limit>| limit.map_or_else(String::new, |limit| format!("{limit}: "));
    let first = part.settings.first().map(|(limit, _)| limit);
    let made = match std::fs::create_dir(directory) {
        // Of a life of this run that the store has forgotten, and empty.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_dir(directory).and_then(|()| std::fs::create_dir(directory))
        }
        made => made,
    };
    made.map_err(|error| format!("{}{} cannot be made: {error}", what(first), directory.display()))?;
    for (limit, setting) in &part.settings {
        let file = directory.join(setting.file);
        if setting.may_lack && !file.exists() {
            continue;
        }
        std::fs::write(&file, &setting.value).map_err(|error| {
            let (file, limit) = (file.display(), what(Some(limit)));
            format!("{limit}{:?} cannot be written to {file}: {error}", setting.value)
        })?;
    }
    Ok(())
}

/// A group and all that the work has made in it, the innermost first; in the place of what is in one that cannot be
/// looked into stands why not.
pub(super) fn below(directory: &Path) -> Vec<io::Result<PathBuf>> {
    let mut all = Vec::new();
    let mut next = vec![directory.to_owned()];
    while let Some(directory) = next.pop() {
        let inner = std::fs::read_dir(&directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let is_group = |it: &std::fs::DirEntry| it.file_type().is_ok_and(|kind| kind.is_dir());
        match inner {
            Ok(inner) => next.extend(inner.iter().filter(|it| is_group(it)).map(std::fs::DirEntry::path)),
            Err(error) if is_gone(&error) => {}
            Err(error) => all.push(Err(error)),
        }
        all.push(Ok(directory));
    }
    all.reverse();
    all
}

/// Whether this is what is answered about a group that is not there, or has gone while it was read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

fn existing(directory: &Path, file: &str) -> io::Result<PathBuf> {
    let file = directory.join(file);
    if file.exists() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// The number in the line that begins so, which both versions have among others.
fn counted(text: &str, beginning: &str) -> u64 {
    let mut numbers = text.lines().filter_map(|line| line.strip_prefix(beginning)?.trim().parse().ok());
    numbers.next().unwrap_or_default()
}

/// Looks a few times, and answers whether it came to be. For the kernel's own doing, which takes no longer: neither the
/// shim nor a thread that may wait has a clock to be moved.
pub(super) fn until(looks: u32, is_so: impl Fn() -> bool) -> bool {
    for _ in 0..looks {
        if is_so() {
            return true;
        }
        // A signal that cuts it short makes it a look more.
        let _ = poll(&mut [], Some(&PAUSE));
    }
    is_so()
}

#[cfg(test)]
mod tests {
    use super::super::limits;
    use super::*;
    use punctual_model::process::Resources;

    fn resources() -> Resources {
        Resources { memory: Some(64 << 20), cpu: None, pids: Some(20) }
    }

    fn settings(all: &[Limit]) -> Vec<(&Limit, &Setting)> {
        all.iter().flat_map(|limit| limit.unified.iter().map(move |setting| (limit, setting))).collect()
    }

    #[test]
    fn counts_of_killed_processes_are_read_in_both_versions() {
        for (text, count) in [
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3),
            ("low 0\nhigh 0\nmax 41\noom 2\noom_kill 1\noom_group_kill 0\n", 1),
            ("oom_kill_disable 0\nunder_oom 0\n", 0),
            ("", 0),
            ("oom_kill x\n", 0),
        ] {
            assert_eq!(counted(text, "oom_kill "), count, "{text}");
        }
    }

    #[test]
    fn what_is_made_is_written_and_what_may_lack_is_left_out() {
        let tree = tempfile::tempdir().unwrap();
        let all = limits::of(&resources());
        let parts = [Part { base: tree.path().to_owned(), settings: settings(&all), may_lack: false }];
        let name = name(7, "00000000000000ff.2");
        let mut group = Group::planned(Version::Two, &parts, &all, &name);
        assert!(!tree.path().join(&name).exists());
        group.make(&parts).unwrap();
        let text = |file: &str| std::fs::read_to_string(tree.path().join(&name).join(file)).unwrap();
        assert_eq!((text("memory.max"), text("pids.max")), ("67108864".to_owned(), "20".to_owned()));
        assert!(!tree.path().join(&name).join("memory.swap.max").exists());
        assert_eq!(group.about(), "cgroup v2: memory 64 MiB, pids 20");
        assert!(group.is_of("00000000000000ff.2"));
        assert!(!group.is_of("00000000000000ff.1") && !group.is_of("f.2"));
        std::fs::write(tree.path().join(&name).join("memory.events"), "oom 1\noom_kill 4\n").unwrap();
        assert_eq!(group.out_of_memory(), 4);
        std::fs::write(tree.path().join(&name).join("memory.events"), "oom 0\noom_kill 4\n").unwrap();
        assert_eq!(group.out_of_memory(), 0, "the whole machine was short of it");
        assert!(group.is_marked(7) && !group.is_marked(8));
        let text = serde_json::to_string(&group).unwrap();
        assert_eq!(serde_json::from_str::<Group>(&text).unwrap(), group);
    }

    /// A group in directories that are none, with nothing in them.
    fn plain(tree: &Path, version: Version) -> (Group, PathBuf) {
        let parts = [Part { base: tree.to_owned(), settings: Vec::new(), may_lack: false }];
        let mut group = Group::planned(version, &parts, &[], &name(1, "a.1"));
        group.make(&parts).unwrap();
        (group, tree.join(name(1, "a.1")))
    }

    #[test]
    fn of_a_group_that_cannot_be_read_it_is_not_known_that_it_is_empty() {
        let tree = tempfile::tempdir().unwrap();
        let (group, directory) = plain(tree.path(), Version::One);
        let list = directory.join("cgroup.procs");
        let us = std::process::id();
        // The first process of all lives, and nobody has the largest number.
        for (text, empty) in [("", true), ("1\n", false), (&*format!("0\n{us}\n2147483647\n"), true)] {
            std::fs::write(&list, text).unwrap();
            assert_eq!(group.is_empty(), empty, "{text:?}");
        }
        let inner = directory.join("inner");
        std::fs::create_dir_all(inner.join("cgroup.procs")).unwrap();
        assert!(group.members().is_empty() && !group.is_empty(), "one that the work has made in it");
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(group.is_empty(), "what is gone");
        let (group, directory) = plain(tree.path(), Version::Two);
        let events = directory.join("cgroup.events");
        for (text, empty) in [("populated 1\nfrozen 0\n", false), ("populated 0\nfrozen 0\n", true)] {
            std::fs::write(&events, text).unwrap();
            assert_eq!(group.is_empty(), empty, "{text:?}");
        }
        std::fs::remove_file(&events).unwrap();
        std::fs::create_dir(&events).unwrap();
        assert!(!group.is_empty());
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(group.is_empty());
    }

    #[test]
    fn who_is_killed_gets_all_the_processor_time_that_it_takes() {
        let tree = tempfile::tempdir().unwrap();
        for (version, file, none) in
            [(Version::One, "cpu.cfs_quota_us", "-1"), (Version::Two, "cpu.max", "max")]
        {
            let (group, directory) = plain(tree.path(), version);
            let inner = directory.join("inner");
            std::fs::create_dir(&inner).unwrap();
            std::fs::write(directory.join(file), "1000").unwrap();
            std::fs::write(inner.join(file), "1000").unwrap();
            group.kill();
            for group in [&directory, &inner] {
                assert_eq!(std::fs::read_to_string(group.join(file)).unwrap(), none);
            }
            std::fs::remove_dir_all(&directory).unwrap();
        }
    }

    #[test]
    fn of_what_cannot_be_made_whole_nothing_is_left() {
        let tree = tempfile::tempdir().unwrap();
        let (memory, pids) = (tree.path().join("memory"), tree.path().join("pids"));
        std::fs::create_dir(&memory).unwrap();
        let all = limits::of(&resources());
        let part = |base: &Path, may_lack| Part { base: base.to_owned(), settings: Vec::new(), may_lack };
        let parts = [part(&memory, false), part(&pids, false)];
        let mut group = Group::planned(Version::One, &parts, &all, &name(1, "a.1"));
        let error = group.make(&parts).unwrap_err();
        assert!(error.contains("cannot be made: No such file"), "{error}");
        assert_eq!(std::fs::read_dir(&memory).unwrap().count(), 0);
        // What the work can do without is no reason not to start it.
        let parts = [part(&memory, false), part(&pids, true)];
        let mut group = Group::planned(Version::One, &parts, &all, &name(1, "a.1"));
        group.make(&parts).unwrap();
        assert_eq!(group.entries().collect::<Vec<_>>(), [memory.join(name(1, "a.1")).join("cgroup.procs")]);
        assert!(group.remove() && group.remove());
        assert_eq!(std::fs::read_dir(&memory).unwrap().count(), 0);
    }
}
