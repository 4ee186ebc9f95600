//! How many runs that do nothing go through the executor in a second, over the memory store: of a handler, or,
//! with a third argument, of that program as a child each.
//!
//! `cargo run --release -p punctual-executor --example throughput -- [runs] [tasks] [program]`

use jiff::Timestamp;
use punctual_clock::{Clock, SystemClock};
use punctual_executor::drivers::handler::{HandlerDriver, Handlers, TaskError};
use punctual_executor::drivers::process::{ProcessDriver, ProcessHome};
use punctual_executor::{Executor as _, Pool, Reservation};
use punctual_model::run::Trigger;
use punctual_model::{Life, Owner, Run, RunId, RunState, Task, TaskId, TaskSpec, TaskType, Work};
use punctual_store::{
    Expect, HistoryStore as _, MemoryStore, PutTask, RunStore as _, SessionStore as _, Store, TaskStore as _,
};
use std::sync::Arc;

async fn nothing() -> Result<(), TaskError> {
    Ok(())
}

fn run_of(id: u64, task: &Task, now: Timestamp) -> Option<Run> {
    Some(Run {
        id: RunId::new(id)?,
        task: task.id,
        revision: 1,
        trigger: Trigger::Manual,
        scheduled_for: now,
        run_at: now,
        accepted_at: now,
        life: Life::born(RunState::Queued),
        started_at: None,
        finished_at: None,
        forced: false,
        params: serde_json::Value::Null,
        idempotency_key: None,
        trace: None,
        usage: None,
        restarts: Default::default(),
        outcome: None,
        saved: serde_json::Value::Null,
        local: serde_json::Value::Null,
        events: Default::default(),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).take(2).map(|text| text.parse::<u64>());
    let runs = numbers.next().transpose()?.unwrap_or(200_000);
    let tasks = numbers.next().transpose()?.unwrap_or(1000).max(1);
    let work =
        std::env::args().nth(3).map_or_else(|| Work::handler("nothing"), |program| Work::process([program]));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock)));
        let session = store.open_session("throughput").await?;
        let mut all = Vec::new();
        for id in 1..=tasks {
            let now = clock.now();
            let task = Arc::new(Task {
                id: TaskId::new(id).ok_or("no id")?,
                kind: TaskType::default(),
                revision: 1,
                created_at: now,
                updated_at: now,
                owner: Owner::default(),
                metadata: Default::default(),
                spec: TaskSpec::new(format!("task-{id}"), work.clone()),
            });
            let put = PutTask { task: Arc::clone(&task), expect: Expect::Absent, raise_checkpoint: None };
            store.put_task(&session, put).await?;
            all.push(task);
        }
        let ids: Vec<u64> = (1..=runs).map(|n| 1_000_000 + n).collect();
        for chunk in ids.chunks(1000) {
            let now = clock.now();
            let task_of = |id: u64| &all[usize::try_from(id % tasks).unwrap_or(0)];
            let batch = chunk.iter().filter_map(|id| run_of(*id, task_of(*id), now)).collect();
            store.enqueue(&session, batch, 0).await?;
        }
        let handlers = Handlers::new().add("nothing", nothing);
        let pool = Pool::builder(Arc::clone(&store) as Arc<dyn Store>, session, Arc::clone(&clock))
            .driver(ProcessDriver::process(Arc::new(ProcessHome::nowhere()), Arc::clone(&clock)))
            .driver(HandlerDriver::new(handlers, Arc::clone(&clock)))
            .build();
        let before = store.stats().commits;
        let begun = clock.monotonic();
        pool.start();
        pool.execute(Vec::new(), Reservation::none()).await?;
        while pool.counters().completed.values().sum::<u64>() < runs {
            clock.sleep(std::time::Duration::from_millis(1)).await;
        }
        let took = clock.monotonic().saturating_sub(begun);
        let (rate, commits) = (runs as f64 / took.as_secs_f64(), store.stats().commits - before);
        println!("{runs} runs of {tasks} tasks in {took:?}: {rate:.0} runs/s, {commits} commits");
        Ok(())
    })
}
