//! Measures the embedded store beside the disk it is on.
//!
//! ```text
//! cargo run --release -p punctual-store --example measure -- DIR [sync commits runs drain open bytes memory …]
//! ```
//!
//! DIR is made and left behind for a look. Every figure of one call comes from the same process and disk;
//! compare ratios, since shared disks differ from minute to minute.

#[path = "../tests/node/mod.rs"]
mod node;

use node::{Node, Outcome, options, resident};
use punctual_clock::{Clock, SystemClock};
use punctual_store::HistoryStore;
use punctual_store::RunStore;
use punctual_store::fjall::FjallStore;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    let root = PathBuf::from(args.next().ok_or("give a directory")?);
    let mut wanted: Vec<_> = args.collect();
    if wanted.is_empty() {
        wanted = ["sync", "commits", "runs", "drain", "open", "bytes"].map(str::to_owned).into();
    }
    std::fs::create_dir_all(&root)?;
    let clock = SystemClock::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for name in wanted {
        let path = root.join(&name);
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        match name.as_str() {
            "sync" => bare_sync(&root.join("sync"), &clock)?,
            "commits" => runtime.block_on(commits(&path, &clock))?,
            "runs" => runtime.block_on(runs(&path, &clock))?,
            "drain" => runtime.block_on(drain(&path, &clock))?,
            "open" => runtime.block_on(open(&path, &clock))?,
            "bytes" => runtime.block_on(bytes(&path, &clock))?,
            other => return Err(format!("what is {other}?").into()),
        }
    }
    Ok(())
}

/// The disk without us: append 200 bytes, sync, again.
fn bare_sync(path: &Path, clock: &SystemClock) -> Outcome {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    for group in [1, 100, 512] {
        let record = vec![7u8; 200 * group];
        let from = clock.monotonic();
        let mut syncs = 0;
        while clock.monotonic() - from < Duration::from_secs(2) {
            file.write_all(&record)?;
            file.sync_data()?;
            syncs += 1;
        }
        rate(&format!("bare fdatasync, {group} x 200 bytes each"), syncs * group, clock.monotonic() - from);
    }
    Ok(())
}

async fn commits(path: &Path, clock: &SystemClock) -> Outcome {
    let node = Node::open(path, clock).await?;
    for callers in [1usize, 64, 1_000] {
        let before = node.store.stats();
        let from = clock.monotonic();
        let until = from + Duration::from_secs(4);
        let mut tasks = Vec::new();
        for _ in 0..callers {
            let node = node.clone();
            tasks.push(tokio::spawn(async move {
                let mut waits = Vec::new();
                while node.clock.monotonic() < until {
                    let begin = node.clock.monotonic();
                    let runs = node.accept(1, 1).await?;
                    let middle = node.clock.monotonic();
                    node.end(&runs).await?;
                    waits.extend([middle - begin, node.clock.monotonic() - middle]);
                }
                Outcome::Ok(waits)
            }));
        }
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await??);
        }
        let taken = clock.monotonic() - from;
        waits.sort_unstable();
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
        rate(&format!("{callers} callers: enqueue, end"), waits.len(), taken);
        let after = node.store.stats();
        let (requests, commits) = (after.requests - before.requests, after.commits - before.commits);
        println!(
            "    p50 {:?}, p99 {:?}; {:.0} requests a commit, {:.0} commits/s",
            at(50),
            at(99),
            requests as f64 / commits as f64,
            commits as f64 / taken.as_secs_f64()
        );
    }
    Ok(())
}

