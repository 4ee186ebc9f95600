//! Every pair of state and event, as a table that is also the page `docs/run-states.md`.

use super::*;
use proptest::prelude::*;

const EPOCH: u64 = 7;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn states() -> Vec<(&'static str, RunState)> {
    use RunState as S;
    let stopping = |why| S::Stopping { why, since: at(50) };
    vec![
        ("Scheduled", S::Scheduled { at: at(100) }),
        ("Queued", S::Queued),
        ("Starting", S::Starting),
        ("Running", S::Running),
        ("Stopping{cancel}", stopping(StopWhy::Cancel)),
        ("Stopping{timeout}", stopping(StopWhy::Timeout)),
        ("Stopping{replaced}", stopping(StopWhy::Replaced)),
        ("Stopping{deleted}", stopping(StopWhy::Deleted)),
        ("Stopping{restart}", stopping(StopWhy::Restart)),
        ("Succeeded", S::Succeeded),
        ("Failed", S::Failed),
        ("TimedOut", S::TimedOut),
        ("Canceled", S::Canceled { why: CancelWhy::Asked }),
        ("Lost", S::Lost { why: LostWhy::NodeDied }),
        ("Skipped", S::Skipped { why: SkipWhy::QueueFull { waiting: 1 } }),
        (
            "Missed",
            S::Missed(Missed {
                from: at(1),
                to: at(2),
                count: 2,
                at_least: false,
                why: MissedWhy::PolicySkip,
            }),
        ),
    ]
}

fn events() -> Vec<(&'static str, RunEvent)> {
    use RunEvent as E;
    vec![
        ("Due (in time)", E::Due { now: at(100) }),
        ("Due (too early)", E::Due { now: at(99) }),
        ("Claimed", E::Claimed { epoch: EPOCH }),
        ("Claimed (older epoch)", E::Claimed { epoch: EPOCH - 1 }),
        ("Started", E::Started),
        ("StopAsked{cancel}", E::StopAsked { why: StopWhy::Cancel, at: at(60) }),
        ("StopAsked{timeout}", E::StopAsked { why: StopWhy::Timeout, at: at(60) }),
        ("StopAsked{replaced}", E::StopAsked { why: StopWhy::Replaced, at: at(60) }),
        ("StopAsked{deleted}", E::StopAsked { why: StopWhy::Deleted, at: at(60) }),
        ("StopAsked{restart}", E::StopAsked { why: StopWhy::Restart, at: at(60) }),
        ("Succeeded", E::Succeeded),
        ("Failed", E::Failed),
        ("TimedOut", E::TimedOut),
        ("Restarting", E::Restarting { at: at(200) }),
        ("Canceled", E::Canceled { why: CancelWhy::Asked }),
        ("Interrupted", E::Interrupted),
        ("Lost", E::Lost { why: LostWhy::NodeDied }),
        ("Noted", E::Noted),
        ("Adopted (newer epoch)", E::Adopted { epoch: EPOCH + 1 }),
        ("Adopted (same epoch)", E::Adopted { epoch: EPOCH }),
    ]
}

fn word(state: &RunState) -> String {
    match state {
        RunState::Stopping { why, .. } => format!("Stopping{{{}}}", format!("{why:?}").to_lowercase()),
        RunState::Canceled { why } => format!("Canceled{{{}}}", format!("{why:?}").to_lowercase()),
        state => {
            let name = state.name().as_str();
            name.split('_').map(|part| part[..1].to_uppercase() + &part[1..]).collect()
        }
    }
}

/// The page, made from the function itself.
fn page() -> String {
    let mut out = String::from(
        "# The states of a run\n\n\
         Made from `Life::apply` in `model/src/state.rs` by the test `the_page_of_states_is_true`; \
         `UPDATE_DOCS=1 cargo test -p punctual-model` writes it anew.\n\n\
         A row is an event, a column the state it meets. `·` cannot happen: the fact came too late, or it is a bug. \
         Not shown because all their cells are `·`: Succeeded, Failed, TimedOut, Canceled, Lost, Skipped, Missed; \
         terminal records never change.\n\n",
    );
    let columns: Vec<_> = states().into_iter().filter(|(_, state)| !state.is_terminal()).collect();
    out += "| event |";
    for (name, _) in &columns {
        out += &format!(" {name} |");
    }
    out += &format!("\n|---|{}\n", "---|".repeat(columns.len()));
    for (name, event) in events() {
        out += &format!("| {name} |");
        for (_, state) in &columns {
            let life = Life { state: *state, attempt: 1, epoch: EPOCH };
            out += &match life.apply(event) {
                Err(_) => " · |".to_owned(),
                Ok(to) if to.epoch > life.epoch => " same, epoch raised |".to_owned(),
                Ok(to) if to == life => " same |".to_owned(),
                Ok(to) if to.attempt > life.attempt => format!(" {}, attempt + 1 |", word(&to.state)),
                Ok(to) => format!(" {} |", word(&to.state)),
            };
        }
        out += "\n";
    }
    out
}

