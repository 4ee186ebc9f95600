//! The sockets: opened, accepted from, closed. Knows connections and nothing of what is said over them.

use crate::api::Api;
use crate::caller::Door;
use crate::routes::router;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use punctual_clock::Clock;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The name of the unix socket in the data directory.
pub const SOCKET: &str = "punctual.sock";

/// Connections of one door at once: many more than people and programs hold open, far fewer than there are
/// descriptors. Whoever comes then waits in the system's queue.
const MAX_CONNECTIONS: usize = 512;

/// How long a connection may take to say what it wants; also how long an idle one is kept.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long answers that are under way may take when the server closes.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// Where to listen.
#[derive(Debug, Clone, Default)]
pub struct Listen {
    /// A unix socket at this path; what is there is replaced, so the directory has to be the caller's alone.
    pub socket: Option<PathBuf>,
    /// TCP at this address, which has to be a loopback one.
    pub tcp: Option<SocketAddr>,
}

/// Why a door was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// Others could reach this address, and there is no access control yet.
    NotLoopback(SocketAddr),
    /// The system refused the unix socket.
    Socket(PathBuf, io::Error),
    /// The system refused the address.
    Tcp(SocketAddr, io::Error),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotLoopback(address) => write!(
                f,
                "cannot listen on {address}: there is no access control yet, so only addresses of this machine are \
                 allowed: 127.0.0.1:{0} or [::1]:{0}",
                address.port()
            ),
            Self::Socket(path, error) => write!(f, "cannot listen on {}: {error}", path.display()),
            Self::Tcp(address, error) => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Doors that are open and at which nobody is let in yet: callers wait.
#[derive(Debug, Default)]
pub struct Doors {
    unix: Option<UnixListener>,
    tcp: Option<(TcpListener, SocketAddr)>,
}

impl Doors {
    /// Opens them.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(listen: &Listen) -> Result<Self, OpenError> {
        let tcp = match listen.tcp {
            None => None,
            Some(address) if !address.ip().is_loopback() => return Err(OpenError::NotLoopback(address)),
            Some(address) => {
                let failed = |error| OpenError::Tcp(address, error);
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                Some((listener, bound))
            }
        };
        let unix = match &listen.socket {
            None => None,
            Some(path) => Some(bind(path).map_err(|error| OpenError::Socket(path.clone(), error))?),
        };
        Ok(Self { unix, tcp })
    }

    /// The TCP address, with the port that the system has chosen if it was asked to.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().map(|(_, address)| *address)
    }

    /// Lets callers in.
    #[must_use]
    pub fn serve(self, api: &Api) -> Server {
        let server = Server {
            api: api.clone(),
            router: router(api),
            closing: CancellationToken::new(),
            over: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        if let Some(listener) = self.unix {
            let server = server.clone();
            server.clone().connections.spawn(server.accept(Door::Trusted, async move || {
                let (stream, _) = listener.accept().await?;
                Ok(is_ours(&stream)?.then_some(stream))
            }));
        }
        if let Some((listener, address)) = self.tcp {
            let server = server.clone();
            server.clone().connections.spawn(server.accept(
                Door::Loopback(address.port()),
                async move || {
                    let (stream, _) = listener.accept().await?;
                    // Small answers go out at once.
                    let _ = stream.set_nodelay(true);
                    Ok(Some(stream))
                },
            ));
        }
        server
    }
}

/// Binds a socket that from its first moment only its owner can open, in the place of one that a dead process left.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

/// Whether the other side is our own user or root: the file's mode says so already, this says it again.
fn is_ours(stream: &UnixStream) -> io::Result<bool> {
    let peer = stream.peer_cred()?.uid();
    let ours = peer == 0 || peer == rustix::process::geteuid().as_raw();
    if !ours {
        tracing::warn!(uid = peer, "a connection of another user was refused");
    }
    Ok(ours)
}

/// A server at work. Clones are the same.
#[derive(Debug, Clone)]
pub struct Server {
    api: Api,
    router: Router,
    closing: CancellationToken,
    /// The grace of the close is over, too.
    over: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    /// The first step of a stop: nothing can be changed any more, reading and waiting go on.
    pub fn refuse_writes(&self) {
        self.api.refuse_writes();
    }

    /// The last step: no new connections; answers under way may end within a grace and are cut off then, so that
    /// nobody holds anything open by not reading. The socket file stays: a new process replaces it, and removing it
    /// here could remove that one's.
    pub async fn close(self) {
        self.closing.cancel();
        self.connections.close();
        tokio::select! {
            () = self.connections.wait() => {}
            () = self.clock().sleep(CLOSE_GRACE) => {
                self.over.cancel();
                self.connections.wait().await;
            }
        }
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.api.parts().clock
    }

    async fn accept<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        door: Door,
        next: impl AsyncFn() -> io::Result<Option<S>>,
    ) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let router = self.router.clone().layer(axum::Extension(door));
        loop {
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (place, next().await)
                } => accepted,
            };
            match accepted {
                (Ok(place), Ok(Some(stream))) => {
                    let (closing, over) = (self.closing.clone(), self.over.clone());
                    let router = router.clone();
                    self.connections.spawn(async move {
                        over.run_until_cancelled(converse(stream, router, closing)).await;
                        drop(place);
                    });
                }
                (_, Ok(None)) => {}
                // The semaphore is never closed.
                (Err(_), _) => return,
                (_, Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.clock().sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Answers one connection until it ends or the server closes.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    closing: CancellationToken,
) {
    let connection = http1::Builder::new()
        // The transport's own timer: what it bounds is a peer, not the engine.
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, "a connection broke");
    }
}
