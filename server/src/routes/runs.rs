//! Runs: list, show, wait for, cancel, restart, signal, retry, resume.

use super::tasks::accepted_answer;
use super::{MAX_WAIT, split_verb, unknown_verb};
use crate::api::Api;
use crate::caller::{Caller, Writer};
use crate::encoding::{cursor, read_cursor};
use crate::problem::{Problem, json};
use crate::request::{Json, Query, Target};
use crate::wire;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use punctual_coordinator::{Error, RunQuery};
use punctual_model::{ErrorCode, Run, RunId, RunStateName, TaskId};
use serde::Deserialize;
use std::collections::HashMap;

/// What can be done with a run.
pub(super) const VERBS: &[&str] = &["cancel", "restart", "retry", "resume", "signal"];

/// What kind of cursor a listing of runs has.
const CURSOR: char = 'r';

/// The bodies of all verbs in one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// Why: of a restart.
    reason: Option<String>,
    /// Which: of a signal.
    signal: Option<String>,
}

impl Body {
    /// Refuses what the verb does not take.
    fn only(self, fields: &[&str]) -> Result<Self, Problem> {
        let given = [("reason", self.reason.is_some()), ("signal", self.signal.is_some())];
        match given.into_iter().find(|(field, is_given)| *is_given && !fields.contains(field)) {
            Some((field, _)) => Err(Problem::invalid(format_args!("field {field:?} means nothing here"))),
            None => Ok(self),
        }
    }
}

const FILTERS: [&str; 6] = ["state", "from", "until", "after", "limit", "oldest_first"];

pub(super) async fn list(_: Caller, State(api): State<Api>, query: Query) -> Result<Response, Problem> {
    let query = query.only(&[&FILTERS[..], &["task"]].concat())?;
    let task = match query.text("task")? {
        None => None,
        Some(text) => Some(task_id(&api, text).await?),
    };
    listed(&api, task, &query).await
}

pub(super) async fn of_task(
    _: Caller,
    State(api): State<Api>,
    Target(task): Target,
    query: Query,
) -> Result<Response, Problem> {
    let query = query.only(&FILTERS)?;
    let task = task_id(&api, &task).await?;
    listed(&api, Some(task), &query).await
}

/// How many runs of a task are in which state.
pub(super) async fn counts(
    _: Caller,
    State(api): State<Api>,
    Target(task): Target,
    query: Query,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let counts = api.tasks().counts(task_id(&api, &task).await?).await?;
    Ok(json(StatusCode::OK, &wire::RunCounts::from(counts)))
}

/// By id also of a task that was deleted and has left its history.
async fn task_id(api: &Api, text: &str) -> Result<TaskId, Problem> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(api.tasks().get_by_name(text).await?.task.id),
    }
}

async fn listed(api: &Api, task: Option<TaskId>, query: &Query) -> Result<Response, Problem> {
    let mut states = Vec::new();
    for text in query.all("state").flat_map(|text| text.split(',')) {
        let state = RunStateName::parse(text).ok_or_else(|| {
            let hint = crate::request::hint(text, RunStateName::ALL.iter().map(|state| state.as_str()));
            Problem::invalid(format_args!("parameter \"state\": no state is called {text:?}{hint}"))
        })?;
        states.push(state);
    }
    let instant = "an instant such as 2027-03-28T01:30:00Z";
    let after =
        query.with("after", "the next_cursor of an earlier answer", |text| read_cursor(CURSOR, text))?;
    let asked = RunQuery {
        task,
        states,
        from: query.parsed("from", instant)?,
        until: query.parsed("until", instant)?,
        oldest_first: query.flag("oldest_first")?,
        after: after.map(RunId::from),
        limit: query.parsed("limit", "a number")?.unwrap_or_default(),
    };
    let page = api.tasks().runs(asked).await?;
    let mut names = HashMap::new();
    let mut items = Vec::with_capacity(page.items.len());
    for run in page.items {
        let name = match names.get(&run.task) {
            Some(name) => String::clone(name),
            None => names.entry(run.task).or_insert(name_of(api, &run).await?).clone(),
        };
        items.push(wire::Run::new(run, name));
    }
    let next_cursor = page.next.map(|id| cursor(CURSOR, id.get()));
    Ok(json(StatusCode::OK, &wire::Page { items, next_cursor }))
}

pub(super) async fn get(
    _: Caller,
    State(api): State<Api>,
    Target(run): Target,
    query: Query,
) -> Result<Response, Problem> {
    let query = query.only(&["wait"])?;
    let id = run_id(&run)?;
    let mut run = api.tasks().run(id).await?;
    if let Some(wait) = query.duration("wait")?
        && !run.state().is_terminal()
    {
        let promise = api.tasks().promise(id).await?;
        run = tokio::select! {
            ended = promise.wait() => ended?,
            () = api.clock().sleep(wait.min(MAX_WAIT)) => api.tasks().run(id).await?,
        };
    }
    Ok(json(StatusCode::OK, &named(&api, run).await?))
}

/// `run:cancel`, `run:restart`, `run:signal`, `run:retry` and `run:resume`.
pub(super) async fn verb(
    _: Writer,
    State(api): State<Api>,
    Target(target): Target,
    query: Query,
    Json(body): Json<Body>,
) -> Result<Response, Problem> {
    let (run, verb) = split_verb(&target)?;
    let id = run_id(run)?;
    let body = body.unwrap_or_default().only(match verb {
        "restart" => &["reason"],
        "signal" => &["signal"],
        _ => &[],
    })?;
    match verb {
        "cancel" => {
            query.only(&[])?;
            let run = api.tasks().cancel(id).await?;
            let status = if run.state().is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
            Ok(json(status, &named(&api, run).await?))
        }
        "restart" => {
            query.only(&[])?;
            let run = api.tasks().restart_run(id, &body.reason.unwrap_or_default()).await?;
            Ok(json(StatusCode::ACCEPTED, &named(&api, run).await?))
        }
        "signal" => {
            query.only(&[])?;
            let missing = "field \"signal\": the name or the number of a signal is needed";
            let signal = body.signal.ok_or_else(|| Problem::new(ErrorCode::EmptyValue, missing))?;
            let run = api.tasks().signal_run(id, &signal).await?;
            Ok(json(StatusCode::OK, &named(&api, run).await?))
        }
        "retry" => {
            let wait = query.only(&["wait"])?.duration("wait")?;
            accepted_answer(&api, api.tasks().retry(id).await?, wait).await
        }
        "resume" => {
            let wait = query.only(&["wait"])?.duration("wait")?;
            accepted_answer(&api, api.tasks().resume_run(id).await?, wait).await
        }
        verb => Err(unknown_verb(verb, VERBS)),
    }
}

pub(super) fn run_id(text: &str) -> Result<RunId, Problem> {
    text.parse().map_err(|error| Problem::new(ErrorCode::Invalid, error))
}

/// The run with the name of its task.
pub(super) async fn named(api: &Api, run: Run) -> Result<wire::Run, Problem> {
    let name = name_of(api, &run).await?;
    Ok(wire::Run::new(run, name))
}

/// The name of the run's task at the revision that it used; its id if that is gone.
async fn name_of(api: &Api, run: &Run) -> Result<String, Problem> {
    match api.tasks().revision(run.task, run.revision).await {
        Ok(task) => Ok(task.spec.name.clone()),
        Err(Error::TaskNotFound) => Ok(run.task.to_string()),
        Err(error) => Err(error.into()),
    }
}
