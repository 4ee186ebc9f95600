//! What a person means by a beginning of an id or by a name.

use super::client::{Ask, Client, Failure};
use crate::cli::error::{CliError, Exit};
use punctual::model::{RunId, TaskId};
use punctual_server::wire;
use serde_json::Value;

/// Digits of an id.
const DIGITS: usize = 16;

/// How alike two names have to be for one to be suggested for the other.
const ALIKE: f64 = 0.8;

/// Candidates that are named when several fit.
const NAMED: usize = 5;

pub(crate) type Task = wire::Task<Value>;

/// The task with this name, id, or beginning of an id that only one task has.
pub(crate) async fn task(client: &Client, text: &str) -> Result<Task, CliError> {
    match client.ask(Ask::get(&["tasks", text])).await {
        Ok(task) => return Ok(task),
        Err(failure) if failure.is_not_found() => {}
        Err(failure) => return Err(failure.into()),
    }
    let all = tasks(client, Ask::get(&["tasks"])).await?;
    let digits = text.to_ascii_lowercase();
    let mut fitting: Vec<Task> = all
        .iter()
        .filter(|task| is_digits(text) && task.id.to_string().starts_with(&digits))
        .cloned()
        .collect();
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        0 => {
            let names = all.iter().filter_map(|task| name(task));
            let scored = names.map(|name| (strsim::jaro_winkler(text, name), name));
            let best = scored.filter(|(score, _)| *score >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b));
            let hint = best.map(|(_, name)| format!("; did you mean {name:?}?")).unwrap_or_default();
            Err(CliError::new(Exit::NotFound, format_args!("no task is named {text:?}{hint}")))
        }
        _ => {
            let ids = fitting.iter().map(|task| format!("{} ({})", task.id, name(task).unwrap_or_default()));
            Err(several(text, ids))
        }
    }
}

/// All tasks that a listing gives, page by page.
pub(crate) async fn tasks(client: &Client, ask: Ask) -> Result<Vec<Task>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let mut ask = ask.clone().with("limit", 500);
        if let Some(after) = after {
            ask = ask.with("after", after);
        }
        let page: wire::Page<Task> = client.ask(ask).await?;
        all.extend(page.items);
        after = page.next_cursor;
        if after.is_none() {
            return Ok(all);
        }
    }
}

pub(crate) fn name(task: &Task) -> Option<&str> {
    task.spec.get("name")?.as_str()
}

/// The run with this id, or beginning of an id that only one run has; by a task's name its newest run.
pub(crate) async fn run(client: &Client, text: &str) -> Result<wire::Run, CliError> {
    if text.parse::<RunId>().is_ok() {
        match client.ask(Ask::get(&["runs", text])).await {
            Ok(run) => return Ok(run),
            // It may be the id of a task.
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    match client.ask::<Task>(Ask::get(&["tasks", text])).await {
        Ok(task) => newest(client, task.id, text).await,
        Err(failure) if failure.is_not_found() => match is_digits(text) && text.len() < DIGITS {
            true => by_prefix(client, &text.to_ascii_lowercase()).await,
            false => Err(CliError::new(
                Exit::NotFound,
                format_args!("no run has the id {text:?}, and no task that name"),
            )),
        },
        Err(failure) => Err(failure.into()),
    }
}

async fn newest(client: &Client, task: TaskId, text: &str) -> Result<wire::Run, CliError> {
    let ask = Ask::get(&["runs"]).with("task", task).with("limit", 1);
    let page: wire::Page<wire::Run> = client.ask(ask).await?;
    let none = || CliError::new(Exit::NotFound, format_args!("task {text:?} has no run yet"));
    page.items.into_iter().next().ok_or_else(none)
}

/// Ids sort by time and so do listings: the search ends where ids become too small.
async fn by_prefix(client: &Client, digits: &str) -> Result<wire::Run, CliError> {
    let (mut found, mut after) = (Vec::<wire::Run>::new(), None::<String>);
    loop {
        let mut ask = Ask::get(&["runs"]).with("limit", 500);
        if let Some(after) = after {
            ask = ask.with("after", after);
        }
        let page: wire::Page<wire::Run> = client.ask(ask).await?;
        let passed = page.items.last().is_some_and(|run| run.id.to_string().as_str() < digits);
        found.extend(page.items.into_iter().filter(|run| run.id.to_string().starts_with(digits)));
        after = page.next_cursor;
        if after.is_none() || passed || found.len() > NAMED {
            break;
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(CliError::new(Exit::NotFound, format_args!("no run has an id that begins with {digits:?}"))),
        _ => Err(several(digits, found.iter().map(|run| format!("{} ({})", run.id, run.task_name)))),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn several(text: &str, ids: impl Iterator<Item = String>) -> CliError {
    let ids: Vec<String> = ids.take(NAMED + 1).collect();
    let more = if ids.len() > NAMED { " …" } else { "" };
    let named = &ids[..ids.len().min(NAMED)];
    CliError::new(Exit::NotFound, format_args!("{text:?} begins several ids: {}{more}", named.join(", ")))
}
