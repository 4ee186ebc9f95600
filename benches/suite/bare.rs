//! The limits: what the same machine does with nothing of ours around it.
//!
//! The bare writer is one thread over the same database with the same settings. It writes for a run as many records
//! of the same size in as many synced commits as the engine does, answers its callers after the sync, and knows
//! nothing of runs: no conditions, no queue, no limits, no states.

use crate::Outcome;
use crate::machine;
use fjall::config::FilterPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Bytes of the record of a no-op run, at its start and at its end, and of a task's head: as the engine writes them.
const BEGUN: usize = 28;
const ENDED: usize = 36;
const HEAD: usize = 80;
/// Records a commit, as in the engine.
const BATCH: usize = 512;

/// What is written for a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// It is accepted, waiting or at once at work: its record, its mark, its place below its task.
    Accept(u64),
    /// It waited and begins.
    Begin(u64),
    /// It ends.
    End(u64),
}

struct Letter {
    steps: Vec<Step>,
    reply: oneshot::Sender<()>,
}

/// The database as the engine has it.
struct Tables {
    database: Database,
    meta: Keyspace,
    heads: Keyspace,
    runs: Keyspace,
    open: Keyspace,
    of_task: Keyspace,
    commits: u64,
}

impl Tables {
    fn open(path: &Path) -> Outcome<Self> {
        let database = Database::builder(path)
            .manual_journal_persist(true)
            .journal_compression(CompressionType::None)
            .max_journaling_size(64 << 20)
            .worker_threads(2)
            .cache_size(16 << 20)
            .open()?;
        let base =
            || KeyspaceCreateOptions::default().max_memtable_size(4 << 20).manual_journal_persist(true);
        let records = || base().expect_point_read_hits(true);
        let scans = || base().filter_policy(FilterPolicy::disabled());
        Ok(Self {
            meta: database.keyspace("meta", records)?,
            heads: database.keyspace("heads", records)?,
            of_task: database.keyspace("of_task", scans)?,
            open: database.keyspace("open", scans)?,
            runs: database.keyspace("runs", records)?,
            database,
            commits: 0,
        })
    }

    fn commit(&mut self, steps: impl Iterator<Item = Step>) -> Outcome {
        self.commits += 1;
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), BATCH * 3);
        batch.insert(&self.meta, &b"sequence"[..], self.commits.to_be_bytes());
        let mut ended = false;
        for step in steps {
            match step {
                Step::Accept(id) => {
                    batch.insert(&self.runs, id.to_be_bytes(), record::<BEGUN>(id));
                    batch.insert(&self.open, mark(id), [1]);
                    batch.insert(&self.of_task, [7u64.to_be_bytes(), id.to_be_bytes()].concat(), []);
                }
                Step::Begin(id) => {
                    batch.insert(&self.runs, id.to_be_bytes(), record::<BEGUN>(id));
                    batch.insert(&self.open, mark(id), [3]);
                }
                Step::End(id) => {
                    batch.insert(&self.runs, id.to_be_bytes(), record::<ENDED>(id));
                    batch.remove(&self.open, mark(id));
                    ended = true;
                }
            }
        }
        if ended {
            batch.insert(&self.heads, 7u64.to_be_bytes(), [7; HEAD]);
        }
        Ok(batch.durability(Some(PersistMode::SyncData)).commit()?)
    }
}

/// A record that does not compress better than ours: two times and an id in it differ from run to run.
fn record<const SIZE: usize>(id: u64) -> [u8; SIZE] {
    let mut record = [7; SIZE];
    let (first, second) = (id.wrapping_mul(0x9e37_79b9_7f4a_7c15), id.wrapping_mul(0xd1b5_4a32_d192_ed03));
    record[..8].copy_from_slice(&id.to_be_bytes());
    record[8..12].copy_from_slice(&first.to_be_bytes()[..4]);
    record[12..16].copy_from_slice(&second.to_be_bytes()[..4]);
    record
}

fn mark(id: u64) -> [u8; 26] {
    let mut key = [0; 26];
    key[10..18].copy_from_slice(&id.to_be_bytes());
    key[18..].copy_from_slice(&id.to_be_bytes());
    key
}

/// The thread that writes, and how to reach it. Ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Writer {
    sender: SyncSender<Letter>,
}

/// The thread, to be waited for.
pub(crate) struct Writing(JoinHandle<()>);

impl Writer {
    pub(crate) fn start(path: &Path) -> Outcome<(Self, Writing)> {
        let mut tables = Tables::open(path)?;
        let (sender, inbox) = sync_channel(4_096);
        let thread = std::thread::spawn(move || serve(&mut tables, &inbox));
        Ok((Self { sender }, Writing(thread)))
    }

    /// Returns when the steps are durable.
    pub(crate) async fn write(&self, steps: Vec<Step>) -> Outcome {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Letter { steps, reply }).map_err(|_| "the bare writer has died")?;
        Ok(answer.await?)
    }
}

impl Writing {
    pub(crate) fn end(self, writer: Writer) -> Outcome {
        drop(writer);
        self.0.join().map_err(|_| "the bare writer panicked".into())
    }
}

