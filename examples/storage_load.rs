//! Loads a data directory, and judges from outside what a broken disk left of it.
//!
//! ```text
//! storage_load run DATA ACKS CALLERS COUNT   runs are asked for with keys; ACKS, on another disk, gets a line before each
//!                                            request and one after its answer. COUNT 0 goes on until something ends it
//! storage_load flood DATA ACKS               one run writes output until the disk is full, then others are asked for
//! storage_load check DATA ACKS               every answered key has its run, whole and once; one that was asked for and
//!                                            not answered may have it; nothing else is there
//! storage_load lost DATA ACKS                the same of a repaired copy of one caller's work: what is there is the
//!                                            beginning of what was asked for; prints how many answered are missing
//! storage_load end FILE                      where its last byte that is not zero ends
//! storage_load cut MOUNT                     takes the power away from a mounted ext4 or xfs: nothing that is not on the
//!                                            disk by now ever gets there
//! ```
//!
//! It ends as the daemon does: with 70 when the store has failed. `STORAGE_LOAD_FREE` is the free space in bytes below
//! which it accepts nothing.

use punctual::clock::SystemClock;
use punctual::executor::drivers::handler::{Handlers, RunCtx, TaskError};
use punctual::prelude::*;
use punctual::store::fjall::{FjallStore, FreeSpace, Options};
use punctual::store::{RunFilter, RunStore};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Free space that is kept, in bytes: the disks here are small, and what was accepted before it was missing still
/// writes.
const FREE: u64 = 24 << 20;
/// How long a caller that was refused waits before it asks again.
const REFUSED: Duration = Duration::from_millis(50);
/// More than any of the tests here makes.
const HISTORY: u32 = 100_000;
/// More than there is on the disks here.
const FLOOD: u64 = 128 << 20;

/// What was asked for and what was answered, one line and one write each.
struct Acks(File);

impl Acks {
    fn open(path: &str) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().append(true).create(true).open(path)?))
    }

    fn say(&self, what: &str, key: &str) -> io::Result<()> {
        (&self.0).write_all(format!("{what} {key}\n").as_bytes())
    }

    /// The keys that stand behind this word, in order.
    fn read(path: &str, what: &str) -> io::Result<Vec<String>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let keys = text.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        Ok(keys.map(str::to_owned).collect())
    }
}

async fn work(ctx: RunCtx) -> Result<(), TaskError> {
    ctx.log(format!("this is {}", ctx.run_id()));
    Ok(())
}

