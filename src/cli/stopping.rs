//! From the first signal to the end of the process. The order is written down in `docs/shutdown.md`.

use super::error::{CliError, Exit};
use punctual::{Error, Punctual, Stopped, shutdown_signal};

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

/// Stops in order. A second signal ends the grace, a third one the process.
pub(crate) async fn stop(punctual: Punctual) -> Result<Stopped, CliError> {
    let second = async {
        if shutdown_signal().await.is_err() {
            std::future::pending::<()>().await;
        }
        eprintln!("stopping now; once more ends the process at once");
        tokio::spawn(async {
            if shutdown_signal().await.is_ok() {
                std::process::exit(130);
            }
        });
    };
    punctual.stop_hurried_by(second).await.map_err(engine_error)
}
