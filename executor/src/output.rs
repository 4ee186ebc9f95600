//! What runs write: one append-only file a run, whichever attempt wrote it.
//!
//! Of a run that writes more than its cap the beginning and the newest are kept: up to half the cap in that
//! file, the rest in two parts beside it that take turns; or, where the task says so, as many files of one size as
//! it wants, the newest. Attempts write through their sink, or a process of their own does; all that both know is
//! in the files. Whoever shows output reads here: the whole, the tail,
//! or following a run that is at work. Decides nothing about retention; it removes the runs that it is told to.
//! Never touches the store.

mod follow;
mod frame;
mod layout;
mod part;
mod place;
mod reader;
mod reserve;
mod search;
mod writer;

pub use frame::{Content, Frame};
pub(crate) use layout::Layout;
pub(crate) use place::{Made, create, path_of};
pub use reader::Reader;
pub use search::Search;
pub(crate) use writer::{Writer, Written};

use follow::Follow;
use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use part::Part;
use place::{Buffer, Bytes, extension};
use punctual_clock::Clock;
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
    Memory(Mutex<HashMap<(RunId, usize), Buffer>>),
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

    /// Outputs as another process has them: [`Self::root`] and [`Self::free_space`].
    #[cfg(target_os = "linux")]
    pub(crate) fn in_place(root: PathBuf, space: FreeSpace) -> Self {
        let reserve = Reserve::new(root.parent().unwrap_or(&root).to_owned(), space);
        Self::new(Kind::Directory(root), Some(reserve))
    }

    /// What of the disk is not for output.
    #[cfg(target_os = "linux")]
    pub(crate) fn free_space(&self) -> FreeSpace {
        self.shared.reserve.as_ref().map_or(FreeSpace::Bytes(0), Reserve::space)
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

    pub(crate) fn writer(&self, run: RunId, layout: Layout) -> Writer {
        Writer::new(self.clone(), run, layout)
    }

    /// Reads a run's output from its beginning. The reader blocks on the disk; no output is none.
    #[must_use]
    pub fn read(&self, run: RunId) -> Reader {
        Reader::new(self.clone(), run)
    }

    /// The last frames of a run's output, as many as hold `bytes` bytes at least, or all there are. Reads the
    /// whole output (which its cap bounds), keeps only the tail in memory, and blocks on the disk.
    ///
    /// # Errors
    /// What the file system says.
    pub fn tail(&self, run: RunId, bytes: usize) -> io::Result<Vec<Frame>> {
        let mut reader = self.read(run);
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
    /// no more will come and everything was read. Memory is bounded: a slow reader holds nobody up. Whether
    /// another process has written is looked for by this clock.
    pub fn follow(
        &self,
        run: RunId,
        from: u64,
        clock: Arc<dyn Clock>,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> BoxStream<'static, io::Result<Frame>> {
        let follow = Follow::new(self, run, from, clock, ended);
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
        match &self.shared.kind {
            Kind::Directory(root) => {
                let mut result = Ok(());
                for run in runs {
                    result = result.and(place::remove_all(root, *run));
                }
                result
            }
            Kind::Memory(all) => {
                let mut all = lock(all);
                for run in runs {
                    let slots =
                        (0..place::MOST_SLOTS).take_while(|slot| all.remove(&(*run, *slot)).is_some());
                    let _ = slots.count();
                }
                Ok(())
            }
        }
    }

    /// Whether anything of a run's output is there. Blocks on the disk.
    #[must_use]
    pub fn is_kept(&self, run: RunId) -> bool {
        // An error is told by whoever reads.
        !matches!(self.open_to_read(run, 0), Ok(None))
    }

    /// Takes room on the disk for so many bytes.
    fn take_room(&self, bytes: u64) -> io::Result<()> {
        self.shared.reserve.as_ref().map_or(Ok(()), |reserve| reserve.take(bytes))
    }

    fn open_to_read(&self, run: RunId, slot: usize) -> io::Result<Option<Bytes>> {
        match &self.shared.kind {
            Kind::Directory(root) => match File::open(path_of(root, run, &extension(slot))) {
                Ok(file) => Ok(Some(Bytes::File(Arc::new(file)))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Kind::Memory(all) => Ok(lock(all).get(&(run, slot)).cloned().map(Bytes::Memory)),
        }
    }

    /// The parts of a run's output behind the head, by their places; those that are not whole are passed over.
    fn parts(&self, run: RunId) -> impl Iterator<Item = io::Result<Part>> {
        let mut before_is_empty = false;
        (1..place::MOST_SLOTS)
            .map_while(move |slot| {
                if !place::is_to_be_looked_at(slot, before_is_empty) {
                    return None;
                }
                let opened = self.open_to_read(run, slot);
                before_is_empty = matches!(opened, Ok(None));
                let part = opened.and_then(|bytes| bytes.map_or(Ok(None), |bytes| Part::at(slot, bytes)));
                Some(part.transpose())
            })
            .flatten()
    }

    /// Opens a part to append to it.
    fn open_to_write(&self, run: RunId, slot: usize) -> io::Result<(Bytes, Made)> {
        match &self.shared.kind {
            Kind::Directory(root) => {
                let (file, made) = create(&path_of(root, run, &extension(slot)))?;
                Ok((Bytes::File(Arc::new(file)), made))
            }
            Kind::Memory(all) => {
                let bytes = Arc::clone(lock(all).entry((run, slot)).or_default());
                Ok((Bytes::Memory(bytes), Made::Nothing))
            }
        }
    }

    /// Puts a part with these bytes in the place of whatever is there.
    fn replace(&self, run: RunId, slot: usize, begun: &[u8]) -> io::Result<Bytes> {
        match &self.shared.kind {
            Kind::Directory(root) => Ok(Bytes::File(Arc::new(place::replace(root, run, slot, begun)?))),
            Kind::Memory(all) => {
                let bytes = Buffer::new(Mutex::new(begun.to_vec()));
                lock(all).insert((run, slot), Arc::clone(&bytes));
                Ok(Bytes::Memory(bytes))
            }
        }
    }

    /// Makes the parts at these places durable, with those names that lead to them and are new.
    fn sync(&self, run: RunId, slots: impl Iterator<Item = usize>, made: Made) -> io::Result<()> {
        let Kind::Directory(root) = &self.shared.kind else { return Ok(()) };
        for slot in slots {
            File::open(path_of(root, run, &extension(slot)))?.sync_data()?;
        }
        let names = match made {
            Made::Nothing => 0,
            Made::File => 1,
            // Up to the directory that holds `output` itself.
            Made::Directories => 4,
        };
        for directory in path_of(root, run, &extension(0)).ancestors().skip(1).take(names) {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// Tells a follower of the run that there is more.
    pub(crate) fn wake(&self, run: RunId) {
        if self.shared.following.load(Ordering::Relaxed) > 0
            && let Some(notify) = lock(&self.shared.followers).get(&run).and_then(Weak::upgrade)
        {
            notify.notify_waiters();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
