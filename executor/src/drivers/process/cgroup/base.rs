//! Below which group of version 2 others with controllers may be made. There a group either has processes or hands
//! controllers down, never both, but for the root; so where the daemon sits in the one group that is its own, it moves
//! to a leaf of that. Nobody else is ever moved, and no group is used that was not given to the daemon.

use super::super::proc_table;
use super::layout::Place;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The leaf that the daemon makes for itself.
const LEAF: &str = "punctual-daemon";

/// What systemd puts on a group that it has handed over (`Delegate=`), for one's own user and for root.
const HANDED_OVER: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// Finds it and has it hand these controllers down; says why there is none.
pub(super) fn base(place: &Place, wanted: &[&str]) -> Result<PathBuf, String> {
    let own = &place.own;
    // The root alone has no type.
    let is_inner = own.join("cgroup.type").exists();
    if is_inner && let Some(parent) = own.parent().filter(|parent| parent.starts_with(&place.mount)) {
        let is_our_leaf = own.file_name().is_some_and(|name| name == LEAF);
        if (is_our_leaf || is_handed_over(parent)) && has(parent, wanted).is_ok() {
            hand_down(parent, wanted)?;
            return Ok(parent.to_owned());
        }
    }
    has(own, wanted)?;
    let members = members(own)?;
    if is_inner && !members.is_empty() && !hands_down(own, wanted) {
        let others: Vec<i32> = members.iter().copied().filter(|pid| !is_ours(*pid)).collect();
        if !others.is_empty() {
            return Err(format!(
                "{} has processes that are none of the daemon's ({others:?}), so it cannot have groups with limits",
                own.display()
            ));
        }
        move_to_leaf(own)?;
    }
    hand_down(own, wanted)?;
    Ok(own.clone())
}

/// Whether it has these controllers to hand down.
fn has(group: &Path, wanted: &[&str]) -> Result<(), String> {
    let there = words(group, "cgroup.controllers")?;
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !there.contains(*name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let there: Vec<String> = there.into_iter().collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Err(format!("{} has no controller for {} (it has: {there})", group.display(), missing.join(", ")))
}

fn hands_down(group: &Path, wanted: &[&str]) -> bool {
    let down = words(group, "cgroup.subtree_control").unwrap_or_default();
    wanted.iter().all(|name| down.contains(*name))
}

fn hand_down(group: &Path, wanted: &[&str]) -> Result<(), String> {
    if hands_down(group, wanted) {
        return Ok(());
    }
    let text: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
    write(group, "cgroup.subtree_control", &text.join(" "))
}

/// Everything in the group is of the daemon, which goes one down with all of it.
fn move_to_leaf(own: &Path) -> Result<(), String> {
    let leaf = own.join(LEAF);
    match std::fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&leaf, "", &error)),
        Ok(()) | Err(_) => {}
    }
    tracing::info!(group = %leaf.display(), "moves there, to make room for groups of runs beside it");
    // A second round for what was forked in the first.
    for _ in 0..2 {
        for pid in members(own)? {
            match std::fs::write(leaf.join("cgroup.procs"), pid.to_string()) {
                // It has gone meanwhile.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                Err(error) => return Err(failed(&leaf, "cgroup.procs", &error)),
                Ok(()) => {}
            }
        }
    }
    Ok(())
}

fn members(group: &Path) -> Result<Vec<i32>, String> {
    let pids = words(group, "cgroup.procs")?;
    Ok(pids.iter().filter_map(|pid| pid.parse().ok()).collect())
}

/// Whether it is this process or descends from it.
fn is_ours(pid: i32) -> bool {
    let us = i32::try_from(std::process::id()).ok();
    let mut next = Some(pid);
    let mut seen = BTreeSet::new();
    while let Some(pid) = next.filter(|pid| *pid > 0 && seen.insert(*pid)) {
        if Some(pid) == us {
            return true;
        }
        next = proc_table::stat(pid).map(|stat| stat.parent);
    }
    // Who has gone is nobody else's either.
    proc_table::stat(pid).is_none()
}

fn is_handed_over(group: &Path) -> bool {
    let mut value = [0; 8];
    HANDED_OVER
        .iter()
        .any(|name| rustix::fs::getxattr(group, *name, &mut value).is_ok_and(|_| value[0] == b'1'))
}

