//! Version 2 as the kernel has it, on a machine where it may have no controller at all: groups are made, entered, killed
//! and removed without one too.

use super::base;
use super::group::{Group, Part, Version, name};
use super::layout::{Layout, Place};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A group for one test below our own, removed with all that is in it.
struct Own(PathBuf);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
        for _ in 0..1000 {
            let mut groups = super::group::below(&self.0).into_iter().flatten();
            let gone = groups.all(|group| std::fs::remove_dir(group).is_ok());
            if gone || !self.0.exists() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// Past the harness, which would keep it to itself.
fn skipped(what: &str, why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {why}");
}

/// None, with the reason said, where it cannot be had.
fn own(what: &str) -> Option<(Place, Own)> {
    let unified = Layout::read(Path::new("/proc")).unwrap().unified;
    let Some(place) = unified else {
        skipped(what, "cgroup v2 is not mounted here");
        return None;
    };
    let own = place.own.join(format!("test-{}-{what}", std::process::id()).replace(' ', "-"));
    match std::fs::create_dir(&own) {
        Ok(()) => Some((Place { mount: place.mount, own: own.clone() }, Own(own))),
        Err(error) => {
            skipped(what, &format!("no group can be made in {}: {error}", place.own.display()));
            None
        }
    }
}

/// A shell that enters a group and becomes this.
fn within(entry: &Path, script: &str) -> Child {
    let script = format!("echo 0 >{} && exec /bin/sh -c '{script}'", entry.display());
    Command::new("/bin/sh").args(["-c", &script]).stdout(Stdio::piped()).process_group(0).spawn().unwrap()
}

fn told(child: &mut Child) {
    use std::io::Read as _;
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
}

#[test]
fn version_two_kills_all_that_is_in_a_group_at_once() {
    let Some((place, _own)) = own("killing a group") else { return };
    let parts = [Part { base: place.own.clone(), settings: Vec::new(), may_lack: false }];
    let mut group = Group::planned(Version::Two, &parts, &[], &name(1, "f.1"));
    group.make(&parts).unwrap();
    let entry = group.entries().next().unwrap();
    let mut child =
        within(&entry, "setsid sleep 1000 >/dev/null & setsid sleep 1000 >/dev/null & echo ready; wait");
    told(&mut child);
    // One that the work has moved to a group of its own is in the group all the same.
    let inner = entry.parent().unwrap().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let mut other = within(&inner.join("cgroup.procs"), "echo ready; exec sleep 1000");
    told(&mut other);
    assert_eq!((group.members().len(), group.is_empty()), (4, false));
    assert!(!group.remove(), "it is not empty");
    group.signal(rustix::process::Signal::CONT, |_| false);
    group.kill();
    for child in [&mut child, &mut other] {
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
    // Those that are nobody's children here take their own time.
    assert!(super::group::until(60_000, || group.is_empty()) && group.members().is_empty());
    assert!(group.remove() && !inner.exists() && group.is_empty());
    assert_eq!(group.out_of_memory(), 0);
}

#[test]
fn version_two_hands_down_once_its_own_processes_are_in_a_leaf() {
    let Some((place, _own)) = own("handing down") else { return };
    let controllers = std::fs::read_to_string(place.own.join("cgroup.controllers")).unwrap();
    let Some(controller) = controllers.split_whitespace().next() else {
        skipped("handing down", "cgroup v2 has no controller here");
        return;
    };
    let mut child = within(&place.own.join("cgroup.procs"), "echo ready; exec sleep 1000");
    told(&mut child);
    assert_eq!(base::base(&place, &[controller]).unwrap(), place.own);
    let text = |file: &str| std::fs::read_to_string(place.own.join(file)).unwrap();
    assert_eq!((text("cgroup.procs").as_str(), text("cgroup.subtree_control").trim()), ("", controller));
    assert_eq!(text("punctual-daemon/cgroup.procs").trim(), child.id().to_string());
    // From the leaf it is found again.
    let leaf = Place { mount: place.mount.clone(), own: place.own.join("punctual-daemon") };
    assert_eq!(base::base(&leaf, &[controller]).unwrap(), place.own);
    child.kill().unwrap();
    child.wait().unwrap();
}
