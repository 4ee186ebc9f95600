//! Wake-ups from the store. A hint says: look now. Nothing is lost when all of them are.

use punctual_model::RunId;
use std::sync::Arc;
use tokio::sync::{Notify, broadcast};

/// What a listener gets.
#[derive(Debug)]
pub struct Hints {
    /// Runs may be ready to be claimed.
    pub ready: Arc<Notify>,
    /// Runs that ended or were asked to stop by another hand than the one that runs them: canceled while
    /// waiting, replaced, deleted. Who lags behind looks at everything it waits for.
    pub changed: broadcast::Receiver<RunId>,
}
