//! What the engine counts, read from the library.

use crate::clockwork::{at, create, live, run_now, scripted, secs, task};
use punctual::executor::Counters;
use punctual::model::{RunStateName, TaskType};
use punctual::prelude::*;
use punctual::testing::Act;

fn ended(counters: &Counters, state: RunStateName) -> u64 {
    counters.completed.get(&(TaskType::default(), state)).copied().unwrap_or_default()
}

/// EX08: active from 0 over 1 to 0, the end by its state, the manual ones apart, the wait from due to start.
#[tokio::test(start_paused = true)]
async fn ex08_numbers_follow_each_run_from_its_due_to_its_end() {
    let t = scripted().await;
    t.script(|_| Act::run_for(secs(20)));
    let id = create(&t, task("report").every(secs(60)).concurrency(1)).await;
    assert_eq!(t.counters(), Counters::default());
    t.advance(secs(60)).await;
    let counters = t.counters();
    assert_eq!((counters.active, counters.started, counters.manual), (1, 1, 0));
    assert_eq!((counters.queue_wait, counters.queue_waits), (secs(0), 1));
    // This one has to wait until the other has ended.
    t.advance(secs(5)).await;
    run_now(&t, id).await;
    t.advance(secs(15)).await;
    let counters = t.counters();
    assert_eq!((counters.active, counters.started, counters.manual), (1, 2, 1));
    assert_eq!(ended(&counters, RunStateName::Succeeded), 1);
    t.advance(secs(20)).await;
    let counters = t.counters();
    assert_eq!(counters.active, 0);
    assert_eq!(ended(&counters, RunStateName::Succeeded), 2);
    assert_eq!((counters.queue_wait, counters.queue_waits), (secs(15), 2));
    assert_eq!((counters.run_time, counters.run_times), (secs(40), 2));
    assert!(counters.errors.is_empty());
}

/// EX10: what cannot be put right by another attempt is counted by where it went wrong, and ends the run at once.
#[tokio::test(start_paused = true)]
async fn ex10_an_unrecoverable_error_is_counted_by_its_kind() {
    let t = scripted().await;
    t.script(|_| Act::FailForGood("could not find bucket".to_owned()));
    let restart = RestartPolicy::attempts(3, secs(60));
    let id = create(&t, task("report").restart(restart)).await;
    let run = run_now(&t, id).await.wait().await.unwrap();
    assert_eq!((run.state(), run.life.attempt), (RunState::Failed, 1));
    let counters = t.counters();
    assert_eq!(counters.errors.iter().collect::<Vec<_>>(), [(&"work", &1)]);
    assert_eq!((counters.restarted, ended(&counters, RunStateName::Failed)), (0, 1));
}

/// SC23: what is at work, what ended how, what was claimed; and a task that is gone is counted no more.
#[tokio::test(start_paused = true)]
async fn sc23_counts_go_up_with_the_work_and_a_deleted_task_is_gone_from_them() {
    let t = scripted().await;
    t.script(|attempt| match attempt.task.spec.name.as_str() {
        "hangs" => Act::Hang,
        "fails" => Act::FailForGood("no".to_owned()),
        _ => Act::Succeed,
    });
    let mut ids = Vec::new();
    for name in ["works", "fails", "hangs"] {
        ids.push(create(&t, task(name).every(secs(60))).await);
    }
    let statistics = t.scheduler_statistics();
    assert_eq!((statistics.tasks, statistics.waiting, statistics.dues_handed_out), (3, 3, 0));
    assert_eq!(statistics.next_run_at, Some(at(60)));
    t.advance(secs(60)).await;
    assert_eq!(t.scheduler_statistics().dues_handed_out, 3);
    let counters = t.counters();
    assert_eq!((counters.active, counters.started), (1, 3));
    assert_eq!((ended(&counters, RunStateName::Succeeded), ended(&counters, RunStateName::Failed)), (1, 1));
    for (id, left) in ids.iter().zip([2, 1, 0]) {
        t.tasks().delete(*id, None).await.unwrap();
        t.settle().await;
        let statistics = t.scheduler_statistics();
        assert_eq!((statistics.tasks, statistics.waiting), (left, left));
        assert!(live(&t, *id).await.is_empty());
    }
    assert_eq!((t.counters().active, t.scheduler_statistics().next_run_at), (0, None));
    assert_eq!(ended(&t.counters(), RunStateName::Canceled), 1);
}
