//! What runs write: one append-only file a run, whichever attempt wrote it.
//!
//! Attempts write through their sink; whoever shows output reads here: the whole, the tail, or following a run
//! that is at work. Decides nothing about retention; it removes the runs that it is told to. Never touches the
//! store.

mod frame;
mod place;
mod reader;
mod reserve;
mod writer;

pub use frame::{Content, Frame};
pub(crate) use place::{Made, create, path_of, remove};
pub use reader::Reader;
pub(crate) use writer::{Writer, Written};

use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use place::Bytes;
use punctual_model::RunId;
use punctual_store::fjall::FreeSpace;
use reserve::Reserve;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Notify;

/// The extension of output files.
const EXTENSION: &str = "out";

/// Frames that a follower takes from the disk at once; with the largest frame, 1 MiB.
const FOLLOW_BATCH: usize = 16;

/// The outputs of all runs of one node. Clones are the same.
#[derive(Debug, Clone)]
pub struct Outputs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kind: Kind,
    /// Room on the disk that is not for output.
    reserve: Option<Reserve>,
    /// Who follows which run. A writer looks here only if anybody follows anything.
    followers: Mutex<HashMap<RunId, Weak<Notify>>>,
    following: AtomicUsize,
}

#[derive(Debug)]
enum Kind {
    Directory(PathBuf),
    Memory(Mutex<HashMap<RunId, Arc<Mutex<Vec<u8>>>>>),
}

impl Outputs {
    /// Outputs below this directory (`DATA/output`), which need not exist yet.
    #[must_use]
    pub fn in_directory(root: impl Into<PathBuf>) -> Self {
        Self::new(Kind::Directory(root.into()), None)
    }

    /// [`Self::in_directory`] on the disk of a store, of which output leaves half as much free as new work does.
    /// Where less is free, output is not kept, which its run is told as an event. `data` is there already.
    #[must_use]
    pub fn beside_store(data: &Path, space: FreeSpace) -> Self {
        let reserve = Reserve::new(data.to_owned(), space);
        Self::new(Kind::Directory(data.join("output")), Some(reserve))
    }

