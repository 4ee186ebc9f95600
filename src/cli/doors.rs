//! The daemon's remote control: a unix socket in the data directory and, when asked for, loopback TCP with a token.

use super::error::CliError;
use punctual::Punctual;
use punctual_server::{Api, Doors, Listen, OpenError, Parts, SOCKET, Server, Token};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Longest path of a unix socket on every system we run on, with what its making needs.
const MAX_SOCKET_PATH: usize = 100;

/// `--listen`: an address of this machine.
pub(crate) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let address: SocketAddr =
        numeric.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:7878".to_owned())?;
    if address.ip().is_loopback() { Ok(address) } else { Err(OpenError::NotLoopback(address).to_string()) }
}

/// Opens the doors and lets callers in; answers what to tell people about it.
pub(crate) async fn open(
    punctual: &Punctual,
    data: &Path,
    tcp: Option<SocketAddr>,
    default_zone: &str,
) -> Result<(Server, String), CliError> {
    let token_file = data.join(Token::FILE);
    let token = Token::open(&token_file).map_err(|error| {
        CliError::failed(format_args!("the token file {}: {error}", token_file.display()))
    })?;
    let path = data.join(SOCKET);
    let fits = path.as_os_str().len() <= MAX_SOCKET_PATH;
    let listen = Listen { socket: fits.then(|| path.clone()), tcp };
    let doors = Doors::open(&listen).await.map_err(CliError::failed)?;
    let mut text = if fits {
        format!("listening on {}\n", path.display())
    } else {
        let why = "its path is too long for a unix socket; use --listen";
        format!("no remote control through {}: {why}\n", path.display())
    };
    if let Some(address) = doors.tcp() {
        text.push_str(&format!("listening on http://{address}, token in {}\n", token_file.display()));
    }
    let api = Api::new(Parts {
        coordinator: punctual.coordinator().clone(),
        scheduler: punctual.scheduler().clone(),
        store: Arc::clone(punctual.store()),
        executor: punctual.executor(),
        outputs: punctual.outputs().clone(),
        clock: Arc::clone(punctual.clock()),
        default_zone: default_zone.to_owned(),
        zone_source: super::serve::zone_source().to_owned(),
        token: Some(token),
    });
    Ok((doors.serve(&api), text))
}