fn serve(tables: &mut Tables, inbox: &Receiver<Letter>) {
    while let Ok(first) = inbox.recv() {
        let mut letters = vec![first];
        while letters.len() < BATCH
            && let Ok(letter) = inbox.try_recv()
        {
            letters.push(letter);
        }
        let steps = letters.iter().flat_map(|letter| letter.steps.iter().copied());
        tables.commit(steps).expect("the bare database writes");
        for letter in letters {
            let _ = letter.reply.send(());
        }
    }
}

/// Runs a second, accepted and ended one by one by so many callers: two synced commits a run, shared.
pub(crate) async fn singles(path: &Path, callers: u64, runs: u64) -> Outcome<f64> {
    let (writer, writing) = Writer::start(path)?;
    let begun = Instant::now();
    let working = (0..callers).map(|caller| {
        let writer = writer.clone();
        tokio::spawn(async move {
            for id in (caller..runs).step_by(callers as usize) {
                writer.write(vec![Step::Accept(id)]).await?;
                writer.write(vec![Step::End(id)]).await?;
            }
            Outcome::Ok(())
        })
    });
    for working in working.collect::<Vec<_>>() {
        working.await??;
    }
    let rate = runs as f64 / begun.elapsed().as_secs_f64();
    writing.end(writer)?;
    Ok(rate)
}

/// Runs a second that begin and end in full batches: what a drain of waiting runs writes.
pub(crate) fn drained(path: &Path, runs: u64) -> Outcome<f64> {
    let mut tables = Tables::open(path)?;
    let begun = Instant::now();
    let mut first = 0;
    while first < runs {
        let batch = first..(first + BATCH as u64).min(runs);
        tables.commit(batch.clone().map(Step::Begin))?;
        tables.commit(batch.clone().map(Step::End))?;
        first = batch.end;
    }
    Ok(runs as f64 / begun.elapsed().as_secs_f64())
}

/// Seconds until so many runs are accepted, begun and ended in full batches, and until the first batch is accepted.
pub(crate) fn whole(path: &Path, runs: u64) -> Outcome<(f64, f64)> {
    let mut tables = Tables::open(path)?;
    let (begun, mut first_batch) = (Instant::now(), None);
    let mut first = 0;
    while first < runs {
        let batch = first..(first + BATCH as u64).min(runs);
        tables.commit(batch.clone().map(Step::Accept))?;
        first_batch.get_or_insert_with(|| begun.elapsed().as_secs_f64());
        tables.commit(batch.clone().map(Step::Begin))?;
        tables.commit(batch.clone().map(Step::End))?;
        first = batch.end;
    }
    Ok((begun.elapsed().as_secs_f64(), first_batch.unwrap_or_default()))
}

/// Bytes a finished run after compaction.
pub(crate) fn bytes(path: &Path, runs: u64) -> Outcome<f64> {
    whole(path, runs)?;
    let tables = Tables::open(path)?;
    for keyspace in [&tables.runs, &tables.open, &tables.of_task] {
        keyspace.rotate_memtable_and_wait()?;
        keyspace.major_compact()?;
    }
    Ok(crate::place::bytes_below(&path.join("keyspaces"))? as f64 / runs as f64)
}

/// Seconds to open a database with so many records and to read them all.
pub(crate) fn opened(path: &Path, records: u64) -> Outcome<f64> {
    let mut tables = Tables::open(path)?;
    let mut first = 0;
    while first < records {
        let batch = first..(first + BATCH as u64).min(records);
        tables.commit(batch.clone().map(Step::Accept))?;
        first = batch.end;
    }
    drop(tables);
    let begun = Instant::now();
    let tables = Tables::open(path)?;
    let mut read = 0;
    for entry in tables.runs.iter() {
        read += entry.into_inner()?.1.len() as u64;
    }
    let took = begun.elapsed().as_secs_f64();
    if read == records * BEGUN as u64 { Ok(took) } else { Err("records are missing".into()) }
}

/// Milliseconds by which one thread is late with dues that are spread evenly over each second, when it sleeps until
/// the next, and writes what is due in one synced commit.
pub(crate) fn timed(path: &Path, dues: u64, seconds: u64) -> Outcome<Vec<f64>> {
    let mut tables = Tables::open(path)?;
    let begun = Instant::now() + Duration::from_millis(100);
    let due = |n: u64| begun + Duration::from_nanos(n * 1_000_000_000 / dues);
    let (mut next, mut late) = (0, Vec::new());
    while next < dues * seconds {
        std::thread::sleep(due(next).saturating_duration_since(Instant::now()));
        let now = Instant::now();
        let first = next;
        while next < dues * seconds && due(next) <= now {
            next += 1;
        }
        tables.commit((first..next).map(Step::Accept))?;
        let done = Instant::now();
        late.extend((first..next).map(|n| (done - due(n)).as_secs_f64() * 1e3));
    }
    Ok(late)
}

/// Bytes that a sorted map of (time, id) takes for each of so many entries.
pub(crate) fn sorted_map(entries: u64) -> f64 {
    let before = machine::resident();
    let map: BTreeMap<(i64, u64), ()> = (0..entries)
        .map(|id| (((id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).cast_signed(), id), ()))
        .collect();
    let bytes = machine::resident().saturating_sub(before);
    std::hint::black_box(map);
    bytes as f64 / entries as f64
}
