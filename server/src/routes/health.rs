//! How the node is: whether it is late, what it knows, and what it had to set aside.

use crate::api::Api;
use crate::caller::Caller;
use crate::problem::{Problem, json};
use crate::request::Query;
use crate::wire;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::time::Duration;

/// How long a due may wait for its record before the node is called behind: many times what a loaded machine
/// needs, and less than a minutely task has until its next one.
const LATE: Duration = Duration::from_secs(60);

pub(super) async fn livez() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(api): State<Api>) -> Response {
    match status(&api) {
        "ok" => "ok\n".into_response(),
        other => (StatusCode::SERVICE_UNAVAILABLE, format!("{other}\n")).into_response(),
    }
}

pub(super) async fn health(_: Caller, State(api): State<Api>, query: Query) -> Result<Response, Problem> {
    query.only(&[])?;
    let parts = api.parts();
    let scheduler = parts.scheduler.statistics();
    let store = parts.store.stats();
    let answer = wire::Health {
        status: status(&api).to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: parts.clock.now(),
        time_zones: wire::Zones { default: parts.default_zone.clone(), source: parts.zone_source.clone() },
        oldest_unrecorded_due: scheduler.overdue_since,
        scheduler: wire::Scheduling {
            tasks: scheduler.tasks,
            waiting: scheduler.waiting,
            next_run_at: scheduler.next_run_at,
            dues_handed_out: scheduler.dues_handed_out,
        },
        runs: wire::RunTotals { waiting: store.waiting, at_work: store.at_work },
        store: wire::StoreFigures {
            commits: store.commits,
            requests: store.requests,
            sequence: store.sequence,
        },
        unschedulable: parts
            .coordinator
            .unschedulable()
            .into_iter()
            .map(|task| wire::Unschedulable { task: task.task, name: task.name, reason: task.reason })
            .collect(),
        quarantined: parts
            .store
            .quarantined()
            .into_iter()
            .map(|record| wire::Quarantined { kind: record.kind, key: record.key, reason: record.reason })
            .collect(),
    };
    Ok(json(StatusCode::OK, &answer))
}

fn status(api: &Api) -> &'static str {
    let parts = api.parts();
    let late = parts.scheduler.statistics().overdue_since.is_some_and(|since| {
        Duration::try_from(parts.clock.now().duration_since(since)).is_ok_and(|late| late > LATE)
    });
    match (api.is_stopping(), late) {
        (true, _) => "stopping",
        (false, true) => "behind",
        (false, false) => "ok",
    }
}
