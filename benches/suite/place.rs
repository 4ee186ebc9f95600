//! Where the data of a benchmark are, and on what.

use crate::Outcome;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// File systems that forget everything with the power.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

/// A directory for benchmarks on a disk.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    root: PathBuf,
    pub(crate) file_system: String,
}

impl Place {
    /// `BENCH_DIR`, else `target/bench`.
    pub(crate) fn new() -> Outcome<Self> {
        let root = std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
        std::fs::create_dir_all(&root)?;
        let root = root.canonicalize()?;
        let file_system = file_system(&root);
        if IN_MEMORY.contains(&file_system.as_str()) {
            let text = "is in memory: nothing on it is durable, so nothing on it is worth measuring";
            return Err(format!("{} ({file_system}) {text}; set BENCH_DIR", root.display()).into());
        }
        Ok(Self { root, file_system })
    }

    /// A fresh directory, gone when it is dropped.
    pub(crate) fn fresh(&self) -> Outcome<TempDir> {
        Ok(tempfile::Builder::new().prefix("b").tempdir_in(&self.root)?)
    }
}

/// The type of the file system that holds a path, by the longest mount point above it.
fn file_system(path: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        Some((mount.split(' ').nth(4)?, kind.split(' ').next()?))
    });
    let above = mounts.filter(|(mount, _)| path.starts_with(mount));
    // Of two mounts at one point the later one is seen.
    above.max_by_key(|(mount, _)| mount.len()).map_or("unknown", |(_, kind)| kind).to_owned()
}

/// Bytes of all files below a directory.
pub(crate) fn bytes_below(path: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        sum +=
            if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
