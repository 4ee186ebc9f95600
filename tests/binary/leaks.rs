//! What a run needed is given back.

use crate::place::Place;

/// Runs of which the daemon must have got rid; `SHORT_RUNS` says otherwise.
const RUNS: usize = 300;

#[test]
fn short_runs_leave_no_descriptor_thread_or_zombie_behind() {
    let wanted = std::env::var("SHORT_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    /// Tasks that are due each second.
    const TASKS: usize = 50;
    let mut place = Place::new();
    let tasks: String = (0..TASKS)
        .map(|n| {
            format!(
                "[[task]]\nname = \"quick-{n}\"\nevery = \"1s\"\nargv = [\"/bin/echo\", \"hi\"]\n\
                 retention = {{ runs = 100_000 }}\n"
            )
        })
        .collect();
    let marker = "[[task]]\nname = \"marker\"\nevery = \"1s\"\nretention = { runs = 100_000 }\n\
                  shell = '. \"$HOME/tell\"; tell ran'\n";
    let mut daemon = place.serve(marker);
    place.witness.next("ran", "marker");
    daemon.err.until("attempt ended");
    let base = Usage::of(daemon.pid());

    place.write("tasks.toml", &(tasks + marker));
    daemon.signal(rustix::process::Signal::HUP);
    for _ in 0..wanted {
        daemon.err.until("attempt ended");
    }
    // Quiet again: all but the marker are gone, and the end of its next run is behind everything of theirs.
    place.write("tasks.toml", marker);
    daemon.signal(rustix::process::Signal::HUP);
    daemon.out.until("50 new");
    daemon.out.until("50 deleted");
    place.witness.all();
    for _ in 0..2 {
        place.witness.next("ran", "marker");
    }
    while !daemon.err.until("attempt ended").contains("\"marker\"") {}
    let now = Usage::of(daemon.pid());
    assert!(now.descriptors <= base.descriptors + 6, "{base:?} then {now:?}");
    // Threads that wait for blocking work go by themselves after a while; there are few of them at any time.
    assert!(now.threads <= base.threads + 32, "{base:?} then {now:?}");
    assert!(now.kibibytes <= base.kibibytes + 64 * 1024, "{base:?} then {now:?}");
    assert_eq!(now.zombies, 0);
    daemon.stop();
    assert!(place.jobs().is_empty());
    // The last ones may have been canceled with their tasks.
    let number = (2 * wanted).to_string();
    let listed = place.ask(&["run", "list", "-n", &number, "--output", "json"]).json();
    let states = listed["runs"].as_array().expect("a list").iter().map(|run| &run["state"]);
    let (done, others): (Vec<_>, Vec<_>) = states.partition(|state| *state == "succeeded");
    assert!(done.len() >= wanted, "{} and {others:?}", done.len());
    assert!(others.iter().all(|state| *state == "canceled"), "{others:?}");
}

#[derive(Debug)]
struct Usage {
    descriptors: usize,
    threads: usize,
    zombies: usize,
    kibibytes: u64,
}

impl Usage {
    fn of(pid: i32) -> Self {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).expect(what).count();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let is_zombie = |child: &&str| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.contains(") Z ")
        };
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            zombies: children.split_whitespace().filter(is_zombie).count(),
            kibibytes: resident.trim().trim_end_matches(" kB").parse().expect("a number"),
        }
    }
}