async fn runs(path: &Path, clock: &SystemClock) -> Outcome {
    for (group, callers) in [(1usize, 256usize), (10, 64), (100, 8), (250, 4)] {
        let node = Node::open(&path.join(group.to_string()), clock).await?;
        let from = clock.monotonic();
        let until = from + Duration::from_secs(4);
        let mut tasks = Vec::new();
        for _ in 0..callers {
            let node = node.clone();
            tasks.push(tokio::spawn(async move {
                let mut count = 0;
                while node.clock.monotonic() < until {
                    let runs = node.accept(group, group).await?;
                    count += runs.len();
                    node.end(&runs).await?;
                }
                Outcome::Ok(count)
            }));
        }
        let mut count = 0;
        for task in tasks {
            count += task.await??;
        }
        rate(
            &format!("whole runs, {callers} callers with groups of {group}"),
            count,
            clock.monotonic() - from,
        );
    }
    Ok(())
}

async fn drain(path: &Path, clock: &SystemClock) -> Outcome {
    const RUNS: usize = 200_000;
    let node = Node::open(path, clock).await?;
    let from = clock.monotonic();
    for _ in 0..RUNS / 500 {
        node.accept(500, 0).await?;
    }
    rate("bulk accept, groups of 500", RUNS, clock.monotonic() - from);
    let from = clock.monotonic();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let node = node.clone();
        tasks.push(tokio::spawn(async move {
            let mut count = 0;
            loop {
                let claims = node.store.claim(&node.session, 250).await?.claims;
                if claims.is_empty() {
                    return Outcome::Ok(count);
                }
                count += claims.len();
                let runs = claims.into_iter().map(|claim| claim.run).collect::<Vec<_>>();
                let runs = node.begin(&runs).await?;
                node.end(&runs).await?;
            }
        }));
    }
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    rate("drain: claim, begin, end; four at 250 each", count, clock.monotonic() - from);
    Ok(())
}

async fn open(path: &Path, clock: &SystemClock) -> Outcome {
    const RUNS: usize = 1_000_000;
    let data = path.join("data");
    let node = Node::open(&data, clock).await?;
    let begin = resident();
    println!("resident before the first run: {} MiB", begin >> 20);
    for count in 1..=RUNS / 500 {
        node.accept(500, 0).await?;
        if [RUNS / 10, RUNS / 2, RUNS].contains(&(count * 500)) {
            println!("    with {} waiting: {} MiB", count * 500, resident() >> 20);
        }
    }
    // As a crash leaves it: everything is synced, nothing is closed.
    let crashed = path.join("crashed");
    copy(&data, &crashed)?;
    drop(node);
    for (what, path) in [("a clean stop", &data), ("a crash", &crashed)] {
        let from = clock.monotonic();
        let store = FjallStore::open(path, Arc::new(clock.clone()), &options())?;
        let opened = clock.monotonic() - from;
        let waiting = store.stats().waiting;
        println!("open after {what}: {opened:.2?} with {waiting} waiting, resident {} MiB", resident() >> 20);
    }
    Ok(())
}

async fn bytes(path: &Path, clock: &SystemClock) -> Outcome {
    const RUNS: usize = 500_000;
    let node = Node::open(path, clock).await?;
    // One by one, so that no two have the same times, as in life; side by side, so that it takes no hour.
    let mut tasks = Vec::new();
    for _ in 0..500 {
        let node = node.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..RUNS / 500 {
                let runs = node.accept(1, 1).await?;
                node.end(&runs).await?;
            }
            Outcome::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let tables = |name: &str| size(&path.join("db/keyspaces").join(name)).unwrap_or_default();
    println!("{RUNS} finished runs: {:.0} bytes each as they lie", tables("") as f64 / RUNS as f64);
    node.store.compact()?;
    println!("    {:.0} bytes each after compaction", tables("") as f64 / RUNS as f64);
    for keyspace in std::fs::read_dir(path.join("db/keyspaces"))? {
        let name = keyspace?.file_name().into_string().unwrap_or_default();
        println!("    keyspace {name}: {:.1}", tables(&name) as f64 / RUNS as f64);
    }
    Ok(())
}

fn rate(what: &str, count: usize, taken: Duration) {
    println!("{what}: {:.0}/s", count as f64 / taken.as_secs_f64());
}

fn size(path: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
