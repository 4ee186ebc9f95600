//! Death at each named point, on both sides of every sync, every spawn and every step in between.

use super::Met;
use crate::chance::Chance;
use crate::place::Place;
use crate::tasks::{DOOMED, More};
use crate::time;
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// A point, and how often it is died at. Where the state between exit and record is met, more often.
const POINTS: [(&str, u64); 20] = [
    ("store.before_commit", 5),
    ("store.after_commit", 5),
    ("store.before_seal", 3),
    ("store.after_seal", 3),
    ("coordinator.before_materialise", 3),
    ("coordinator.after_materialise", 3),
    ("coordinator.before_enqueue", 3),
    ("coordinator.after_enqueue", 3),
    ("executor.before_claimed", 3),
    ("executor.after_claimed", 3),
    ("executor.before_spawn", 4),
    ("executor.after_spawn", 4),
    ("executor.after_exit", 7),
    ("executor.after_output_sync", 7),
    ("executor.before_end", 7),
    ("executor.after_end", 4),
    ("executor.before_intent", 4),
    ("executor.after_intent", 6),
    ("executor.before_cancel", 3),
    ("executor.after_cancel", 3),
];

/// How long a daemon may live without passing a point that it passes every second: some are to be passed forty times,
/// each time with a sync that may take seconds.
const PASSES: Duration = Duration::from_secs(300);

pub(crate) fn each_point(mut chance: Chance) -> Met {
    let mut place = Place::new("points", More::default());
    let callers = place.callers(2, &mut chance);
    for (point, times) in POINTS {
        for _ in 0..times {
            // Of the commits the first ones are those of the start.
            let last = if point.ends_with("commit") { 40 } else { 4 };
            let nth = chance.between(1, last);
            match place.serve(Some(&format!("{point}:{nth}"))) {
                Err(ended) => assert!(ended.crashed(), "{point}: {ended:?}"),
                Ok(mut daemon) => {
                    let ended = daemon.ended(PASSES);
                    let ended = ended.unwrap_or_else(|| panic!("{point} was not passed {nth} times"));
                    assert!(ended.crashed(), "{point}: {ended:?}");
                }
            }
            place.killed(true);
        }
    }
    callers.stop();
    place.heal();
    place.judge();
    place.done()
}

/// Dies between the tombstone of a task and the end of its runs.
pub(crate) fn while_deleting(_: Chance) -> Met {
    let mut place = Place::new("deletion", More { doomed: true, ..More::default() });
    for round in 0..3 {
        place.more.doomed = true;
        place.write_tasks(false, 100_000);
        let mut daemon = place.serve(Some("coordinator.after_tombstone:1")).expect("it comes up");
        // One at work and two that wait for it.
        for number in 0..3 {
            let key = json!({ "idempotency_key": format!("doomed-{round}-{number}") });
            let path = format!("/v1/tasks/{DOOMED}:run");
            let socket = place.data().join("punctual.sock");
            // Its door opens a moment after its work has begun.
            let answer = time::until(PASSES, || crate::callers::post(&socket, &path, &key));
            answer.expect("an answer");
        }
        place.more.doomed = false;
        place.write_tasks(false, 100_000);
        daemon.signal(Signal::HUP);
        let ended = daemon.ended(PASSES).expect("no task was deleted");
        assert!(ended.crashed(), "{ended:?}");
        place.killed(true);
    }
    place.heal();
    place.judge();
    let runs = place.last();
    let ended = runs.iter().filter(|run| run.task == DOOMED && run.state == "canceled").count();
    println!("deletion: {ended} runs of deleted tasks ended by the next start");
    assert!(ended >= 6, "{ended} of 9 were ended; the others can have been at work when the daemon died");
    place.done()
}

/// Dies while the data directory is made, which is then made again.
pub(crate) fn while_making(_: Chance) -> Met {
    let mut met = Met::default();
    for point in ["store.open.locked", "store.make.begun", "store.make.sealed", "store.before_commit"] {
        let mut place = Place::new("making", More::default());
        for _ in 0..3 {
            let crashed = place.serve(Some(&format!("{point}:1"))).err().is_some_and(|ended| ended.crashed());
            assert!(crashed, "{point} was not passed");
            place.killed(false);
        }
        place.heal();
        place.judge();
        met.add(place.done());
    }
    met
}

/// Dies while the history is cut to what is kept. Records go here, so what is judged is that the daemon starts
/// again, that all that is left is whole, and that no more than wanted is left at the end.
pub(crate) fn while_pruning(_: Chance) -> Met {
    const KEPT: u32 = 5;
    let mut place = Place::new("prune", More::default());
    let mut daemon = place.served();
    // More than what is kept, plus what the store lets pass before it thinks of pruning.
    assert!(daemon.ended(Duration::from_secs(34)).is_none());
    place.kill(daemon, false);
    place.write_tasks(false, KEPT);
    for point in ["coordinator.before_prune", "coordinator.after_prune"] {
        for _ in 0..3 {
            match place.serve(Some(&format!("{point}:1"))) {
                Err(ended) => assert!(ended.crashed(), "{point}: {ended:?}"),
                Ok(mut daemon) => {
                    let ended = daemon.ended(PASSES).unwrap_or_else(|| panic!("{point} was not passed"));
                    assert!(ended.crashed(), "{point}: {ended:?}");
                }
            }
            place.killed(false);
        }
    }
    let mut daemon = place.served();
    assert!(daemon.ended(Duration::from_secs(13)).is_none());
    daemon.stop();
    let left = place.look(&[]);
    let of_tick = left.iter().filter(|record| record.task == "tick").count();
    // What the store lets pass is 25.
    assert!(of_tick <= KEPT as usize + 25 + 13, "{of_tick} records of one task are left");
    assert!(of_tick >= KEPT as usize, "{of_tick} records of one task are left");
    place.done()
}
