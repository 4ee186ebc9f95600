//! Hears of runs that another hand has ended or asked to stop: canceled while they waited, replaced, deleted.
//! Hints only: each makes somebody look into the store.

use crate::engine::Engine;
use crate::working::Order;
use punctual_model::{RunId, RunState, StopWhy};
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Listens until the executor is over.
pub(super) async fn run(engine: Arc<Engine>, mut changed: broadcast::Receiver<RunId>) {
    loop {
        let heard = tokio::select! {
            biased;
            () = engine.over.raised() => return,
            heard = changed.recv() => heard,
        };
        let changed_runs = match heard {
            Ok(run) => {
                let here = engine.registry.look(run);
                if here { vec![run] } else { Vec::new() }
            }
            // Some hints were missed: look at everything.
            Err(RecvError::Lagged(_)) => engine.registry.look_all(),
            Err(RecvError::Closed) => return,
        };
        // One that is not at work here may have been, and have hooks that are to hear of its end.
        engine.untold.notify_one();
        for run in changed_runs {
            match engine.store.run(run).await {
                Ok(Some(run)) => match run.state() {
                    // Our own timeouts are written by the attempt, which knows of them.
                    RunState::Stopping { why, .. } if why != StopWhy::Timeout => {
                        engine.stop_run(run.id, why).await;
                    }
                    // An end that is not of our making: somebody else has taken the run. Nothing we could
                    // record of it would be taken.
                    state if state.is_terminal() => {
                        engine.registry.order(run.id, Order::Abandon);
                    }
                    _ => {}
                },
                Ok(None) => {}
                Err(error) => tracing::warn!(run.id = %run, %error, "a changed run could not be read"),
            }
        }
    }
}
