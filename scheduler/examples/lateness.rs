//! How late dues come out of the scheduler under the system clock.
//!
//! `cargo run --release -p punctual-scheduler --example lateness [seconds]`
//!
//! Each due is compared with the wall clock at the moment `next_batch` has answered. The tasks are spread
//! over the second by their splay; the last line is a herd, all due at one instant. Beside it, the bare
//! clock: sleepers without any schedule, and the processor time of a process in which nothing is due.

use jiff::{SignedDuration, Timestamp};
use punctual_clock::{Clock, SystemClock};
use punctual_model::schedule::Every;
use punctual_model::{Owner, Schedule, Task, TaskId, TaskSpec, TaskType, Work};
use punctual_scheduler::Scheduler;
use punctual_scheduler::schedule::Zone;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().expect("a thread for the clock"));
    idle(&clock, seconds).await;
    report("limit: a thread that sleeps a millisecond, and nothing else", limit(&clock));
    for sleepers in [1_000, 10_000] {
        let late = bare(&clock, sleepers).await;
        report(&format!("clock alone, {sleepers} sleepers within a second"), late);
    }
    for (tasks, splay) in [(1_000, SECOND), (10_000, SECOND), (10_000, Duration::ZERO)] {
        let clock = Arc::clone(&clock);
        let late = tokio::spawn(scheduled(clock, tasks, splay, seconds)).await.expect("no panic");
        let herd = if splay.is_zero() { ", all at one instant" } else { "" };
        report(&format!("{tasks} dues a second{herd}"), late);
    }
}

/// Runs the scheduler with that many tasks, each due once a second.
async fn scheduled(clock: Arc<dyn Clock>, tasks: u64, splay: Duration, seconds: u64) -> Vec<SignedDuration> {
    let scheduler = Scheduler::new(Arc::clone(&clock), Zone::utc());
    let now = clock.now();
    for id in 1..=tasks {
        let task = task(id, now, splay);
        scheduler.schedule(&task, now).expect("a valid schedule");
    }
    let mut late = Vec::new();
    while (late.len() as u64) < tasks * seconds {
        let batch = scheduler.next_batch(512).await;
        let now = clock.now();
        late.extend(batch.iter().map(|due| now.duration_since(due.run_at)));
    }
    late
}

/// Sleepers of their own, spread over a second.
async fn bare(clock: &Arc<dyn Clock>, sleepers: u64) -> Vec<SignedDuration> {
    let start = clock.now() + SignedDuration::from_millis(200);
    let tasks: Vec<_> = (0..sleepers)
        .map(|n| {
            let deadline = start + SignedDuration::from_nanos((n * 1_000_000_000 / sleepers).cast_signed());
            let clock = Arc::clone(clock);
            tokio::spawn(async move {
                clock.sleep_until(deadline).await;
                clock.now().duration_since(deadline)
            })
        })
        .collect();
    let mut late = Vec::new();
    for task in tasks {
        late.push(task.await.expect("no panic"));
    }
    late
}

/// What the machine can do at this moment: how late a thread comes back from sleeping.
fn limit(clock: &Arc<dyn Clock>) -> Vec<SignedDuration> {
    let nap = Duration::from_millis(1);
    let one = || {
        let before = clock.monotonic();
        #[expect(clippy::disallowed_methods, reason = "the bare sleep is what is measured")]
        std::thread::sleep(nap);
        SignedDuration::try_from(clock.monotonic() - before - nap).unwrap_or(SignedDuration::MAX)
    };
    std::iter::repeat_with(one).take(2_000).collect()
}

/// The processor time of waiting: one far wall-clock sleeper, as every idle scheduler has.
async fn idle(clock: &Arc<dyn Clock>, seconds: u64) {
    let scheduler = Scheduler::new(Arc::clone(clock), Zone::utc());
    let far = task(1, clock.now() + SignedDuration::from_hours(1), Duration::ZERO);
    scheduler.schedule(&far, clock.now() + SignedDuration::from_hours(1)).expect("a valid schedule");
    let before = processor_ticks();
    tokio::select! {
        _ = scheduler.next_batch(1) => {}
        () = clock.sleep(Duration::from_secs(seconds)) => {}
    }
    let ticks = processor_ticks() - before;
    println!(
        "idle for {seconds} s with a far due: {ticks} ticks of processor time (of {} in all)",
        seconds * 100
    );
}

/// User and system time of this process in hundredths of a second; 0 where there is no `/proc`.
fn processor_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn report(what: &str, mut late: Vec<SignedDuration>) {
    late.sort_unstable();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize].as_micros();
    println!(
        "{what}: {} dues, late p50 {} µs, p90 {}, p99 {}, p99.9 {}, worst {}",
        late.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

fn task(id: u64, now: Timestamp, splay: Duration) -> Arc<Task> {
    let mut spec = TaskSpec::new(format!("task-{id}"), Work::handler("nothing"));
    spec.schedules = vec![Schedule::Every(Every::new(SECOND))];
    spec.splay = splay;
    Arc::new(Task {
        id: TaskId::new(id).expect("not zero"),
        kind: TaskType::default(),
        revision: 1,
        created_at: now,
        updated_at: now,
        owner: Owner::default(),
        metadata: Default::default(),
        spec,
    })
}
