//! Tasks: create, show, list, replace, delete, pause, resume, run.

use super::{MAX_WAIT, runs, split_verb, unknown_verb};
use crate::api::Api;
use crate::caller::{Caller, Writer};
use crate::encoding::{cursor, read_cursor};
use crate::problem::{Problem, json};
use crate::request::{Json, Query, Target, if_match, parse};
use crate::wire;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use punctual_coordinator::{Accepted, Change, RunRequest, ScheduleReport, TaskQuery};
use punctual_model::{TaskId, TaskStatus};
use punctual_store::StoredTask;
use serde_json::Value;

/// What can be done with a task besides reading and writing it.
pub(super) const VERBS: &[&str] = &["pause", "resume", "run"];

/// Dues shown by `next` if nobody says how many.
const NEXT: usize = 5;
/// Most dues shown by `next`: two months of a daily task.
const MAX_NEXT: usize = 100;

/// What kind of cursor a listing of tasks has.
const CURSOR: char = 't';

pub(super) async fn create(
    _: Writer,
    State(api): State<Api>,
    query: Query,
    body: Json<wire::TaskSpec>,
) -> Result<Response, Problem> {
    let query = query.only(&["dry_run"])?;
    let spec = body.required()?.into();
    if query.flag("dry_run")? {
        return judged(&api.tasks().check(&spec)?);
    }
    let written = api.tasks().create(spec).await?;
    let mut response = shown(StatusCode::CREATED, &written.stored, &written.schedule);
    locate(&mut response, &format!("/v1/tasks/{}", written.stored.task.id));
    Ok(response)
}

pub(super) async fn list(_: Caller, State(api): State<Api>, query: Query) -> Result<Response, Problem> {
    let query = query.only(&["name", "status", "label", "after", "limit"])?;
    let status = query.with("status", "active or paused", |text| match text {
        "active" => Some(TaskStatus::Active),
        "paused" => Some(TaskStatus::Paused),
        _ => None,
    })?;
    let labels = query.all("label").map(|label| {
        let (key, value) = label.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    });
    let labels = labels.collect::<Option<Vec<_>>>();
    let after =
        query.with("after", "the next_cursor of an earlier answer", |text| read_cursor(CURSOR, text))?;
    let asked = TaskQuery {
        name: query.text("name")?.map(str::to_owned),
        status,
        labels: labels.ok_or_else(|| Problem::invalid("parameter \"label\": expected key=value"))?,
        after: after.map(TaskId::from),
        limit: query.parsed("limit", "a number")?.unwrap_or_default(),
    };
    let page = api.tasks().list(asked).await?;
    let items = page.items.iter();
    let items = items.map(|stored| wire::Task::new(stored, &api.tasks().describe(&stored.task))).collect();
    let next_cursor = page.next.map(|id| cursor(CURSOR, id.get()));
    Ok(json(StatusCode::OK, &wire::Page { items, next_cursor }))
}

pub(super) async fn get(
    _: Caller,
    State(api): State<Api>,
    Target(task): Target,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let stored = api.tasks().find(&task).await?;
    Ok(shown(StatusCode::OK, &stored, &api.tasks().describe(&stored.task)))
}

pub(super) async fn replace(
    _: Writer,
    State(api): State<Api>,
    Target(task): Target,
    query: Query,
    headers: HeaderMap,
    body: Json<wire::TaskSpec>,
) -> Result<Response, Problem> {
    let query = query.only(&["dry_run"])?;
    let change = Change { expected: if_match(&headers)? };
    let spec = body.required()?.into();
    let stored = api.tasks().find(&task).await?;
    if query.flag("dry_run")? {
        return judged(&api.tasks().check(&spec)?);
    }
    let written = api.tasks().replace(stored.task.id, spec, change).await.map_err(precondition)?;
    Ok(shown(StatusCode::OK, &written.stored, &written.schedule))
}

