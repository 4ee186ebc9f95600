//! HTTP to a daemon of this machine: one connection a request, over a unix socket or loopback TCP.

use crate::cli::error::{CliError, Exit};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use punctual_server::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Largest answer that is read whole: a page of 500 runs of the largest size fits.
const MAX_ANSWER: usize = 64 << 20;

/// Where a daemon is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Unix(PathBuf),
    Http(SocketAddr),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Http(address) => write!(f, "http://{address}"),
        }
    }
}

/// Speaks with one daemon.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    place: Place,
    token: Option<String>,
}

/// A request that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody answers, or somebody stopped to in the middle.
    Unreachable(String),
    /// It was answered with an error.
    Refused(StatusCode, wire::Error),
    /// The answer makes no sense.
    Nonsense(String),
}

impl Failure {
    /// Whether the same request may succeed a little later: the daemon is stopping, gone, or not there yet.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(status, _) => *status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Nonsense(_) => false,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(StatusCode::NOT_FOUND, _))
    }

    /// Whether it was there, and is kept no more.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Refused(StatusCode::GONE, _))
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(text) => Self::new(Exit::Unreachable, text),
            Failure::Nonsense(text) => Self::failed(text),
            Failure::Refused(status, error) => {
                let exit = match status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Denied,
                    StatusCode::NOT_FOUND | StatusCode::GONE => Exit::NotFound,
                    StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Exit::Conflict,
                    StatusCode::SERVICE_UNAVAILABLE => Exit::Unreachable,
                    status if status.is_client_error() => Exit::Usage,
                    _ => Exit::Failed,
                };
                Self::new(exit, error.message)
            }
        }
    }
}

/// What to ask.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Ask {
    fn new(method: Method, path: &[&str]) -> Self {
        // Each part on its own, so that no name can leave its place in the path.
        let path: String = path.iter().map(|part| format!("/{}", escaped(part))).collect();
        Self { method, path: format!("/v1{path}"), query: Vec::new(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: &[&str]) -> Self {
        Self::new(Method::POST, path)
    }

    /// A verb of something: `/v1/tasks/NAME:run`.
    pub(crate) fn verb(path: &[&str], verb: &str) -> Self {
        let mut ask = Self::post(path);
        ask.path.push(':');
        ask.path.push_str(verb);
        ask
    }

    pub(crate) fn put(path: &[&str]) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_value(body).unwrap_or_default());
        self
    }

    fn request(self, place: &Place, token: Option<&str>) -> Result<Request<Full<Bytes>>, Failure> {
        let mut target = self.path;
        for (n, (name, value)) in self.query.iter().enumerate() {
            target.push(if n == 0 { '?' } else { '&' });
            target.push_str(&format!("{name}={}", escaped(value)));
        }
        let host = match place {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Http(address) => address.to_string(),
        };
        let mut request = Request::builder().method(self.method).uri(target).header(header::HOST, host);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = match self.body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        request.body(body).map_err(|error| Failure::Nonsense(format!("this cannot be asked: {error}")))
    }
}

/// Percent-encodes everything but what needs none anywhere.
fn escaped(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// An answer that comes bit by bit.
#[derive(Debug)]
pub(crate) struct Streamed(Incoming);

impl Streamed {
    /// The next bit; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.0.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(Failure::Unreachable(format!("the connection broke: {error}")));
                }
            }
        }
    }
}

impl Client {
    pub(crate) fn new(place: Place, token: Option<String>) -> Self {
        Self { place, token }
    }

    /// Whether a daemon answers there. To be connected is not enough: the sockets of a killed one may take another
    /// moment to go.
    pub(crate) async fn answers(&self) -> bool {
        let mut ask = Ask::get(&[]);
        ask.path = "/livez".to_owned();
        self.send(ask).await.is_ok()
    }

    /// Asks, and reads the answer as what it should be.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, Failure> {
        let response = self.send(ask).await?;
        let bytes = whole(response.into_body()).await?;
        // An answer without a body (204) stands for nothing.
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes).map_err(|error| self.nonsense(&error))
    }

    /// Asks, and gives the answer on as it comes.
    pub(crate) async fn stream(&self, ask: Ask) -> Result<Streamed, Failure> {
        self.send(ask).await.map(|response| Streamed(response.into_body()))
    }

    async fn send(&self, ask: Ask) -> Result<Response<Incoming>, Failure> {
        let request = ask.request(&self.place, self.token.as_deref())?;
        let response = match &self.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.unreachable(&error))?;
                self.converse(stream, request).await?
            }
            Place::Http(address) => {
                let stream = TcpStream::connect(address).await.map_err(|error| self.unreachable(&error))?;
                self.converse(stream, request).await?
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = whole(response.into_body()).await?;
        let error = serde_json::from_slice(&bytes).map_err(|error| self.nonsense(&error))?;
        Err(Failure::Refused(status, error))
    }

    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        let broken = |error: hyper::Error| {
            Failure::Unreachable(format!("no daemon answers at {}: {error}", self.place))
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the answer; an error of it is the answer's too.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(broken)
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let place = &self.place;
        let text = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                format!("no daemon answers at {place}; is `punctual serve` running?")
            }
            _ => format!("no daemon answers at {place}: {error}"),
        };
        Failure::Unreachable(text)
    }

    fn nonsense(&self, error: &serde_json::Error) -> Failure {
        Failure::Nonsense(format!("what answers at {} is no daemon of this version: {error}", self.place))
    }
}

async fn whole(body: Incoming) -> Result<Bytes, Failure> {
    match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(Failure::Unreachable(format!("the answer broke off: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_place_in_the_path() {
        let ask = Ask::verb(&["tasks", "../a b?c#d/é%2f"], "run").with("wait", "1 s&x=y");
        let request = ask.request(&Place::Unix("s".into()), None).unwrap();
        assert_eq!(request.uri(), "/v1/tasks/..%2Fa%20b%3Fc%23d%2F%C3%A9%252f:run?wait=1%20s%26x%3Dy");
    }
}
