//! What somebody hears who watches the events of a run.

use super::bench::{Bench, restarts, seconds};
use crate::attempt::AttemptSink;
use crate::driver::{Attempt, RunSink as _};
use crate::executor::Dispatch;
use crate::promise::Told;
use crate::scripted::Act;
use futures_util::{FutureExt as _, StreamExt as _};
use punctual_model::event::{Event, EventKind, EventLog};
use punctual_model::{RunState, RunStateName, TaskSpec, Work};
use std::sync::Arc;

fn text(told: &Told) -> String {
    match told {
        Told::Event(Event { kind: EventKind::Message { text, .. }, .. }) => text.clone(),
        Told::Event(event) => event.kind.text(),
        Told::Missed(count) => format!("missed {count}"),
        Told::State(state) => state.name().to_string(),
    }
}

/// B28.
#[tokio::test(start_paused = true)]
async fn b28_an_event_is_seen_when_it_happens_and_not_with_the_next_state() {
    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(20))]);
    let task = bench.handler("a").await;
    let promise = bench.go(&task).await;
    let mut told = promise.events().await.unwrap();
    bench.settle().await;
    let mut so_far = Vec::new();
    while let Some(next) = told.next().now_or_never() {
        so_far.push(text(&next.unwrap()));
    }
    assert_eq!(so_far.last().map(String::as_str), Some("running"), "{so_far:?}");
    assert!(told.next().now_or_never().is_none());
    bench.pass(seconds(10)).await;
    let Dispatch { run, task } = bench.dispatch(promise.id()).await;
    let sink = AttemptSink::new(&bench.pool.engine, &Attempt::new(Arc::new(run), task));
    let (source, text_of) = ("work".to_owned(), "half".to_owned());
    sink.event(EventKind::Message { source, text: text_of });
    assert_eq!(text(&told.next().now_or_never().unwrap().unwrap()), "half");
    assert_eq!(promise.state().await.unwrap(), RunState::Running);
    assert!(told.next().now_or_never().is_none());
    bench.pass(seconds(10)).await;
    assert_eq!(text(&told.next().await.unwrap()), "succeeded");
    assert_eq!(told.next().await, None);
    drop((told, promise));
    bench.nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_lags_is_told_how_many_it_missed_and_one_that_comes_late_too() {
    let bench = Bench::new().await;
    bench.acts(vec![Act::Exit(1); 61]);
    let mut spec = TaskSpec::new("a", Work::handler("h"));
    spec.restart = restarts(60);
    let task = bench.task(spec).await;
    let promise = bench.go(&task).await;
    let lagging = promise.events().await.unwrap();
    for _ in 0..200 {
        bench.pass(seconds(600)).await;
    }
    let ended = promise.wait().await.unwrap();
    assert_eq!(ended.state().name(), RunStateName::Failed);
    let happened = ended.events.dropped() + ended.events.iter().count() as u64;
    assert!(happened > 60);
    for told in [lagging, promise.events().await.unwrap()] {
        let told: Vec<Told> = told.collect().await;
        let seen = told.iter().filter(|told| matches!(told, Told::Event(_))).count();
        let missed: u64 =
            told.iter().map(|told| if let Told::Missed(count) = told { *count } else { 0 }).sum();
        assert_eq!(seen as u64 + missed, happened);
        assert!(missed > 0 && seen <= EventLog::FIRST + EventLog::LAST + 1, "{seen}");
        assert_eq!(told.last().map(text).as_deref(), Some("failed"));
    }
}
