//! The HTTP client under the driver `http` and the fetching of artifacts: HTTP/1.1, TLS by rustls, one connection
//! a request.
//!
//! It decides which address is connected to and which redirects are followed, and says of each failure whether
//! another attempt could go better. No pool, no proxy from the environment, no decompression, no cookies: a
//! connection to an address that was judged belongs to one request and ends with it. Dropping a future of this
//! module closes its connection at once.

mod connect;
mod redirect;
mod tls;
mod url;

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

use crate::egress::{Egress, Refused};
use connect::{Resolve, SystemResolver};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use punctual_clock::Clock;
use redirect::Next;
use std::net::SocketAddr;
use std::sync::Arc;
use tls::Tls;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use url::shown;
pub use url::{BadUrl, check as check_url};

/// Most redirects followed: what curl and browsers allow is 50 and 20; a chain of more than ten is a loop.
pub const MAX_REDIRECTS: u32 = 10;

/// Largest head of a response in bytes. Servers allow requests between 8 and 64 KiB; what is larger than that is
/// broken or hostile.
const MAX_HEAD: usize = 64 << 10;

/// Most headers of a response, for the same reason.
const MAX_HEADERS: usize = 128;

/// What requests say of who sends them.
const USER_AGENT: &str = concat!("punctual/", env!("CARGO_PKG_VERSION"));

/// Sends requests.
pub struct Client {
    egress: Egress,
    clock: Arc<dyn Clock>,
    resolver: Box<dyn Resolve>,
    tls: Tls,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Where to; `http` or `https`, without credentials.
    pub url: Uri,
    /// Its headers, besides those that the client sets: see [`is_ours`].
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Whether redirects are followed, as far as that is harmless; else they are answered.
    pub follow: bool,
}

/// The head of an answer, with the connection that its body comes from.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The address that gave it.
    pub peer: SocketAddr,
    /// Where it is from, after all redirects.
    pub url: Uri,
    /// How many redirects were followed.
    pub redirects: u32,
    body: Incoming,
    /// Drives the connection; dropped, it closes it.
    _connection: AbortOnDropHandle<()>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none that this node may connect to.
    #[error("{host}: {refused}")]
    Refused {
        /// The name that led there.
        host: String,
        /// What was wrong with it.
        refused: Refused,
    },
    /// The name could not be resolved.
    #[error("{host} could not be resolved: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// No connection.
    #[error("no connection to {host} ({address}): {reason}")]
    Connect {
        /// The name.
        host: String,
        /// The last address that was tried.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// There is a connection, and nothing that could be trusted behind it.
    #[error("no TLS with {host}: {reason}")]
    Tls {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// The request was sent, or in part, and the answer did not come or not whole.
    #[error("the exchange with {host} broke off: {reason}")]
    Exchange {
        /// The name.
        host: String,
        /// Why.
        reason: String,
        /// Whether the server spoke what is not HTTP, or too much of it.
        nonsense: bool,
    },
    /// A redirect that is not followed.
    #[error("not redirected: {0}")]
    Redirect(String),
    /// A URL that nothing can be sent to.
    #[error(transparent)]
    Url(#[from] BadUrl),
}

impl ClientError {
    /// Whether another attempt could go better.
    #[must_use]
    pub fn is_recoverable(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } => true,
            Self::Exchange { nonsense, .. } => !nonsense,
            Self::Refused { .. } | Self::Tls { .. } | Self::Redirect(_) | Self::Url(_) => false,
        }
    }
}

/// Headers that belong to the connection, to the body or to the target: the client sets them, or nobody does.
/// Given by a task they could say something else than what is sent.
#[must_use]
pub fn is_ours(name: &HeaderName) -> bool {
    const OURS: [HeaderName; 9] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::EXPECT,
        HeaderName::from_static("keep-alive"),
    ];
    OURS.contains(name) || name.as_str().starts_with("proxy-")
}

impl Client {
    /// A client that goes where the rules let it.
    #[must_use]
    pub fn new(egress: Egress, clock: Arc<dyn Clock>) -> Self {
        Self { egress, clock, resolver: Box::new(SystemResolver), tls: Tls::default() }
    }

    /// Sends a request and answers the head of the response, after the redirects that are followed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: &Request) -> Result<Response, ClientError> {
        let mut hop = request.clone();
        for redirects in 0..=MAX_REDIRECTS {
            let mut response = self.send_once(&hop).await?;
            response.redirects = redirects;
            match redirect::next(&hop, &response)? {
                Next::Answer => return Ok(response),
                Next::Follow(request) => hop = *request,
            }
        }
        Err(ClientError::Redirect(format!("there were more than {MAX_REDIRECTS} redirects")))
    }

    async fn send_once(&self, request: &Request) -> Result<Response, ClientError> {
        let target = url::target(&request.url)?;
        let (stream, peer) = connect::connect(self, &target).await?;
        let broken = |error: &hyper::Error| ClientError::Exchange {
            host: target.host.clone(),
            reason: chain(error),
            nonsense: error.is_parse() || error.is_parse_too_large(),
        };
        let mut connecting = http1::Builder::new();
        connecting.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
        let (mut sender, connection) =
            connecting.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // What goes wrong with the connection is heard where the answer is waited for.
        let driven = tokio::spawn(async move { drop(connection.await) });
        let connection = AbortOnDropHandle::new(driven);
        let response =
            sender.send_request(message(request, &target)?).await.map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        Ok(Response {
            status: head.status,
            headers: head.headers,
            peer,
            url: request.url.clone(),
            redirects: 0,
            body,
            _connection: connection,
        })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("egress", &self.egress).finish_non_exhaustive()
    }
}

impl Response {
    /// The next piece of the body; none at its end.
    ///
    /// # Errors
    /// [`ClientError::Exchange`] if it ends before its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| ClientError::Exchange {
                host: self.url.host().unwrap_or_default().to_owned(),
                reason: chain(&error),
                nonsense: error.is_parse(),
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// How long the server asks to be left alone, in seconds, if it says so in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
    }
}

/// The request as it goes over the wire: its target without the server, its server in `Host`.
fn message(request: &Request, target: &url::Target) -> Result<hyper::Request<Full<Bytes>>, BadUrl> {
    let mut message = hyper::Request::new(Full::new(request.body.clone()));
    *message.method_mut() = request.method.clone();
    *message.uri_mut() = target.origin_form.clone();
    let headers = message.headers_mut();
    headers.insert(header::HOST, target.host_header.clone());
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    for name in request.headers.keys() {
        headers.remove(name);
    }
    headers.extend(request.headers.clone());
    // One request a connection: servers need not wait for another.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(message)
}

/// An error with the errors behind it, which say what really happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        behind = error.source();
    }
    text
}
