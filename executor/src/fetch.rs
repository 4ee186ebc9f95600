//! Fetches the artifacts of a task into the directory of a run: over HTTP or from a file of this machine.
//!
//! Called before an attempt starts. What has a checksum is fetched once and kept in a cache over the data directory;
//! whatever is put into a run's directory is a copy that the run may change, and is verified while it is copied.
//! Dropping the future stops everything at once and leaves no partial file behind. It never runs anything.

mod cache;
mod place;

#[cfg(test)]
mod tests;

use crate::client::{Client, ClientError, Request, check_url};
use cache::{Cache, Partial};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use punctual_clock::Clock;
use punctual_model::hook::{Artifact, octal};
use punctual_model::{Failure, FailureKind};
use ring::digest::{Context, SHA256};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How much of a file is read and hashed at once: enough that system calls do not count.
const PIECE: usize = 64 << 10;

/// Bounds of fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Largest artifact in bytes.
    pub artifact: u64,
    /// Most bytes kept in the cache; what was not used for longest goes first.
    pub cache: u64,
    /// Longest time one artifact may take.
    pub timeout: std::time::Duration,
}

impl FetchLimits {
    /// Default [`Self::artifact`]: programs and data sets fit, an endless stream does not fill the disk.
    pub const ARTIFACT: u64 = 1 << 30;
    /// Default [`Self::cache`]: a few of the largest artifacts.
    pub const CACHE: u64 = 4 << 30;
    /// Default [`Self::timeout`]: a gibibyte at 5 Mbit/s.
    pub const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1800);
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { artifact: Self::ARTIFACT, cache: Self::CACHE, timeout: Self::TIMEOUT }
    }
}

/// Fetches artifacts; one a node.
pub struct Fetcher {
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    limits: FetchLimits,
    cache: Arc<Cache>,
    /// The data directory, from which nothing is ever handed out.
    data: PathBuf,
    /// Who fetches what, so that nobody fetches the same at the same time.
    busy: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// What an artifact has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is, relative to the run's directory.
    pub dest: String,
    /// Its SHA-256, as 64 hexadecimal digits.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it came out of the cache.
    pub cached: bool,
}

/// Why an artifact could not be had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the server answered {status}")]
    Status { status: hyper::StatusCode },
    #[error("its checksum is sha256:{found}, and not the one that the task names")]
    Checksum { found: String },
    #[error("it is larger than {most} bytes")]
    TooLarge { most: u64 },
    #[error("it took longer than {0}")]
    TooLong(String),
    #[error("{0}")]
    Refused(String),
    #[error("nobody waits for it any more")]
    Stopped,
    #[error("{what}: {error}")]
    Io { what: &'static str, error: io::Error },
}

impl FetchError {
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { what, error }
    }

    fn is_recoverable(&self) -> bool {
        match self {
            Self::Client(error) => error.is_recoverable(),
            Self::Status { status } => matches!(status.as_u16(), 408 | 429) || status.is_server_error(),
            Self::TooLong(_) | Self::Stopped => true,
            // A file that is not there or not readable stays so; a full disk is made room on.
            Self::Io { error, .. } => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Checksum { .. } | Self::TooLarge { .. } | Self::Refused(_) => false,
        }
    }
}

impl Fetcher {
    /// A fetcher that keeps its cache below this data directory, which exists. What an earlier process has left
    /// half fetched is thrown away.
    ///
    /// # Errors
    /// If the cache cannot be made or looked at.
    pub fn new(
        client: Arc<Client>,
        clock: Arc<dyn Clock>,
        data: &Path,
        limits: FetchLimits,
    ) -> io::Result<Self> {
        let data = data.canonicalize()?;
        let cache = Arc::new(Cache::open(&data.join("artifacts"), limits.cache)?);
        Ok(Self { client, clock, limits, cache, data, busy: Mutex::default() })
    }

    /// Fetches all of them at once into `directory`, which exists, and answers them in the order in which they were
    /// given. Files that are there already are replaced, each in one step.
    ///
    /// # Errors
    /// The first thing that went wrong, and whether another attempt could go better. What came before it may be there.
    pub async fn fetch(&self, artifacts: &[Artifact], directory: &Path) -> Result<Vec<Fetched>, Failure> {
        let mut all: FuturesUnordered<_> = artifacts
            .iter()
            .enumerate()
            .map(|(n, artifact)| async move { (n, self.fetch_one(artifact, directory).await) })
            .collect();
        let mut fetched: Vec<Option<Fetched>> = artifacts.iter().map(|_| None).collect();
        while let Some((n, one)) = all.next().await {
            fetched[n] = Some(one.map_err(|error| {
                let source = artifacts[n].source.split(['?', '#']).next().unwrap_or_default();
                let text = format!("the artifact {source} could not be fetched: {error}");
                let failure = Failure::new(FailureKind::Start, text);
                if error.is_recoverable() { failure.recoverable() } else { failure }
            })?);
        }
        Ok(fetched.into_iter().flatten().collect())
    }

