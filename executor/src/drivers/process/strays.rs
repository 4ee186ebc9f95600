//! Finds processes by their mark and ends them, each through a descriptor that cannot come to mean another
//! process.

use super::home::{HOOK_MARK, Identity, MARK, ProcessHome};
use super::{environment, proc_table};
use punctual_clock::Clock;
use punctual_model::RunId;
use rustix::process::Signal;
use std::time::Duration;

/// First and longest pause between two looks at processes that are to go: soon seen, and no load if they take
/// their time.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(2);
pub(super) const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// How long killed processes may take to vanish before they are called unkillable: they may have to write out
/// memory or wait for a disk.
pub(super) const PROOF: Duration = Duration::from_secs(5);

/// All living children of this node, except ourselves and those we descend from (a task may start its node
/// anew), and except those in the hands of shims that live.
pub(super) fn of_node(home: &ProcessHome) -> Vec<Identity> {
    let Some(mark) = home.mark() else { return Vec::new() };
    let (work, hook) = (format!("{MARK}={mark}"), format!("{HOOK_MARK}={mark}"));
    let mut hooks = Vec::new();
    let mut found = marked(|pid, environment| {
        let is_hook = proc_table::holds(environment, &hook);
        if is_hook {
            hooks.push(pid);
        }
        is_hook || proc_table::holds(environment, &work)
    });
    #[cfg(target_os = "linux")]
    if let Some(keeping) = home.keeping()
        && !found.is_empty()
    {
        let kept = keeping.kept(home);
        let run_of = |pid| proc_table::variable(pid, environment::RUN_ID).and_then(|run| run.parse().ok());
        // A command of a hook is in no shim's hands, whoever has its run.
        let is_kept = |pid| !hooks.contains(&pid) && run_of(pid).is_some_and(|run| kept.contains(&run));
        found.retain(|identity| !is_kept(identity.pid));
    }
    found
}

/// The living processes of one run, wherever they have hidden themselves, and the one that was noted.
pub(super) fn of_run(home: &ProcessHome, run: RunId) -> Vec<Identity> {
    let mut variables = vec![format!("{}={run}", environment::RUN_ID)];
    variables.extend(home.mark().map(|mark| format!("{MARK}={mark}")));
    let mut found =
        marked(|_, environment| variables.iter().all(|variable| proc_table::holds(environment, variable)));
    if let Some(noted) = home.noted(run)
        && !found.contains(&noted)
        && is_alive(noted)
    {
        found.push(noted);
    }
    found
}

/// The living members of a session.
#[cfg(target_os = "linux")]
pub(super) fn of_session(leader: i32) -> Vec<Identity> {
    let all = proc_table::pids().into_iter().filter_map(proc_table::stat);
    all.filter(|stat| stat.session == leader && stat.alive).map(|stat| stat.identity).collect()
}

fn marked(mut is: impl FnMut(i32, &[u8]) -> bool) -> Vec<Identity> {
    let ours = proc_table::ancestors();
    proc_table::pids()
        .into_iter()
        .filter(|pid| !ours.contains(pid))
        .filter(|pid| proc_table::environment(*pid).is_some_and(|environment| is(*pid, &environment)))
        .filter_map(proc_table::stat)
        .filter(|stat| stat.alive)
        .map(|stat| stat.identity)
        .collect()
}

pub(super) fn is_alive(identity: Identity) -> bool {
    proc_table::stat(identity.pid).is_some_and(|stat| stat.alive && stat.identity == identity)
}

/// Sends a signal to exactly this process.
#[cfg(target_os = "linux")]
pub(super) fn send(identity: Identity, signal: Signal) {
    use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
    let Some(pid) = Pid::from_raw(identity.pid) else { return };
    // The descriptor holds whoever has the number now; after that the number is looked at.
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if is_alive(identity) {
        // Gone in between is what was wanted.
        let _ = pidfd_send_signal(descriptor, signal);
    }
}

/// Without descriptors of processes nobody is found either.
#[cfg(not(target_os = "linux"))]
pub(super) fn send(_identity: Identity, _signal: Signal) {}

/// What became of processes that were to be ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// How many there were at the first look.
    pub(super) found: usize,
    /// Those that live still.
    pub(super) left: Vec<i32>,
}

/// Ends what `find` finds: the signal, after the grace KILL, until nothing is found. Looks once if there is
/// nothing: a look may read the environment of each process of the machine.
pub(super) async fn end(
    find: impl Fn() -> Vec<Identity>,
    signal: Signal,
    grace: Duration,
    clock: &dyn Clock,
) -> Ended {
    let mut found = find();
    let first = found.len();
    let start = clock.monotonic();
    let mut pause = FIRST_LOOK;
    let mut signal = signal;
    while !found.is_empty() {
        let spent = clock.monotonic().saturating_sub(start);
        if spent >= grace.saturating_add(PROOF) {
            break;
        }
        if spent >= grace {
            signal = Signal::KILL;
        }
        // The polite signal once: a second one means "now" to many programs. KILL again and again, since a
        // process may have had children in between.
        if pause == FIRST_LOOK || signal == Signal::KILL {
            found.iter().for_each(|identity| send(*identity, signal));
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
        found = find();
    }
    Ended { found: first, left: found.iter().map(|identity| identity.pid).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_clock::SystemClock;
    use std::cell::Cell;

    #[tokio::test]
    async fn where_nothing_is_left_one_look_is_enough() {
        let looks = Cell::new(0);
        let find = || {
            looks.set(looks.get() + 1);
            Vec::new()
        };
        let clock = SystemClock::new().unwrap();
        let ended = end(find, Signal::TERM, PROOF, &clock).await;
        assert_eq!((ended, looks.get()), (Ended { found: 0, left: Vec::new() }, 1));
    }
}
