//! What a start is told over heads of this build and of earlier ones.

use super::key;
use super::open::open;
use super::options::Options;
use crate::ledger::{Digest, Head, HeadStatus, read};
use crate::record;
use punctual_model::{Owner, Task, TaskId, TaskProgress, TaskSpec, TaskType, Timing, Work};
use std::sync::Arc;
use std::time::Duration;

/// A store that an earlier build has written starts as it did, and so does one that both have written to.
#[test]
fn where_a_head_says_nothing_about_time_the_definition_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(&folder.path().join("data"), &Options::default()).unwrap();
    let core = &opened.core;
    let mut expected = Vec::new();
    for id in 1..=300 {
        let (is_old, is_damaged) = (id % 3 > 0, [1, 3].contains(&(id % 30)));
        let mut spec = TaskSpec::new(format!("t{id}"), Work::handler("h"));
        spec.jitter = Duration::from_secs(id);
        let timing = Timing::from(&spec);
        let mut digest = Digest::of(&TaskType::default(), &spec);
        if is_old {
            digest.timing = None;
        }
        let task = Task {
            id: TaskId::new(id).unwrap(),
            kind: TaskType::default(),
            revision: 1,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            owner: Owner::Local,
            metadata: serde_json::Map::new(),
            spec,
        };
        let head = Head {
            revision: 1,
            oldest_revision: 1,
            status: HeadStatus::Active,
            digest,
            progress: TaskProgress { checkpoint: Some(task.created_at), ..TaskProgress::default() },
            kept_runs: 0,
            kept_marks: 0,
            history_from: None,
        };
        let definition = if is_damaged { b"\x01{".to_vec() } else { record::encode_task(&task).unwrap() };
        core.keyspaces.heads.insert(task.id.to_key(), record::encode_head(&head)).unwrap();
        core.keyspaces.definitions.insert(key::pair(id, 1), definition).unwrap();
        if !(is_old && is_damaged) {
            expected.push((task.id, Arc::new(timing)));
        }
    }
    let found = read::timings(&core.view(), None, 1_000).unwrap();
    assert_eq!(found.next, None);
    assert_eq!(found.items.into_iter().map(|one| (one.id, one.timing)).collect::<Vec<_>>(), expected);
    assert_eq!(core.quarantine.list().len(), 10);
}
