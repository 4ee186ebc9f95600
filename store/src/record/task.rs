//! A task on disk: JSON, as its user writes it, with defaults left out. Tasks are few and change seldom, so
//! being readable with any tool is worth more than bytes.

use super::{Unreadable, VERSION, body};
use punctual_model::Task;

/// The record of one revision of a task.
pub(crate) fn encode_task(task: &Task) -> Result<Vec<u8>, Unreadable> {
    let mut record = vec![VERSION];
    serde_json::to_writer(&mut record, task).map_err(Unreadable::content)?;
    Ok(record)
}

/// The task again.
pub(crate) fn decode_task(record: &[u8]) -> Result<Task, Unreadable> {
    serde_json::from_slice(body(record)?).map_err(Unreadable::content)
}