    async fn fetch_one(&self, artifact: &Artifact, directory: &Path) -> Result<Fetched, FetchError> {
        let mode = match &artifact.mode {
            None => Artifact::MODE,
            Some(mode) => octal(mode)
                .filter(|mode| *mode <= 0o777)
                .ok_or_else(|| FetchError::Refused(format!("its mode {mode:?} is no three octal digits")))?,
        };
        let wanted = artifact.sha256();
        if artifact.checksum.is_some() && wanted.is_none() {
            return Err(FetchError::Refused(
                "its checksum is not sha256: and 64 hexadecimal digits".to_owned(),
            ));
        }
        let put = |file: std::fs::File, wanted: Option<String>| {
            let (directory, dest) = (directory.to_owned(), artifact.dest.clone());
            let most = self.limits.artifact;
            blocking(move |unwanted| {
                let place = place::Place { directory: &directory, dest: &dest, mode };
                place.put(file, wanted.as_deref(), most, unwanted)
            })
        };
        let Some(wanted) = wanted else {
            let file = self.source(artifact, None).await?;
            let (sha256, bytes) = put(file.reopen().map_err(FetchError::io("read it again"))?, None).await?;
            return Ok(Fetched { dest: artifact.dest.clone(), sha256, bytes, cached: false });
        };
        let turn = self.turn(&wanted);
        let _turn = turn.lock().await;
        if let Some(file) = self.cache.get(&wanted, self.clock.now()) {
            match put(file, Some(wanted.clone())).await {
                Ok((sha256, bytes)) => {
                    return Ok(Fetched { dest: artifact.dest.clone(), sha256, bytes, cached: true });
                }
                // Damaged on the disk: it is fetched anew.
                Err(FetchError::Checksum { .. }) => self.cache.remove(&wanted),
                Err(error) => return Err(error),
            }
        }
        let file = self.source(artifact, Some(&wanted)).await?;
        let copy = file.reopen().map_err(FetchError::io("read it again"))?;
        let (sha256, bytes) = put(copy, Some(wanted.clone())).await?;
        // A cache that takes nothing more makes later fetches slower, and no run fail.
        let (cache, now) = (Arc::clone(&self.cache), self.clock.now());
        let kept =
            blocking(move |_| cache.keep(file, &wanted, bytes, now).map_err(FetchError::io("keep it")));
        if let Err(error) = kept.await {
            tracing::warn!(%error, "an artifact was not kept in the cache");
        }
        Ok(Fetched { dest: artifact.dest.clone(), sha256, bytes, cached: false })
    }

    /// The turn to fetch what has this checksum.
    fn turn(&self, sha256: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = busy.get(sha256).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        busy.insert(sha256.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// Brings it here, verified if it can be.
    async fn source(&self, artifact: &Artifact, wanted: Option<&str>) -> Result<Partial, FetchError> {
        let (partial, found) = if artifact.source.starts_with('/') {
            self.copy(Path::new(&artifact.source)).await?
        } else {
            let fetching = self.download(&artifact.source);
            tokio::select! {
                biased;
                fetched = fetching => fetched?,
                () = self.clock.sleep(self.limits.timeout) => {
                    let most = punctual_model::duration::format(self.limits.timeout);
                    return Err(FetchError::TooLong(most));
                }
            }
        };
        match wanted {
            Some(wanted) if wanted != found => Err(FetchError::Checksum { found }),
            _ => Ok(partial),
        }
    }

    async fn download(&self, source: &str) -> Result<(Partial, String), FetchError> {
        let url = check_url(source).map_err(ClientError::from)?;
        let request =
            Request { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new(), follow: true };
        let mut response = self.client.send(&request).await?;
        if response.status != hyper::StatusCode::OK {
            return Err(FetchError::Status { status: response.status });
        }
        let partial = self.cache.partial().map_err(FetchError::io("make a file in the cache"))?;
        let file = partial.reopen_for_writing().map_err(FetchError::io("open it for writing"))?;
        let mut file = tokio::fs::File::from_std(file);
        let (mut hash, mut bytes) = (Context::new(&SHA256), 0u64);
        while let Some(chunk) = response.chunk().await? {
            bytes += chunk.len() as u64;
            if bytes > self.limits.artifact {
                return Err(FetchError::TooLarge { most: self.limits.artifact });
            }
            hash.update(&chunk);
            let written = tokio::io::AsyncWriteExt::write_all(&mut file, &chunk).await;
            written.map_err(FetchError::io("write it"))?;
        }
        let flushed = tokio::io::AsyncWriteExt::flush(&mut file).await;
        flushed.map_err(FetchError::io("write it"))?;
        Ok((partial, hex(hash)))
    }

    async fn copy(&self, source: &Path) -> Result<(Partial, String), FetchError> {
        let partial = self.cache.partial().map_err(FetchError::io("make a file in the cache"))?;
        let (source, data, most) = (source.to_owned(), self.data.clone(), self.limits.artifact);
        blocking(move |unwanted| {
            let real = source.canonicalize().map_err(FetchError::io("find it"))?;
            // Tokens and other people's output are in there.
            if real.starts_with(&data) {
                return Err(FetchError::Refused("it lies in the data directory".to_owned()));
            }
            let from = place::open_regular(&real)?;
            let mut to = partial.reopen_for_writing().map_err(FetchError::io("open it for writing"))?;
            let (found, _) = place::copy_hashed(from, &mut to, most, unwanted)?;
            Ok((partial, found))
        })
        .await
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Whether nobody waits any more for what is being done.
#[derive(Debug, Clone, Default)]
struct Unwanted(Arc<AtomicBool>);

impl Unwanted {
    /// # Errors
    /// If nobody waits any more.
    fn check(&self) -> Result<(), FetchError> {
        if self.0.load(Ordering::Relaxed) { Err(FetchError::Stopped) } else { Ok(()) }
    }
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs what touches disks away from the workers. Dropped, it tells the work, which looks after each piece.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Unwanted) -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let waiting = Unwanted::default();
    let unwanted = waiting.clone();
    let done = tokio::task::spawn_blocking(move || work(&unwanted)).await;
    drop(waiting);
    match done {
        Ok(done) => done,
        Err(error) => Err(FetchError::Io { what: "work on a file", error: io::Error::other(error) }),
    }
}

fn hex(hash: Context) -> String {
    hash.finish().as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
