//! `kill -9` at random moments, and in the middle of recovery.

use super::Met;
use crate::chance::Chance;
use crate::place::Place;
use crate::tasks::More;
use crate::time;
use std::time::Duration;

/// Everything is ready again within this, also on a busy machine.
const READY: Duration = Duration::from_secs(45);

/// Kills at random, 5 to 400 ms after the daemon is ready.
pub(crate) fn random(mut chance: Chance, cycles: u64) -> Met {
    let mut place = Place::new("kills", More::default());
    let callers = place.callers(5, &mut chance);
    for _ in 0..cycles {
        let daemon = place.served();
        time::pause(Duration::from_millis(chance.between(5, 400)));
        // Looking opens the store: half of the time the next daemon is the first to do so.
        place.kill(daemon, chance.between(0, 1) == 0);
    }
    println!("kills: {} runs were promised to callers", callers.stop());
    place.heal();
    let slowest = place.ready.iter().max().copied().unwrap_or_default();
    let mean = place.ready.iter().sum::<Duration>() / u32::try_from(place.ready.len()).unwrap_or(1).max(1);
    println!("kills: {} starts, ready after {mean:?}, {slowest:?} at most", place.ready.len());
    place.judge();
    assert!(slowest < READY, "a start took {slowest:?}");
    place.done()
}

/// The points of a start, in the order in which it comes by.
const RECOVERY: [&str; 9] = [
    "store.open.locked",
    "store.open.read",
    "store.open.sealed",
    "coordinator.recover.before_runs",
    "executor.resume.before_judged",
    "executor.resume.after_judged",
    "coordinator.recover.after_runs",
    "coordinator.recover.after_deletions",
    "coordinator.recover.after_tasks",
];

/// Dies five times in a row while it recovers from its last death, at each point once as the first of them.
pub(crate) fn in_recovery(mut chance: Chance) -> Met {
    let mut place = Place::new("recovery", More::default());
    for first in RECOVERY {
        let daemon = place.served();
        time::pause(Duration::from_millis(1100));
        place.kill(daemon, false);
        let mut at = first;
        for time in 0..5 {
            // Of what the first death left at work, later recoveries find ever less: those points may not come by.
            let nth = if time > 0 && at.starts_with("executor.resume") { chance.between(1, 3) } else { 1 };
            match place.serve(Some(&format!("{at}:{nth}"))) {
                Err(ended) => assert!(ended.crashed(), "{at}: {ended:?}"),
                Ok(daemon) => {
                    assert!(at.starts_with("executor.resume"), "{at} was not passed");
                    daemon.kill();
                }
            }
            place.killed(false);
            at = RECOVERY[chance.below(RECOVERY.len())];
        }
    }
    place.heal();
    place.judge();
    place.done()
}