async fn flood(ctx: RunCtx) -> Result<(), TaskError> {
    // Short enough to fill the last page, too.
    let line = "more than anybody will ever read; ".repeat(20);
    for _ in 0..FLOOD / line.len() as u64 {
        ctx.log(&line);
        // Whoever writes and never waits would keep all others from this thread.
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn start(data: &str) -> Result<Punctual, punctual::Error> {
    let handlers = Handlers::new().add("work", work).add("flood", flood);
    let free = std::env::var("STORAGE_LOAD_FREE").ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(FREE);
    let options = Options { free_space: FreeSpace::Bytes(free), ..Options::default() };
    Punctual::builder().data_dir(data).store_options(options).handlers(handlers).start().await
}

async fn task(punctual: &Punctual, work: &str) -> Result<TaskId, punctual::Error> {
    let mut spec = TaskSpec::new(work, Work::handler(work)).overlap(Overlap::Allow);
    spec.retention.runs = HISTORY;
    spec.max_output = FLOOD;
    Ok(punctual.tasks().upsert(spec).await?.stored.task.id)
}

/// Asks for runs until there are enough of them. A full disk is waited out and told once.
async fn ask(
    punctual: &Punctual,
    task: TaskId,
    acks: &Acks,
    keys: Vec<String>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let tasks = punctual.tasks();
    let mut refused = false;
    for key in keys {
        acks.say("request", &key)?;
        loop {
            let request = RunRequest {
                params: json!({ "key": key }),
                idempotency_key: Some(key.clone()),
                ..RunRequest::default()
            };
            match tasks.run_now(task, request).await {
                Ok(_) => break,
                Err(punctual::coordinator::Error::Store(error @ punctual::store::Error::Full { .. })) => {
                    if !std::mem::replace(&mut refused, true) {
                        println!("refused: {error}");
                    }
                    punctual.clock().sleep(REFUSED).await;
                }
                Err(error) => return Err(punctual::Error::from(error).into()),
            }
        }
        if std::mem::take(&mut refused) {
            println!("accepted again");
        }
        acks.say("answer", &key)?;
    }
    Ok(())
}

async fn run(
    data: &str,
    acks: &str,
    callers: usize,
    count: usize,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let life = Acks::read(acks, "life")?.len();
    let acks = Arc::new(Acks::open(acks)?);
    acks.say("life", &life.to_string())?;
    let punctual = Arc::new(start(data).await?);
    let task = task(&punctual, "work").await?;
    println!("started");
    let count = if count == 0 { HISTORY as usize } else { count };
    let mut callers: tokio::task::JoinSet<_> = (0..callers)
        .map(|caller| {
            let (punctual, acks) = (Arc::clone(&punctual), Arc::clone(&acks));
            let keys = (0..count).map(|n| format!("{life}.{caller}.{n}")).collect();
            async move { ask(&punctual, task, &acks, keys).await }
        })
        .collect();
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Arc::into_inner(punctual).ok_or("somebody still asks")?.stop().await?;
    Ok(())
}

async fn flooded(data: &str, acks: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let acks = Acks::open(acks)?;
    let punctual = start(data).await?;
    let (flood, work) = (task(&punctual, "flood").await?, task(&punctual, "work").await?);
    let run = punctual.tasks().run_now(flood, RunRequest::default()).await?.promise.wait().await?;
    println!("the flood ended as {}", run.state().name());
    for event in run.events.iter() {
        println!("  event: {}", event.kind.text());
    }
    if let Some(output) = run.outcome.as_ref().and_then(|outcome| outcome.output.as_ref()) {
        println!("  output: {output:?}");
    }
    // At once, before anything has looked at the disk again: they have to fit.
    ask(&punctual, work, &acks, (0..100).map(|n| format!("after-the-flood.{n}")).collect()).await?;
    punctual.stop().await?;
    Ok(())
}

/// The keys of all runs, with the number of their runs.
async fn stored(data: &str) -> Result<BTreeMap<String, usize>, Box<dyn Error + Send + Sync>> {
    let options = Options { free_space: FreeSpace::Bytes(0), ..Options::default() };
    let store = FjallStore::open(data, Arc::new(SystemClock::new()?), &options)?;
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let page = store.runs(&RunFilter { after, limit: 1_000, ..RunFilter::default() }).await?;
        for run in page.items {
            // The flood has none.
            let Some(key) = run.idempotency_key else { continue };
            if run.params["key"] != key.as_str() {
                return Err(format!("run {} of key {key} has the parameters {}", run.id, run.params).into());
            }
            *found.entry(key).or_default() += 1;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}

async fn check(data: &str, acks: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let found = stored(data).await?;
    let (requests, answers) = (Acks::read(acks, "request")?, Acks::read(acks, "answer")?);
    let requested: BTreeSet<&String> = requests.iter().collect();
    let missing: Vec<_> = answers.iter().filter(|key| !found.contains_key(*key)).collect();
    if !missing.is_empty() {
        return Err(format!(
            "{} of {} acknowledged runs are lost: {missing:?}",
            missing.len(),
            answers.len()
        )
        .into());
    }
    if let Some((key, count)) = found.iter().find(|(key, count)| **count != 1 || !requested.contains(key)) {
        return Err(format!("key {key} has {count} runs, asked for: {}", requested.contains(key)).into());
    }
    if answers.is_empty() {
        return Err("nothing was acknowledged: this proves nothing".into());
    }
    println!(
        "all {} acknowledged runs are there, and {} of those without an answer",
        answers.len(),
        found.len() - answers.len()
    );
    Ok(())
}

async fn lost(data: &str, acks: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let found = stored(data).await?;
    let (requests, answers) = (Acks::read(acks, "request")?, Acks::read(acks, "answer")?);
    let is_prefix = requests.iter().take(found.len()).all(|key| found.get(key) == Some(&1));
    if !is_prefix {
        return Err("what is there is not the beginning of what was asked for".into());
    }
    println!("{}", answers.len().saturating_sub(found.len()));
    Ok(())
}

fn end(file: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    println!("{}", fs::read(file)?.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    Ok(())
}

/// Asks the file system to behave as if the machine had just died, and not to write its log first.
#[cfg(target_os = "linux")]
fn cut(mount: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    use rustix::ioctl::{Setter, ioctl, opcode};
    const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
    const NO_LOG_FLUSH: u32 = 2;
    let mount = File::open(mount)?;
    #[expect(unsafe_code, reason = "an ioctl that no crate has a safe name for; it reads one number")]
    // SAFETY: the kernel reads a u32 through the pointer that the setter makes of its own value, and writes nothing.
    unsafe {
        ioctl(&mount, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH))?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn cut(_: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    Err("only Linux has this".into())
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["run", data, acks, callers, count] => match (callers.parse(), count.parse()) {
            (Ok(callers), Ok(count)) => run(data, acks, callers, count).await,
            _ => Err("CALLERS and COUNT are numbers".into()),
        },
        ["flood", data, acks] => flooded(data, acks).await,
        ["check", data, acks] => check(data, acks).await,
        ["lost", data, acks] => lost(data, acks).await,
        ["end", file] => end(file),
        ["cut", mount] => cut(mount),
        _ => Err("expected: run, flood, check, lost, end or cut; see the head of the source".into()),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let fatal = error.downcast_ref::<punctual::Error>().is_some_and(punctual::Error::is_fatal);
    ExitCode::from(if fatal { 70 } else { 1 })
}
