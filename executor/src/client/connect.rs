//! From a host to a connection: resolve once, judge each address, connect to exactly one that was judged.

use super::url::Target;
use super::{Client, ClientError};
use async_trait::async_trait;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// How long one address may take to answer, and then TLS with it: three lost packets of a handshake are resent
/// after 1, 2 and 4 seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most addresses tried of one name, so that one with many dead ones ends within a minute or so.
const MAX_ADDRESSES: usize = 6;

/// Where names come from.
#[async_trait]
pub(super) trait Resolve: Send + Sync {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of this machine.
pub(super) struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// A connection with or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects; answers the address too.
pub(super) async fn connect(client: &Client, target: &Target) -> Result<(Stream, SocketAddr), ClientError> {
    let host = || target.host.clone();
    let addresses = match target.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, target.port)],
        Err(_) => client
            .resolver
            .resolve(&target.host, target.port)
            .await
            .map_err(|error| ClientError::Resolve { host: host(), reason: error.to_string() })?,
    };
    let mut failed = ClientError::Resolve { host: host(), reason: "it has no address".to_owned() };
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        match open(client, target, address).await {
            Ok(stream) => return Ok((stream, address)),
            // Of several reasons the one that waiting could mend is told.
            Err(ClientError::Refused { .. }) if matches!(failed, ClientError::Connect { .. }) => {}
            Err(error @ (ClientError::Refused { .. } | ClientError::Connect { .. })) => failed = error,
            Err(error) => return Err(error),
        }
    }
    Err(failed)
}

async fn open(client: &Client, target: &Target, address: SocketAddr) -> Result<Stream, ClientError> {
    let host = || target.host.clone();
    // The address that is judged is the one that is connected to: there is no name between the two.
    let judged = client.egress.judge(address.ip());
    judged.map_err(|refused| ClientError::Refused { host: host(), refused })?;
    let no_connection = |reason: String| ClientError::Connect { host: host(), address, reason };
    let opening = async {
        let stream = TcpStream::connect(address).await.map_err(|error| no_connection(error.to_string()))?;
        // Requests are small and answers are waited for.
        let _ = stream.set_nodelay(true);
        if !target.secure {
            return Ok(Stream::Plain(stream));
        }
        client.tls.wrap(&target.host, stream).await.map(|stream| Stream::Tls(Box::new(stream)))
    };
    tokio::select! {
        biased;
        opened = opening => opened,
        () = client.clock.sleep(CONNECT_TIMEOUT) => {
            Err(no_connection(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
