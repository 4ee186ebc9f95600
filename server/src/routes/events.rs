//! What happens to a run: so far, or as it happens until its end. A reader that lags is told how much it missed.

use super::logs::HEARTBEAT;
use super::runs::run_id;
use crate::api::Api;
use crate::caller::Caller;
use crate::problem::{Problem, json};
use crate::request::{Query, Target};
use crate::wire::{self, EventLine};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream::{BoxStream, StreamExt as _, unfold};
use punctual_clock::{Clock, Wait};
use punctual_executor::{RunPromise, Told};
use std::convert::Infallible;
use std::sync::Arc;

pub(super) async fn events(
    _: Caller,
    State(api): State<Api>,
    Target(run): Target,
    query: Query,
) -> Result<Response, Problem> {
    let query = query.only(&["follow"])?;
    let id = run_id(&run)?;
    if !query.flag("follow")? {
        let run = api.tasks().run(id).await?;
        let items = run.events.iter().map(wire::Event::new).collect();
        return Ok(json(StatusCode::OK, &wire::Page { items, next_cursor: None }));
    }
    let promise = api.tasks().promise(id).await?;
    let told = promise.events().await.map_err(punctual_coordinator::Error::from)?;
    let clock = Arc::clone(&api.parts().clock);
    let quiet = clock.sleep(HEARTBEAT);
    let following = Following { told, promise, clock, quiet };
    let lines = unfold(Some(following), async |following| {
        let mut following = following?;
        let line = following.next().await;
        let is_last = matches!(line, EventLine::End { .. } | EventLine::Error(_));
        // These types have no form that is no JSON.
        let text = serde_json::to_string(&line).unwrap_or_default();
        Some((Ok::<_, Infallible>(Bytes::from(text + "\n")), (!is_last).then_some(following)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let content_type = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}

struct Following {
    told: BoxStream<'static, Told>,
    promise: Arc<dyn RunPromise>,
    clock: Arc<dyn Clock>,
    quiet: Wait,
}

impl Following {
    async fn next(&mut self) -> EventLine {
        tokio::select! {
            biased;
            told = self.told.next() => {
                self.quiet = self.clock.sleep(HEARTBEAT);
                match told {
                    Some(Told::Event(event)) => EventLine::Event { event: wire::Event::new(&event) },
                    Some(Told::Missed(events)) => EventLine::Missed { events },
                    Some(Told::State(state)) => EventLine::State { state: state.name() },
                    None => match self.promise.wait().await {
                        Ok(run) => EventLine::End { run: run.id, state: run.state().name() },
                        Err(error) => EventLine::Error(Problem::from(error).into_error()),
                    },
                }
            }
            () = &mut self.quiet => {
                self.quiet = self.clock.sleep(HEARTBEAT);
                EventLine::Heartbeat
            }
        }
    }
}
