//! The daemon's end of the spawner: started when the first process is, started again when it has died, gone when
//! the daemon has. See [`super::shim`].

use super::shim;
use punctual_clock::Clock;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::process::{Child, Command};

/// Of the daemon's environment, what a program may need to be started at all.
const NEEDED: &str = "LD_LIBRARY_PATH";

/// How long to wait when the spawner has hundreds of orders before it: about what it takes for one.
const BUSY: Duration = Duration::from_millis(1);

/// How the spawner is started.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) file: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Program {
    /// This program once more, which has said that it can be that ([`shim::enter`]). The link leads to the file that
    /// was started, also when another one has taken its name.
    pub(super) fn this() -> Option<Self> {
        shim::is_entered().then(|| Self { file: "/proc/self/exe".into(), arguments: Vec::new() })
    }
}

#[derive(Debug, Default)]
pub(super) struct Spawner {
    stream: Mutex<Option<Arc<UnixStream>>>,
}

impl Spawner {
    /// Has a shim made of this end of a stream.
    pub(super) async fn spawn(
        &self,
        program: &Program,
        stream: UnixStream,
        clock: &dyn Clock,
    ) -> io::Result<()> {
        let mut begun = false;
        loop {
            let (at_work, fresh) = self.at_work(program)?;
            begun |= fresh;
            match send(&at_work, &stream) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => clock.sleep(BUSY).await,
                // It has died since; one that has just been started should not.
                Err(_) if !begun => self.forget(&at_work),
                Err(error) => {
                    self.forget(&at_work);
                    return Err(error);
                }
            }
        }
    }

    /// The stream to the spawner, and whether that was just started.
    fn at_work(&self, program: &Program) -> io::Result<(Arc<UnixStream>, bool)> {
        let mut stream = self.stream();
        if let Some(stream) = &*stream {
            return Ok((Arc::clone(stream), false));
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&program.file);
        command
            .args(&program.arguments)
            .env_clear()
            .env(shim::ENTRY, "1")
            .envs(std::env::var_os(NEEDED).map(|value| (NEEDED, value)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn()?;
        tokio::spawn(wait(child));
        Ok((Arc::clone(stream.insert(Arc::new(ours))), true))
    }

    fn forget(&self, dead: &Arc<UnixStream>) {
        let mut stream = self.stream();
        if stream.as_ref().is_some_and(|stream| Arc::ptr_eq(stream, dead)) {
            *stream = None;
        }
    }

    fn stream(&self) -> MutexGuard<'_, Option<Arc<UnixStream>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It must not stay as a zombie.
async fn wait(mut child: Child) {
    match child.wait().await {
        Ok(status) => tracing::debug!(%status, "the spawner of processes has ended"),
        Err(error) => tracing::warn!(%error, "the end of the spawner of processes could not be seen"),
    }
}

fn send(to: &UnixStream, stream: &UnixStream) -> io::Result<()> {
    let files = [stream.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(to, &[IoSlice::new(b"+")], &mut control, flags)?;
    Ok(())
}