fn words(group: &Path, file: &str) -> Result<BTreeSet<String>, String> {
    let text = std::fs::read_to_string(group.join(file)).map_err(|error| failed(group, file, &error))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn write(group: &Path, file: &str, text: &str) -> Result<(), String> {
    std::fs::write(group.join(file), text).map_err(|error| failed(group, file, &error))
}

fn failed(group: &Path, file: &str, error: &io::Error) -> String {
    format!("{}: {error}", group.join(file).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of plain files that looks like a hierarchy.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn group(&self, path: &str, controllers: &str, down: &str, processes: &str) -> PathBuf {
            let group = self.0.path().join(path);
            std::fs::create_dir_all(&group).unwrap();
            if !path.is_empty() {
                std::fs::write(group.join("cgroup.type"), "domain\n").unwrap();
            }
            std::fs::write(group.join("cgroup.controllers"), controllers).unwrap();
            std::fs::write(group.join("cgroup.subtree_control"), down).unwrap();
            std::fs::write(group.join("cgroup.procs"), processes).unwrap();
            group
        }

        fn base(&self, own: &Path, wanted: &[&str]) -> Result<PathBuf, String> {
            base(&Place { mount: self.0.path().to_owned(), own: own.to_owned() }, wanted)
        }
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    fn us() -> String {
        format!("{}\n", std::process::id())
    }

    #[test]
    fn the_root_hands_down_beside_its_processes() {
        let tree = Tree::new();
        let root = tree.group("", "cpu memory pids", "", "1\n2\n");
        assert_eq!(tree.base(&root, &["memory", "pids"]).unwrap(), root);
        assert_eq!(text(&root.join("cgroup.subtree_control")), "+memory +pids");
        assert!(!root.join(LEAF).exists());
    }

    #[test]
    fn what_is_handed_down_already_is_left_as_it_is() {
        let tree = Tree::new();
        let root = tree.group("", "cpu memory", "cpu memory\n", "1\n");
        assert_eq!(tree.base(&root, &["memory"]).unwrap(), root);
        assert_eq!(text(&root.join("cgroup.subtree_control")), "cpu memory\n");
    }

    #[test]
    fn a_group_of_its_own_is_left_for_a_leaf_of_it() {
        let tree = Tree::new();
        tree.group("", "memory pids", "memory pids", "");
        let own = tree.group("unit", "memory pids", "", &us());
        assert_eq!(tree.base(&own, &["pids"]).unwrap(), own);
        assert_eq!(text(&own.join(LEAF).join("cgroup.procs")), us().trim());
        assert_eq!(text(&own.join("cgroup.subtree_control")), "+pids");
        // From the leaf, the group above it is the one.
        let leaf = tree.group("unit/punctual-daemon", "pids", "", &us());
        std::fs::write(own.join("cgroup.subtree_control"), "pids").unwrap();
        assert_eq!(tree.base(&leaf, &["pids"]).unwrap(), own);
        assert_eq!(tree.base(&leaf, &["memory", "pids"]).unwrap(), own);
        assert_eq!(text(&own.join("cgroup.subtree_control")), "+memory +pids");
    }

    #[test]
    fn nobody_else_is_moved() {
        let tree = Tree::new();
        tree.group("", "memory", "memory", "");
        let own = tree.group("session", "memory", "", &format!("{}1\n", us()));
        let error = tree.base(&own, &["memory"]).unwrap_err();
        assert!(error.contains("none of the daemon's ([1])"), "{error}");
        assert!(!own.join(LEAF).exists());
        assert_eq!(text(&own.join("cgroup.subtree_control")), "");
    }

    #[test]
    fn a_controller_that_is_not_there_is_named() {
        let tree = Tree::new();
        let root = tree.group("", "hugetlb", "", "1\n");
        let error = tree.base(&root, &["memory", "pids"]).unwrap_err();
        assert!(error.contains("no controller for memory, pids (it has: hugetlb)"), "{error}");
        let bare = tree.group("bare", "", "", "");
        assert!(tree.base(&bare, &["cpu"]).unwrap_err().contains("(it has: none)"));
        let nothing = tree.0.path().join("nothing");
        assert!(tree.base(&nothing, &["cpu"]).unwrap_err().contains("No such file"));
    }
}
