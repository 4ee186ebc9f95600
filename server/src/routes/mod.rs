//! The route table, and the handlers by what they are about. Handlers translate and call the coordinator.

mod events;
mod health;
mod logs;
mod metrics;
mod runs;
mod tasks;

pub use logs::HEARTBEAT;

use crate::api::Api;
use crate::caller::{Caller, refuse_strangers};
use crate::problem::Problem;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use punctual_model::ErrorCode;
use std::time::Duration;

/// Longest that a request waits for the end of a run before it answers how things stand: below what proxies cut off.
pub const MAX_WAIT: Duration = Duration::from_secs(300);

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody who reaches it; says nothing but yes or no.
    Open,
    /// Callers.
    Read,
    /// Callers, while things can be changed.
    Write,
}

/// One route as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{…}` for what varies.
    pub path: &'static str,
    /// What may follow the path after a colon (`/v1/tasks/{task}:run`); empty for the plain path.
    pub verbs: &'static [&'static str],
    /// Who may use it.
    pub access: Access,
}

struct Entry {
    route: Route,
    handler: MethodRouter<Api>,
}

macro_rules! entry {
    ($method:ident $path:literal $access:ident $handler:expr) => {
        entry!($method $path $access $handler, &[])
    };
    ($method:ident $path:literal $access:ident $handler:expr, $verbs:expr) => {
        Entry {
            route: Route { method: Method::$method, path: $path, verbs: $verbs, access: Access::$access },
            handler: on(MethodFilter::$method, $handler),
        }
    };
}

/// Every route there is.
fn table() -> Vec<Entry> {
    vec![
        entry!(GET "/livez" Open health::livez),
        entry!(GET "/readyz" Open health::readyz),
        entry!(GET "/metrics" Read metrics::metrics),
        entry!(GET "/v1/health" Read health::health),
        entry!(GET "/v1/tasks" Read tasks::list),
        entry!(POST "/v1/tasks" Write tasks::create),
        entry!(GET "/v1/tasks/{task}" Read tasks::get),
        entry!(PUT "/v1/tasks/{task}" Write tasks::replace),
        entry!(DELETE "/v1/tasks/{task}" Write tasks::delete),
        entry!(POST "/v1/tasks/{task}" Write tasks::verb, tasks::VERBS),
        entry!(GET "/v1/tasks/{task}/runs" Read runs::of_task),
        entry!(GET "/v1/tasks/{task}/counts" Read runs::counts),
        entry!(GET "/v1/tasks/{task}/next" Read tasks::next),
        entry!(GET "/v1/runs" Read runs::list),
        entry!(GET "/v1/runs/{run}" Read runs::get),
        entry!(POST "/v1/runs/{run}" Write runs::verb, runs::VERBS),
        entry!(GET "/v1/runs/{run}/events" Read events::events),
        entry!(GET "/v1/runs/{run}/logs" Read logs::logs),
    ]
}

/// The table without its handlers: for documentation, and for tests that try every door.
#[must_use]
pub fn routes() -> Vec<Route> {
    table().into_iter().map(|entry| entry.route).collect()
}

/// The API as a router. Each request has to carry a [`Door`](crate::Door) as an extension; a program that embeds
/// the engine and checks its callers itself lays [`Door::Trusted`](crate::Door::Trusted) over it.
pub fn router(api: &Api) -> Router {
    let mut router = Router::new();
    for Entry { route, handler } in table() {
        router = router.route(route.path, handler);
    }
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(from_fn_with_state(api.clone(), refuse_strangers))
        .layer(map_response(signed))
        .with_state(api.clone())
}

async fn nowhere(_: Caller) -> Problem {
    Problem::new(ErrorCode::NotFound, "there is nothing at this path")
}

async fn not_so(_: Caller) -> Problem {
    Problem::new(ErrorCode::MethodNotAllowed, "this path does not know this method")
}

/// What every answer carries: who answers, and that nobody keeps or reinterprets it.
async fn signed(mut response: Response) -> Response {
    const LINES: [(&str, &str); 3] = [
        ("punctual-version", env!("CARGO_PKG_VERSION")),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    for (name, value) in LINES {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// The parts of `target:verb`.
fn split_verb(target: &str) -> Result<(&str, &str), Problem> {
    target.rsplit_once(':').ok_or_else(|| {
        Problem::new(ErrorCode::MethodNotAllowed, "what is to be done has to follow the id after a colon")
    })
}

fn unknown_verb(verb: &str, known: &[&str]) -> Problem {
    let hint = crate::request::hint(verb, known.iter().copied());
    Problem::new(ErrorCode::NotFound, format_args!("nothing is called {verb:?} here{hint}"))
}
