//! A daemon that stands still longer than any timeout, and two daemons on one directory.

use super::Met;
use crate::chance::Chance;
use crate::place::Place;
use crate::tasks::More;
use crate::time;
use rustix::process::Signal;
use std::time::Duration;

/// Stops the daemon, not its jobs, three times; then it goes on. Nothing is done twice, and what was missed is told
/// as the policies say (the checker counts both).
pub(crate) fn longer_than_any_timeout(mut chance: Chance) -> Met {
    let mut place = Place::new("pauses", More { impatient: true, ..More::default() });
    let daemon = place.served();
    let callers = place.callers(2, &mut chance);
    time::pause(Duration::from_secs(2));
    for _ in 0..3 {
        daemon.signal(Signal::STOP);
        time::pause(Duration::from_secs(chance.between(5, 7)));
        daemon.signal(Signal::CONT);
        time::pause(Duration::from_secs(3));
    }
    // And once more without the chance to go on.
    daemon.signal(Signal::STOP);
    time::pause(Duration::from_secs(5));
    place.kill(daemon, true);
    callers.stop();
    place.heal();
    place.judge();

    let runs = place.last();
    let of = |task: &str| runs.iter().filter(|record| record.task == task).collect::<Vec<_>>();
    for (task, least) in [("misses-all", 0), ("misses-most", 0), ("misses-some", 3)] {
        let records = of(task);
        let missed: u64 =
            records.iter().filter_map(|record| record.missed.as_ref()).map(|missed| missed.count).sum();
        let caught = records.iter().filter(|r| r.trigger == "catch_up" && r.missed.is_none()).count();
        println!("pauses: {task}: {missed} dues missed, {caught} caught up");
        assert!(missed >= 3, "{task} missed {missed}");
        // Under `latest` nothing is late that comes in time to be looked at. How many at most is the checker's
        // to say: a disk that stands still is one more pause.
        assert!(caught >= least, "{task} caught up {caught}");
    }
    place.done()
}

/// The second is refused with the pid of the first, which goes on unharmed; also by another name of the directory;
/// and when the first is dead but its jobs are not, the next one starts.
pub(crate) fn two_daemons(_: Chance) -> Met {
    let mut place = Place::new("two", More::default());
    let first = place.served();
    let link = place.path("link");
    std::os::unix::fs::symlink(place.data(), &link).expect("a link");
    for directory in [place.data(), link] {
        for _ in 0..3 {
            let mut second = place.start(&directory, None);
            let ended = second.until("tasks of ").expect_err("a second daemon came up");
            assert_eq!(ended.status.code(), Some(5), "{ended:?}");
        }
    }
    let log = std::fs::read_to_string(place.path("log")).expect("a log");
    let refusals =
        log.lines().filter(|line| line.contains(&first.pid().to_string()) && line.contains("error"));
    assert!(refusals.count() >= 6, "the refusals do not name the pid:\n{log}");
    time::pause(Duration::from_millis(1500));
    place.kill(first, true);
    place.heal();
    place.judge();
    place.done()
}
