//! What deciding costs: scheduling tasks, and planning after a long downtime.
//!
//! `cargo run --release -p punctual-scheduler --example planning [tasks]`

use jiff::{SignedDuration, Timestamp};
use punctual_clock::{Clock, SystemClock, VirtualClock};
use punctual_model::schedule::{Cron, Every};
use punctual_model::{CatchUpPolicy, Owner, Schedule, Task, TaskId, TaskSpec, TaskType, Work};
use punctual_scheduler::Scheduler;
use punctual_scheduler::schedule::Zone;
use std::sync::Arc;
use std::time::Duration;

fn main() {
    let tasks: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let stopwatch = SystemClock::new().expect("a thread for the clock");
    let start = Timestamp::constant(1_767_571_200, 0);
    let clock = VirtualClock::new(start);
    let scheduler = Scheduler::new(Arc::new(clock), Zone::get("Europe/Berlin").expect("a known zone"));
    let cron = |expr: &str| Schedule::Cron(Cron::new(expr));

    for (what, distinct) in [("of one schedule", false), ("of 40,320 schedules", true)] {
        let tasks: Vec<_> = (1..=tasks)
            .map(|n| {
                let n = if distinct { n } else { 0 };
                let expr = format!("{} {} {} * *", n % 60, n / 60 % 24, n / 1440 % 28 + 1);
                task(n + 1, cron(&expr), CatchUpPolicy::Latest, Duration::ZERO)
            })
            .collect();
        let began = stopwatch.monotonic();
        for task in &tasks {
            scheduler.schedule(task, start).expect("a valid schedule");
        }
        let took = stopwatch.monotonic() - began;
        println!(
            "schedule {} tasks, {what}: {:.2} µs each",
            tasks.len(),
            took.as_secs_f64() * 1e6 / tasks.len() as f64
        );
    }

    let ten_years = start + SignedDuration::from_hours(24 * 3650);
    let second = || Schedule::Every(Every::new(Duration::from_secs(1)));
    for (what, schedule, jitter) in [
        ("every 1s", second(), 0),
        ("every 1s, jitter 1h", second(), 3600),
        ("every 1s, jitter 1y", second(), 365 * 86_400),
        ("* * * * * *", cron("* * * * * *"), 0),
        ("*/5 * * * *", cron("*/5 * * * *"), 0),
        ("0 2 * * *", cron("0 2 * * *"), 0),
        ("0 0 29 2 *", cron("0 0 29 2 *"), 0),
    ] {
        let mut line = String::new();
        for policy in [CatchUpPolicy::Skip, CatchUpPolicy::Latest, CatchUpPolicy::All] {
            let task = task(1, schedule.clone(), policy, Duration::from_secs(jitter));
            let began = stopwatch.monotonic();
            let plan = scheduler.catch_up(&task, start, ten_years).expect("a valid schedule");
            let took = stopwatch.monotonic() - began;
            let missed = plan.missed.map_or(0, |missed| missed.count);
            line += &format!(
                "; {policy:?} {:.2} ms ({missed} missed, {} late, {} on time)",
                took.as_secs_f64() * 1e3,
                plan.caught_up.len(),
                plan.on_time.len()
            );
        }
        println!("ten years down, {what}{line}");
    }
}

fn task(id: u64, schedule: Schedule, policy: CatchUpPolicy, jitter: Duration) -> Arc<Task> {
    let mut spec = TaskSpec::new(format!("task-{id}"), Work::handler("nothing"));
    spec.schedules = vec![schedule];
    spec.catch_up = policy.into();
    spec.jitter = jitter;
    let epoch = Timestamp::UNIX_EPOCH;
    Arc::new(Task {
        id: TaskId::new(id).expect("not zero"),
        kind: TaskType::default(),
        revision: 1,
        created_at: epoch,
        updated_at: epoch,
        owner: Owner::default(),
        metadata: Default::default(),
        spec,
    })
}
