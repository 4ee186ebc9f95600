//! What people ask of running work that is not its end: to begin again, or to hear a signal.

use crate::attempt::bounded;
use crate::engine::Engine;
use crate::error::Error;
use punctual_model::event::{Event, EventKind};
use punctual_model::{Run, RunEvent, RunId, RunState, StopWhy};
use punctual_store::{Edge, EdgeAnswer, Fence, Patch};

/// What became of something that was asked of running work.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// It is so, durably: the record as it is then.
    Done(Run),
    /// Nothing of the run is at work here that could do it; the record tells where the run is.
    NotAtWork(Run),
    /// Its driver cannot, in the driver's own words.
    Refused(String),
    /// There is no such run.
    Unknown,
}

/// Writes down that the work of a run shall begin again, and has this attempt ended. The wish is durable before anything
/// is done about it, and nobody decides what follows the attempt while it is being written: so what is answered as done
/// comes about, whatever dies when.
pub(crate) async fn restart(engine: &Engine, id: RunId, reason: String) -> Result<Asked, Error> {
    engine.check()?;
    let asking = engine.registry.at_work(id).and_then(|working| working.ask());
    let Some(run) = engine.store.run(id).await? else { return Ok(Asked::Unknown) };
    if matches!(run.state(), RunState::Stopping { why: StopWhy::Restart, .. }) {
        return Ok(Asked::Done(run));
    }
    if asking.is_none() || !matches!(run.state(), RunState::Starting | RunState::Running) {
        return Ok(Asked::NotAtWork(run));
    }
    let (at, why) = (engine.clock.now(), StopWhy::Restart);
    let patch = Patch {
        events: vec![Event { at, kind: bounded(EventKind::RestartAsked { reason }) }],
        ..Patch::default()
    };
    let edge = Edge { run: id, fence: Fence::of(&run), event: RunEvent::StopAsked { why, at }, at, patch };
    let answers = engine.checked(engine.store.transition(&engine.session, vec![edge]).await)?;
    Ok(match answers.into_iter().next() {
        Some(EdgeAnswer::Applied(run)) => {
            engine.registry.stop(id, why);
            Asked::Done(run)
        }
        Some(EdgeAnswer::Stale(run)) => match run.state() {
            RunState::Stopping { why: StopWhy::Restart, .. } => Asked::Done(run),
            _ => Asked::NotAtWork(run),
        },
        Some(EdgeAnswer::Unknown) | None => Asked::Unknown,
    })
}

/// Has the work of a run given a signal.
pub(crate) async fn signal(engine: &Engine, id: RunId, signal: String) -> Result<Asked, Error> {
    engine.check()?;
    let answered = engine.registry.at_work(id).and_then(|working| working.signal(signal));
    let given = match answered {
        Some(answered) => answered.await.ok(),
        None => None,
    };
    let Some(run) = engine.store.run(id).await? else { return Ok(Asked::Unknown) };
    Ok(match given {
        Some(Ok(())) => Asked::Done(run),
        Some(Err(text)) => Asked::Refused(text),
        None => Asked::NotAtWork(run),
    })
}
