//! The same work, done and measured alike with every peer: a queue drained, single jobs end to end, and how soon a job
//! starts that finds the worker idle. The programs in `bin` say what each of these is with one peer; `../run` starts them.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// As many as wait for their submits at once.
pub const CALLERS: u64 = 64;
/// How often a worker looks for jobs that nothing has told it of, where that can be set.
pub const POLL: Duration = Duration::from_millis(10);
/// Submits a second where the time to the start is measured.
const GENTLE: u64 = 100;
/// Between two looks at whether all is recorded as done.
const LOOK: Duration = Duration::from_millis(5);
/// A peer that does nothing for so long has lost its jobs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a job carries.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Job {
    /// When it was submitted, in seconds of this process.
    pub at: f64,
}

/// One peer with its settings, over an empty store.
pub trait Peer: Clone + Send + Sync + 'static {
    /// Submits one job by itself; it is durable when this returns.
    fn submit(&self, job: Job) -> impl Future<Output = Outcome> + Send;

    /// Submits many jobs in the peer's own way.
    fn fill(&self, jobs: Vec<Job>) -> impl Future<Output = Outcome> + Send;

    /// Starts the worker, which goes on until the process ends. Its handler calls [`started`] and does nothing else.
    fn work(&self) -> impl Future<Output = Outcome> + Send;

    /// Jobs that are not yet recorded as done.
    fn left(&self) -> impl Future<Output = Outcome<u64>> + Send;
}

static ORIGIN: OnceLock<Instant> = OnceLock::new();
static STARTED: AtomicU64 = AtomicU64::new(0);
static FIRST: Mutex<Option<Instant>> = Mutex::new(None);
static LATENCIES: Mutex<Vec<f64>> = Mutex::new(Vec::new());

fn now() -> f64 {
    ORIGIN.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// The first line of every handler.
pub fn started(job: &Job) {
    let took = now() - job.at;
    LATENCIES.lock().unwrap_or_else(PoisonError::into_inner).push(took * 1e3);
    if STARTED.fetch_add(1, Ordering::Relaxed) == 0 {
        *FIRST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

fn forget() {
    STARTED.store(0, Ordering::Relaxed);
    LATENCIES.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Measures a peer that `connect` makes of the address of its store, and says one figure a line.
pub fn main<P: Peer, F: Future<Output = Outcome<P>>>(connect: impl FnOnce(String) -> F) -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().ok_or("wanted: ADDRESS DRAINED SINGLES SECONDS");
    let address = argument()?;
    let (drained, singles, seconds): (u64, u64, u64) =
        (argument()?.parse()?, argument()?.parse()?, argument()?.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let peer = connect(address).await?;
        println!("drain {}", drain(&peer, drained).await?);
        self::singles(&peer, singles / 10).await?;
        println!("single {}", self::singles(&peer, singles).await?);
        let latencies = gentle(&peer, seconds).await?;
        println!("p50 {}", at(&latencies, 0.5));
        println!("p99 {}", at(&latencies, 0.99));
        Outcome::Ok(())
    })?;
    // Not every worker ends when it is told; nothing is left to be done.
    std::process::exit(0)
}

/// Jobs a second, from the first that starts to the last that is recorded as done. The worker stays.
async fn drain<P: Peer>(peer: &P, jobs: u64) -> Outcome<f64> {
    forget();
    peer.fill((0..jobs).map(|_| Job { at: now() }).collect()).await?;
    peer.work().await?;
    ended(peer, jobs).await?;
    let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).ok_or("nothing has started")?;
    Ok(jobs as f64 / first.elapsed().as_secs_f64())
}

/// Jobs a second, from the first submit to the last that is recorded as done.
async fn singles<P: Peer>(peer: &P, jobs: u64) -> Outcome<f64> {
    forget();
    let begun = Instant::now();
    let each = jobs.div_ceil(CALLERS);
    let callers = (0..CALLERS).map(|_| {
        let peer = peer.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                peer.submit(Job { at: now() }).await?;
            }
            Outcome::Ok(())
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    ended(peer, each * CALLERS).await?;
    Ok((each * CALLERS) as f64 / begun.elapsed().as_secs_f64())
}

/// Milliseconds from a submit to the start, sorted.
async fn gentle<P: Peer>(peer: &P, seconds: u64) -> Outcome<Vec<f64>> {
    forget();
    let pause = Duration::from_secs_f64(1.0 / GENTLE as f64);
    for _ in 0..seconds * GENTLE {
        let begun = Instant::now();
        peer.submit(Job { at: now() }).await?;
        tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await;
    }
    ended(peer, seconds * GENTLE).await?;
    let mut latencies = std::mem::take(&mut *LATENCIES.lock().unwrap_or_else(PoisonError::into_inner));
    latencies.sort_unstable_by(f64::total_cmp);
    Ok(latencies)
}

/// Waits until so many have started and none is left that is not recorded as done.
async fn ended<P: Peer>(peer: &P, jobs: u64) -> Outcome {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let started = STARTED.load(Ordering::Relaxed);
        if started >= jobs && peer.left().await? == 0 {
            return Ok(());
        }
        if started != seen {
            (seen, since) = (started, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            let left = peer.left().await?;
            return Err(format!("of {jobs} jobs {started} have started, and {left} are not done").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