pub(super) async fn delete(
    _: Writer,
    State(api): State<Api>,
    Target(task): Target,
    query: Query,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    query.only(&[])?;
    let stored = api.tasks().find(&task).await?;
    api.tasks().delete(stored.task.id, if_match(&headers)?).await.map_err(precondition)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn next(
    _: Caller,
    State(api): State<Api>,
    Target(task): Target,
    query: Query,
) -> Result<Response, Problem> {
    let query = query.only(&["n"])?;
    let expected = format!("a number from 1 to {MAX_NEXT}");
    let count =
        query.with("n", &expected, |text| text.parse().ok().filter(|n| (1..=MAX_NEXT).contains(n)))?;
    let stored = api.tasks().find(&task).await?;
    let dues = api.tasks().next(&stored.task, count.unwrap_or(NEXT));
    let items = dues.iter().map(wire::Due::from).collect();
    Ok(json(StatusCode::OK, &wire::Page { items, next_cursor: None }))
}

/// `task:pause`, `task:resume` and `task:run`.
pub(super) async fn verb(
    _: Writer,
    State(api): State<Api>,
    Target(target): Target,
    query: Query,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let (task, verb) = split_verb(&target)?;
    let change = Change { expected: if_match(&headers)? };
    // Read before anything is looked for: a body that is wrong is wrong for every task.
    let body: Json<Value> = Json::from_request(request, &api).await?;
    match verb {
        "pause" => {
            query.only(&[])?;
            let stored = api.tasks().find(task).await?;
            let written = api.tasks().pause(stored.task.id, change).await.map_err(precondition)?;
            Ok(shown(StatusCode::OK, &written.stored, &written.schedule))
        }
        "resume" => {
            query.only(&[])?;
            let wire::TaskResume { dues } = closed(body)?;
            let stored = api.tasks().find(task).await?;
            let resumed = api.tasks().resume(stored.task.id, change, dues.into()).await;
            let written = resumed.map_err(precondition)?;
            Ok(shown(StatusCode::OK, &written.stored, &written.schedule))
        }
        "run" => run(&api, task, &query.only(&["wait"])?, &headers, closed(body)?).await,
        verb => Err(unknown_verb(verb, VERBS)),
    }
}

/// The body as what this verb takes; its defaults if there is none.
fn closed<T: serde::de::DeserializeOwned + Default>(Json(body): Json<Value>) -> Result<T, Problem> {
    match body {
        None => Ok(T::default()),
        Some(value) => parse(value.to_string().as_bytes()),
    }
}

async fn run(
    api: &Api,
    task: &str,
    query: &Query,
    headers: &HeaderMap,
    mut request: wire::RunNow,
) -> Result<Response, Problem> {
    let wait = query.duration("wait")?;
    if let Some(key) = headers.get("idempotency-key") {
        let key = key.to_str().map_err(|_| Problem::invalid("Idempotency-Key: expected visible ASCII"))?;
        if request.idempotency_key.as_deref().is_some_and(|field| field != key) {
            return Err(Problem::invalid("the header Idempotency-Key and the field idempotency_key differ"));
        }
        request.idempotency_key = Some(key.to_owned());
    }
    let mut request = RunRequest::from(request);
    // One that is none, or more than one, is as none: by the specification a trace begins anew then.
    let mut traces = headers.get_all("traceparent").iter();
    request.trace = match (traces.next(), traces.next()) {
        (Some(one), None) => one.to_str().ok().and_then(|text| text.trim().parse().ok()),
        _ => None,
    };
    let accepted = api.tasks().run_found(task, request).await?;
    accepted_answer(api, accepted, wait).await
}

/// The answer to a request that made a run: where it is, and after a wait how it ended.
pub(super) async fn accepted_answer(
    api: &Api,
    accepted: Accepted,
    wait: Option<std::time::Duration>,
) -> Result<Response, Problem> {
    let Accepted { run, promise, existing } = accepted;
    let run = match wait {
        Some(wait) if !run.state().is_terminal() => tokio::select! {
            ended = promise.wait() => ended?,
            () = api.clock().sleep(wait.min(MAX_WAIT)) => api.tasks().run(run.id).await?,
        },
        _ => run,
    };
    let status = if run.state().is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let id = run.id;
    let mut response = json(status, &runs::named(api, run).await?);
    locate(&mut response, &format!("/v1/runs/{id}"));
    if existing {
        let name = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A change that was made to another revision than the caller has seen is a failed precondition, if the caller had
/// named one.
fn precondition(error: punctual_coordinator::Error) -> Problem {
    let failed = matches!(error, punctual_coordinator::Error::Changed { .. });
    let problem = Problem::from(error);
    if failed { problem.with_status(StatusCode::PRECONDITION_FAILED) } else { problem }
}

fn judged(schedule: &ScheduleReport) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &wire::Judged { schedule: schedule.into() }))
}

fn shown(status: StatusCode, stored: &StoredTask, schedule: &ScheduleReport) -> Response {
    let mut response = json(status, &wire::Task::new(stored, schedule));
    let tag = format!("\"r{}\"", stored.task.revision);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.into_response()
}

fn locate(response: &mut Response, path: &str) {
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
}
