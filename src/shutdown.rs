//! The signals that ask a program to end.

use crate::error::Error;

/// Resolves at the first SIGTERM or SIGINT (Ctrl-C). From the call on, these signals do not end the process by
/// themselves any more.
///
/// # Errors
/// [`Error::Io`] if the system lets nobody listen for signals.
pub async fn shutdown_signal() -> Result<&'static str, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|source| Error::Io { what: "listen for signals", source });
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
