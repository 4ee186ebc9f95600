//! What `/proc` says about processes. On systems without it every answer is "not known".

use super::home::Identity;
use std::path::Path;

/// What is read of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) identity: Identity,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// Neither a zombie nor dead.
    pub(crate) alive: bool,
}

/// What `/proc/PID/stat` says that a process has taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg(target_os = "linux")]
pub(super) struct Spent {
    /// Ticks of processor time, in its own code and of the system.
    pub(super) own: [u64; 2],
    /// The same of the children that it has waited for.
    pub(super) waited: [u64; 2],
    /// Resident pages.
    pub(super) pages: u64,
}

#[cfg(target_os = "linux")]
pub(super) fn spent(pid: i32) -> Option<Spent> {
    parse_spent(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

#[cfg(target_os = "linux")]
fn parse_spent(text: &str) -> Option<Spent> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // A child's may be negative while it is counted up; that is nothing yet.
    let number = |place: usize| Some(fields.get(place)?.parse::<i64>().ok()?.max(0).unsigned_abs());
    Some(Spent { own: [number(11)?, number(12)?], waited: [number(13)?, number(14)?], pages: number(21)? })
}

/// The identity of this boot; empty where it is not known.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// All processes that can be seen.
pub(super) fn pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether there is anything to be seen.
pub(super) fn is_readable() -> bool {
    Path::new("/proc/self/stat").exists()
}

pub(super) fn stat(pid: i32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name in brackets may hold anything, also brackets and spaces.
    let pid = text.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let identity = Identity { pid, start_time: fields.get(19)?.parse().ok()? };
    Some(Stat {
        identity,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        alive: !matches!(*fields.first()?, "Z" | "X" | "x"),
    })
}

/// With what a process was started, if we may see that.
pub(super) fn environment(pid: i32) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/environ")).ok()
}

/// Whether a variable with its value is in an environment.
pub(super) fn holds(environment: &[u8], variable: &str) -> bool {
    environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
}

/// With what a process was started under this name.
#[cfg(target_os = "linux")]
pub(super) fn variable(pid: i32, name: &str) -> Option<String> {
    let environment = environment(pid)?;
    let mut texts = environment.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
    texts.find_map(|text| text.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

/// Living members of a process group.
pub(super) fn members(group: i32) -> Vec<i32> {
    pids()
        .into_iter()
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.group == group && stat.alive))
        .collect()
}

/// This process and those it descends from.
pub(super) fn ancestors() -> Vec<i32> {
    let mut line = Vec::new();
    let mut next = i32::try_from(std::process::id()).ok();
    while let Some(pid) = next.filter(|pid| *pid > 0 && !line.contains(pid)) {
        line.push(pid);
        next = stat(pid).map(|stat| stat.parent);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text = "4711 (a) b (c) S 1 4700 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        let stat = parse(text).unwrap();
        assert_eq!(stat.identity, Identity { pid: 4711, start_time: 987_654 });
        assert_eq!((stat.parent, stat.group, stat.session, stat.alive), (1, 4700, 4711, true));
        assert!(!parse(&text.replace(" S ", " Z ")).unwrap().alive);
        let spent = parse_spent(text).unwrap();
        assert_eq!((spent.own, spent.waited, spent.pages), ([5, 6], [7, 8], 2));
        assert_eq!(parse(""), None);
        assert_eq!(parse("1 (x) S"), None);
    }
}