    /// Outputs that go with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Kind::Memory(Mutex::default()), None)
    }

    fn new(kind: Kind, reserve: Option<Reserve>) -> Self {
        let shared = Shared { kind, reserve, followers: Mutex::default(), following: AtomicUsize::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// The directory, if there is one.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        match &self.shared.kind {
            Kind::Directory(root) => Some(root),
            Kind::Memory(_) => None,
        }
    }

    pub(crate) fn writer(&self, run: RunId, cap: u64) -> Writer {
        Writer::new(self.clone(), run, cap)
    }

    /// Reads a run's output from its beginning. Blocks on the disk, as does the reader.
    ///
    /// # Errors
    /// What the file system says; no output is none.
    pub fn read(&self, run: RunId) -> io::Result<Reader> {
        Ok(self.open_to_read(run)?.map_or_else(Reader::empty, Reader::over))
    }

    /// The last frames of a run's output, as many as hold `bytes` bytes at least, or all there are. Reads the
    /// whole file (which its cap bounds), keeps only the tail in memory, and blocks on the disk.
    ///
    /// # Errors
    /// What the file system says.
    pub fn tail(&self, run: RunId, bytes: usize) -> io::Result<Vec<Frame>> {
        let mut reader = self.read(run)?;
        let (mut kept, mut size) = (VecDeque::new(), 0);
        let size_of = |frame: &Frame| match &frame.content {
            Content::Bytes { bytes, .. } => bytes.len(),
            Content::Dropped(_) => 0,
        };
        while let Some(frame) = reader.next_frame()? {
            size += size_of(&frame);
            kept.push_back(frame);
            while kept.front().is_some_and(|first| size - size_of(first) >= bytes) {
                size -= kept.pop_front().as_ref().map_or(0, size_of);
            }
        }
        Ok(kept.into())
    }

    /// Reads a run's output from a sequence number on, and goes on as it is written, until `ended` says that
    /// no more will come and everything was read. Memory is bounded: a slow reader holds nobody up.
    pub fn follow(
        &self,
        run: RunId,
        from: u64,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> BoxStream<'static, io::Result<Frame>> {
        let follow = Follow {
            watching: Watching::new(self, run),
            reader: Reader::empty(),
            ready: VecDeque::new(),
            from,
            ended: Some(Box::pin(ended)),
        };
        unfold(Some(follow), async |follow| {
            let mut follow = follow?;
            match follow.next().await {
                Ok(Some(frame)) => Some((Ok(frame), Some(follow))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// Removes the outputs of runs that history does not keep any more. Blocks on the disk.
    ///
    /// # Errors
    /// The first error; the others were tried all the same.
    pub fn remove(&self, runs: &[RunId]) -> io::Result<()> {
        let mut result = Ok(());
        for run in runs {
            match &self.shared.kind {
                Kind::Directory(root) => {
                    result = result.and(remove(&path_of(root, *run, EXTENSION), root));
                }
                Kind::Memory(all) => drop(lock(all).remove(run)),
            }
        }
        result
    }

    /// Takes room on the disk for so many bytes.
    fn take_room(&self, bytes: u64) -> io::Result<()> {
        self.shared.reserve.as_ref().map_or(Ok(()), |reserve| reserve.take(bytes))
    }

    fn open_to_read(&self, run: RunId) -> io::Result<Option<Bytes>> {
        match &self.shared.kind {
            Kind::Directory(root) => match File::open(path_of(root, run, EXTENSION)) {
                Ok(file) => Ok(Some(Bytes::File(Arc::new(file)))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Kind::Memory(all) => Ok(lock(all).get(&run).cloned().map(Bytes::Memory)),
        }
    }

    fn open_to_write(&self, run: RunId) -> io::Result<(Bytes, Made)> {
        match &self.shared.kind {
            Kind::Directory(root) => {
                let (file, made) = create(&path_of(root, run, EXTENSION))?;
                Ok((Bytes::File(Arc::new(file)), made))
            }
            Kind::Memory(all) => {
                Ok((Bytes::Memory(Arc::clone(lock(all).entry(run).or_default())), Made::Nothing))
            }
        }
    }

    /// Makes a run's output durable, with those names that lead to it and are new.
    fn sync(&self, bytes: &Bytes, run: RunId, made: Made) -> io::Result<()> {
        let (Bytes::File(file), Kind::Directory(root)) = (bytes, &self.shared.kind) else { return Ok(()) };
        file.sync_data()?;
        let path = path_of(root, run, EXTENSION);
        let names = match made {
            Made::Nothing => 0,
            Made::File => 1,
            // Up to the directory that holds `output` itself.
            Made::Directories => 4,
        };
        for directory in path.ancestors().skip(1).take(names) {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// Tells a follower of the run that there is more.
    fn wake(&self, run: RunId) {
        if self.shared.following.load(Ordering::Relaxed) > 0
            && let Some(notify) = lock(&self.shared.followers).get(&run).and_then(Weak::upgrade)
        {
            notify.notify_waiters();
        }
    }
}

/// Being listed as a follower.
struct Watching {
    outputs: Outputs,
    run: RunId,
    notify: Arc<Notify>,
}

impl Watching {
    fn new(outputs: &Outputs, run: RunId) -> Self {
        outputs.shared.following.fetch_add(1, Ordering::Relaxed);
        let mut followers = lock(&outputs.shared.followers);
        let notify = followers.get(&run).and_then(Weak::upgrade).unwrap_or_default();
        followers.insert(run, Arc::downgrade(&notify));
        drop(followers);
        Self { outputs: outputs.clone(), run, notify }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.outputs.shared.following.fetch_sub(1, Ordering::Relaxed);
        let mut followers = lock(&self.outputs.shared.followers);
        if Arc::strong_count(&self.notify) == 1 {
            followers.remove(&self.run);
        }
    }
}

struct Follow {
    watching: Watching,
    reader: Reader,
    ready: VecDeque<Frame>,
    from: u64,
    ended: Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Follow {
    async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            let notify = Arc::clone(&self.watching.notify);
            let mut more = std::pin::pin!(notify.notified());
            // Listen before looking, so that nothing falls between.
            more.as_mut().enable();
            let was_over = self.ended.is_none();
            self.fill().await?;
            if !self.ready.is_empty() {
                continue;
            }
            match &mut self.ended {
                // The end was known before this look, and the look found nothing.
                None if was_over => return Ok(None),
                None => {}
                Some(ended) => tokio::select! {
                    () = more => {}
                    () = ended.as_mut() => self.ended = None,
                },
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut reader = std::mem::replace(&mut self.reader, Reader::empty());
        let (outputs, run, from) = (self.watching.outputs.clone(), self.watching.run, self.from);
        let (reader, frames) = tokio::task::spawn_blocking(move || {
            if reader.is_empty() {
                reader = outputs.read(run)?;
            }
            let mut frames = VecDeque::new();
            while frames.len() < FOLLOW_BATCH
                && let Some(frame) = reader.next_frame()?
            {
                if frame.sequence >= from {
                    frames.push_back(frame);
                }
            }
            Ok::<_, io::Error>((reader, frames))
        })
        .await
        .map_err(io::Error::other)??;
        self.reader = reader;
        self.ready = frames;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "output/tests.rs"]
mod tests;
