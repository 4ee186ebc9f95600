//! The processes below a shim. It is their subreaper, so whatever they do about sessions, groups and parents, all
//! that lives of the run descends from it, and when it has no child left nothing of the run lives.

use super::super::home::Identity;
use super::super::proc_table::{self, Stat};

/// All living descendants of a process.
pub(crate) fn below(root: i32) -> Vec<Stat> {
    let mut others: Vec<Stat> = proc_table::pids().into_iter().filter_map(proc_table::stat).collect();
    let mut found: Vec<Stat> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children: Vec<Stat> = others.extract_if(.., |stat| stat.parent == parent).collect();
        parents.extend(children.iter().map(|stat| stat.identity.pid));
        found.extend(children);
    }
    found.retain(|stat| stat.alive);
    found
}

/// Their numbers.
pub(crate) fn pids(all: &[Stat]) -> Vec<i32> {
    all.iter().map(|stat| stat.identity.pid).collect()
}

/// Who they are.
pub(crate) fn identities(all: &[Stat]) -> Vec<Identity> {
    all.iter().map(|stat| stat.identity).collect()
}