#[test]
fn the_page_of_states_is_true() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/run-states.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(stored, page(), "docs/run-states.md is not what the code does; UPDATE_DOCS=1 writes it");
}

#[test]
fn terminal_states_take_no_event() {
    for (name, state) in states().into_iter().filter(|(_, state)| state.is_terminal()) {
        for (event_name, event) in events() {
            let life = Life { state, attempt: 1, epoch: EPOCH };
            assert!(life.apply(event).is_err(), "{name} took {event_name}");
        }
    }
}

#[test]
fn a_stopped_run_ends_as_what_it_was_stopped_for_whatever_its_work_did() {
    use RunEvent as E;
    for (why, end) in [
        (StopWhy::Cancel, RunState::Canceled { why: CancelWhy::Asked }),
        (StopWhy::Replaced, RunState::Canceled { why: CancelWhy::Replaced }),
        (StopWhy::Deleted, RunState::Canceled { why: CancelWhy::Deleted }),
        (StopWhy::Timeout, RunState::TimedOut),
        // Not the run was to end, but its attempt.
        (StopWhy::Restart, RunState::Scheduled { at: at(1) }),
    ] {
        let life = Life { state: RunState::Stopping { why, since: at(1) }, attempt: 1, epoch: 1 };
        for event in [E::Succeeded, E::Failed, E::Interrupted, E::Lost { why: LostWhy::NodeDied }] {
            assert_eq!(life.apply(event).unwrap().state, end, "{why:?} {event:?}");
        }
    }
}

#[test]
fn a_cancel_during_a_timeout_or_a_restart_forbids_the_next_attempt() {
    for why in [StopWhy::Timeout, StopWhy::Restart] {
        let stopping = RunState::Stopping { why, since: at(1) };
        let life = Life { state: stopping, attempt: 1, epoch: 1 };
        let restart = RunEvent::Restarting { at: at(9) };
        assert_eq!(life.apply(restart).unwrap().state, RunState::Scheduled { at: at(9) });
        for weaker in [StopWhy::Timeout, StopWhy::Restart] {
            assert!(life.apply(RunEvent::StopAsked { why: weaker, at: at(2) }).is_err());
        }
        let asked = life.apply(RunEvent::StopAsked { why: StopWhy::Cancel, at: at(2) }).unwrap();
        assert_eq!(asked.apply(restart).unwrap().state, RunState::Canceled { why: CancelWhy::Asked });
    }
}

fn any_event() -> impl Strategy<Value = RunEvent> {
    (0..events().len(), 0..300i64, 0..20u64).prop_map(|(which, second, epoch)| match events()[which].1 {
        RunEvent::Due { .. } => RunEvent::Due { now: at(second) },
        RunEvent::Claimed { .. } => RunEvent::Claimed { epoch },
        RunEvent::Adopted { .. } => RunEvent::Adopted { epoch },
        RunEvent::Restarting { .. } => RunEvent::Restarting { at: at(second) },
        RunEvent::StopAsked { why, .. } => RunEvent::StopAsked { why, at: at(second) },
        event => event,
    })
}

proptest! {
    #[test]
    fn attempt_and_epoch_never_fall_and_terminal_states_never_move(
        events in proptest::collection::vec(any_event(), 0..60)
    ) {
        let mut life = Life::born(RunState::Queued);
        for event in events {
            let before = life;
            match life.apply(event) {
                Ok(after) => {
                    prop_assert!(!before.state.is_terminal());
                    prop_assert!(after.attempt >= before.attempt && after.epoch >= before.epoch);
                    life = after;
                }
                Err(error) => prop_assert_eq!(error.life, before),
            }
        }
    }
}
