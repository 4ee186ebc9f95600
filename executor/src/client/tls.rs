//! TLS by rustls, trusting what this machine trusts (or the file in `SSL_CERT_FILE`).

use super::ClientError;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The configuration, read from the machine when it is first needed. An error is not kept: certificates may be
/// installed while the node runs.
#[derive(Default)]
pub(super) struct Tls(OnceCell<Arc<ClientConfig>>);

impl Tls {
    /// Speaks TLS over a connection, with a server that can prove that it is `host`.
    pub(super) async fn wrap(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let failed = |reason: String| ClientError::Tls { host: host.to_owned(), reason };
        let config = self.0.get_or_try_init(system_config).await.map_err(failed)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
        let connected = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        connected.map_err(|error| match error.kind() {
            // What rustls itself finds wrong: a certificate, a protocol. It will be so the next time.
            std::io::ErrorKind::InvalidData => failed(error.to_string()),
            _ => ClientError::Exchange { host: host.to_owned(), reason: error.to_string(), nonsense: false },
        })
    }
}

async fn system_config() -> Result<Arc<ClientConfig>, String> {
    // It reads a few hundred files.
    tokio::task::spawn_blocking(read_config).await.map_err(|error| error.to_string())?
}

fn read_config() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "this machine has no root certificates{why}; install ca-certificates or name a file in SSL_CERT_FILE"
        ));
    }
    config_with(roots)
}

/// Trusts these roots and nothing else.
fn config_with(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
impl Tls {
    /// Instead of what the machine trusts.
    pub(super) fn trusting(roots: RootCertStore) -> Self {
        Self(OnceCell::new_with(config_with(roots).ok()))
    }
}
