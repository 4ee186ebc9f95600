//! Follows a run's output while it is written, by this process or by another one.
//!
//! A writer of this process wakes its followers; another process cannot, so whoever follows also looks by
//! itself: soon after there was something, seldom while there is nothing. Nobody looks where nobody follows.

use super::frame::Frame;
use super::{Kind, Outputs, Reader, lock};
use punctual_clock::Clock;
use punctual_model::RunId;
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Frames that a follower takes from the disk at once; with the largest frame, 1 MiB.
const BATCH: usize = 16;

/// First pause between two looks, after which more may have come: shorter than anybody sees.
const LEAST_PAUSE: Duration = Duration::from_millis(20);

/// Longest pause between two looks: what is written then is still seen as it comes, and a thousand followers
/// of silent runs cost a few looks a millisecond.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

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

/// One follower.
pub(super) struct Follow {
    watching: Watching,
    clock: Arc<dyn Clock>,
    /// None while it is away reading.
    reader: Option<Reader>,
    ready: VecDeque<Frame>,
    from: u64,
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pause: Duration,
}

impl Follow {
    pub(super) fn new(
        outputs: &Outputs,
        run: RunId,
        from: u64,
        clock: Arc<dyn Clock>,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            watching: Watching::new(outputs, run),
            clock,
            reader: None,
            ready: VecDeque::new(),
            from,
            ended: Some(Box::pin(ended)),
            pause: LEAST_PAUSE,
        }
    }

    /// The next frame; none when it has ended and everything was read.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
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
                self.pause = LEAST_PAUSE;
                continue;
            }
            let look = self.look_again();
            match &mut self.ended {
                // The end was known before this look, and the look found nothing.
                None if was_over => return Ok(None),
                None => {}
                Some(ended) => tokio::select! {
                    () = more => {}
                    () = look => self.pause = (self.pause * 2).min(LONGEST_PAUSE),
                    () = ended.as_mut() => self.ended = None,
                },
            }
        }
    }

    /// Returns when it is time to look whether another process has written.
    fn look_again(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.watching.outputs.shared.kind {
            Kind::Directory(_) => Box::pin(self.clock.sleep(self.pause)),
            // Nobody else writes to our memory.
            Kind::Memory(_) => Box::pin(pending()),
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let (outputs, run, from) = (self.watching.outputs.clone(), self.watching.run, self.from);
        let mut reader = self.reader.take().unwrap_or_else(|| Reader::new(outputs, run));
        let (reader, frames) = tokio::task::spawn_blocking(move || {
            let mut frames = VecDeque::new();
            while frames.len() < BATCH
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
        self.reader = Some(reader);
        self.ready = frames;
        Ok(())
    }
}
