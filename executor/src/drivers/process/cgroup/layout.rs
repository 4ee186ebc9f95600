//! Where this process is among the control groups of the machine: `/proc/self/cgroup` says in which group of each
//! hierarchy, `/proc/self/mountinfo` where that is in the file system. Reads texts; makes and decides nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What the machine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Our own group of version 2, if that is mounted.
    pub(super) unified: Option<Place>,
    /// Our own group of version 1 by controller.
    pub(super) single: BTreeMap<String, PathBuf>,
}

/// A group in a mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The uppermost directory that can be seen.
    pub(super) mount: PathBuf,
    /// Our own, in it.
    pub(super) own: PathBuf,
}

impl Layout {
    /// Reads both files below this directory, which is `/proc`.
    pub(super) fn read(proc: &Path) -> io::Result<Self> {
        let text = |name: &str| std::fs::read_to_string(proc.join("self").join(name));
        Ok(Self::parse(&text("cgroup")?, &text("mountinfo")?))
    }

    fn parse(groups: &str, mounts: &str) -> Self {
        let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
        let mut layout = Self::default();
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if controllers.is_empty() {
                layout.unified = mounts.iter().filter(|mount| mount.is_unified).find_map(|it| it.place(path));
                continue;
            }
            for controller in controllers.split(',') {
                let has_it = |mount: &&Mount| {
                    !mount.is_unified && mount.options.split(',').any(|option| option == controller)
                };
                if let Some(place) = mounts.iter().filter(has_it).find_map(|it| it.place(path)) {
                    layout.single.insert(controller.to_owned(), place.own);
                }
            }
        }
        layout
    }
}

/// A line of `mountinfo`, if it is of a hierarchy.
struct Mount {
    is_unified: bool,
    /// Which group of the hierarchy is to be seen at its point.
    root: PathBuf,
    point: PathBuf,
    options: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        // Any number of optional fields stand before the dash.
        let (about, kind) = line.split_once(" - ")?;
        let (mut about, mut kind) = (about.split(' ').skip(3), kind.split(' '));
        let is_unified = match kind.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let (root, point) = (unescaped(about.next()?), unescaped(about.next()?));
        let options = kind.nth(1).unwrap_or_default().to_owned();
        Some(Self { is_unified, root: root.into(), point: point.into(), options })
    }

    /// Where a group is to be seen; none if it is outside of what is mounted here, as from within a container.
    fn place(&self, path: &str) -> Option<Place> {
        let inside = Path::new(path).strip_prefix(&self.root).ok()?;
        let is_outside = inside.components().any(|part| part == std::path::Component::ParentDir);
        // An empty path would put a slash behind it.
        let own = if inside.as_os_str().is_empty() { self.point.clone() } else { self.point.join(inside) };
        (!is_outside).then(|| Place { mount: self.point.clone(), own })
    }
}

/// Spaces and the like stand there as `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'\\'
            && let [a, b, c, after @ ..] = after
            && let Ok(number) = u8::from_str_radix(&String::from_utf8_lossy(&[*a, *b, *c]), 8)
        {
            bytes.push(number);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(unified: Option<(&str, &str)>, single: &[(&str, &str)]) -> Layout {
        let place = |(mount, own): (&str, &str)| Place { mount: mount.into(), own: own.into() };
        let single = single.iter().map(|(name, own)| ((*name).to_owned(), PathBuf::from(own)));
        Layout { unified: unified.map(place), single: single.collect() }
    }

    #[test]
    fn machines_of_all_kinds_are_read_as_they_are() {
        let systemd_v2 = "28 25 0:24 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let hybrid = "\
31 24 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 24 0:28 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
37 24 0:33 / /sys/fs/cgroup/cpu,cpuacct rw shared:17 master:3 - cgroup cgroup rw,cpu,cpuacct
38 24 0:34 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
25 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw";
        let docker = "\
50 40 0:33 /docker/f00 /sys/fs/cgroup/memory ro,nosuid master:16 - cgroup cgroup rw,memory
51 40 0:34 /docker/f00 /sys/fs/cgroup/pids ro,nosuid master:17 - cgroup cgroup rw,pids";
        for (what, groups, mounts, expect) in [
            (
                "version 2 alone",
                "0::/system.slice/punctual.service\n",
                systemd_v2,
                layout(Some(("/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/punctual.service")), &[]),
            ),
            ("its root", "0::/\n", systemd_v2, layout(Some(("/sys/fs/cgroup", "/sys/fs/cgroup")), &[])),
            (
                "both, and two controllers in one hierarchy",
                "7:cpu,cpuacct:/a\n5:memory:/a/b\n1:name=systemd:/a\n0::/a\n",
                hybrid,
                layout(
                    Some(("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/a")),
                    &[
                        ("cpu", "/sys/fs/cgroup/cpu,cpuacct/a"),
                        ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct/a"),
                        ("memory", "/sys/fs/cgroup/memory/a/b"),
                        ("name=systemd", "/sys/fs/cgroup/systemd/a"),
                    ],
                ),
            ),
            (
                "a container that sees its own group only",
                "4:memory:/docker/f00\n3:pids:/docker/f00/sub\n",
                docker,
                layout(None, &[("memory", "/sys/fs/cgroup/memory"), ("pids", "/sys/fs/cgroup/pids/sub")]),
            ),
            (
                "a group outside of what is to be seen",
                "4:memory:/other\n0::/../../x\n",
                &format!("{docker}\n{systemd_v2}"),
                layout(None, &[]),
            ),
            (
                "a name with a colon, a point with a space",
                "4:memory:/a:b\n",
                "1 2 0:3 / /mnt/c\\040g rw - cgroup none rw,memory",
                layout(None, &[("memory", "/mnt/c g/a:b")]),
            ),
            (
                "nothing mounted",
                "4:memory:/\n0::/\n",
                "25 1 8:1 / / rw - ext4 /dev/sda1 rw",
                layout(None, &[]),
            ),
            ("nonsense", "x\n\n4:memory\n", "a - b\n - \n", layout(None, &[])),
        ] {
            assert_eq!(Layout::parse(groups, mounts), expect, "{what}");
        }
    }
}
