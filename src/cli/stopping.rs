//! From the first signal to the end of the process. The order is written down in `docs/shutdown.md`.

use super::error::{CliError, Exit};
use punctual::{Error, Punctual, Stopped};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How a process ends that was told three times to: as a shell has it for SIGINT.
const INTERRUPTED: i32 = 130;

/// What an error of the engine means for the process.
pub(crate) fn engine_error(error: Error) -> CliError {
    let exit = match &error {
        error if error.is_fatal() => Exit::StoreFailed,
        Error::Open(punctual::store::fjall::OpenError::Locked { .. }) => Exit::Conflict,
        Error::Zone(_) => Exit::Usage,
        _ => Exit::Failed,
    };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    // A source whose words are in the text already says nothing new.
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    CliError::new(exit, text)
}

/// The signals that ask the process to end, listened for from its start to its end: one that comes while nobody
/// waits is kept until somebody does.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From here on, these signals do not end the process by themselves any more.
    pub(crate) fn listen() -> Result<Self, CliError> {
        let listen = |kind| {
            signal(kind).map_err(|error| CliError::failed(format_args!("cannot listen for signals: {error}")))
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            // The runtime ends, and this with it.
            else => std::future::pending().await,
        }
    }
}

/// Stops in order. A second signal ends the grace, a third one the process.
pub(crate) async fn stop(punctual: Punctual, mut signals: StopSignals) -> Result<Stopped, CliError> {
    let (hurry, hurried) = oneshot::channel();
    let listening = tokio::spawn(async move {
        signals.next().await;
        eprintln!("stopping now; once more ends the process at once");
        // Who is not there to hear it has stopped already.
        let _ = hurry.send(());
        signals.next().await;
        std::process::exit(INTERRUPTED);
    });
    let hurried = async {
        if hurried.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let stopped = punctual.stop_hurried_by(hurried).await.map_err(engine_error);
    listening.abort();
    stopped
}
