use super::*;
use std::collections::BTreeSet;

fn text(text: &str) -> String {
    text.to_owned()
}

/// Every kind of event, with and without what it may carry, and its text.
fn table() -> Vec<(EventKind, &'static str)> {
    let seconds = Duration::from_secs;
    let (attempt, error) = (2, text("no space"));
    let terminated = |exit, message| EventKind::Terminated { attempt, exit, message: text(message) };
    vec![
        (
            EventKind::Restarting {
                attempt,
                end: text("exit code 1"),
                reason: text("restart within policy"),
                delay: seconds(90),
            },
            "attempt 2 ended (exit code 1); restart within policy, in 1m30s",
        ),
        (EventKind::NotRestarting { reason: text("error was unrecoverable") }, "error was unrecoverable"),
        (EventKind::Stopping { why: StopWhy::Cancel }, "asked to stop"),
        (EventKind::Stopping { why: StopWhy::Timeout }, "took longer than its timeout"),
        (EventKind::Stopping { why: StopWhy::Replaced }, "a newer run takes its place"),
        (EventKind::Stopping { why: StopWhy::Deleted }, "its task was deleted"),
        (EventKind::Killed, "did not stop within the grace and was killed"),
        (EventKind::KillFailed { error: error.clone() }, "could not be stopped: no space"),
        (
            EventKind::Interrupted { attempt },
            "attempt 2 was cut short by the stop of the node and does not count",
        ),
        (EventKind::LostAttempt { attempt }, "nobody saw the end of attempt 2; it is made again"),
        (EventKind::Reattached, "found alive after a restart of the node"),
        (EventKind::OutputFailed { error: error.clone() }, "output could not be kept: no space"),
        (EventKind::Setup { text: text("warming up") }, "warming up"),
        (EventKind::SetupFailed { error: error.clone() }, "could not be made ready: no space"),
        (EventKind::BuildingDirectory, "its directory is made"),
        (EventKind::DownloadingArtifacts { count: 1 }, "an artifact is fetched"),
        (EventKind::DownloadingArtifacts { count: 3 }, "3 artifacts are fetched"),
        (
            EventKind::ArtifactFailed { artifact: text("make_report.py"), error: error.clone() },
            "make_report.py could not be fetched: no space",
        ),
        (EventKind::DriverFailed { error: error.clone() }, "the driver failed: no space"),
        (EventKind::Started { attempt, pid: None }, "attempt 2 started"),
        (EventKind::Started { attempt, pid: Some(77) }, "attempt 2 started as process 77"),
        (terminated(None, ""), "attempt 2 ended"),
        (terminated(Some(Exit::Code(3)), ""), "attempt 2 ended: exit code 3"),
        (terminated(Some(Exit::Signal(9)), ""), "attempt 2 ended: signal 9"),
        (terminated(None, "gone"), "attempt 2 ended: gone"),
        (terminated(Some(Exit::Code(3)), "gone"), "attempt 2 ended: exit code 3: gone"),
        (
            EventKind::OutOfMemory { attempt },
            "attempt 2 used more memory than it may and was killed by the kernel",
        ),
        (
            EventKind::Killing { signal: text("SIGTERM"), grace: seconds(5) },
            "got SIGTERM; is killed unless it goes within 5s",
        ),
        (EventKind::RestartAsked { reason: text("") }, "asked to begin again"),
        (EventKind::RestartAsked { reason: text("it hangs") }, "asked to begin again: it hangs"),
        (EventKind::Signaling { signal: text("SIGHUP"), reason: text("") }, "gets SIGHUP"),
        (
            EventKind::Signaling { signal: text("SIGHUP"), reason: text("new token") },
            "gets SIGHUP: new token",
        ),
        (
            EventKind::HookFailed { phase: text("stop"), hook: text("tell"), error: error.clone() },
            "stop hook \"tell\" failed: no space",
        ),
        (EventKind::ShutdownDelay { delay: seconds(5) }, "its end waits for 5s"),
        (
            EventKind::ShutdownDelaySkipped { reason: text("the node stops") },
            "its end does not wait: the node stops",
        ),
        (EventKind::RestoreFailed { error }, "could not be found again: no space"),
        (EventKind::Updated { revision: 7 }, "follows revision 7 of its task"),
        (
            EventKind::UpdateDeferred { revision: 7, parts: text("work, hooks") },
            "follows revision 7 of its task; from its next attempt on: work, hooks",
        ),
        (EventKind::LimitsApplied { layer: text("a control group") }, "limits are kept by a control group"),
        (EventKind::TaskPaused { failures: 3 }, "its task was paused after 3 failures in a row"),
        (EventKind::Message { source: text("backup"), text: text("100 % %s {}") }, "backup: 100 % %s {}"),
    ]
}

/// The names of all kinds, as reading an unknown one tells them.
fn all_kinds() -> BTreeSet<String> {
    let unknown =
        serde_json::from_str::<EventKind>(r#"{"type": "of a later version"}"#).unwrap_err().to_string();
    let (_, known) = unknown.split_once("expected one of").unwrap();
    known.split('`').skip(1).step_by(2).map(text).collect()
}

/// TR34: each kind has its text for people, with and without its details; what somebody says is told in his own
/// words; and one of an unknown kind is an error.
#[test]
fn tr34_every_kind_of_event_has_its_text_with_and_without_its_details() {
    let mut seen = BTreeSet::new();
    for (kind, expected) in table() {
        assert_eq!(kind.text(), expected);
        let stored = serde_json::to_value(&kind).unwrap();
        seen.insert(text(stored["type"].as_str().unwrap()));
        assert_eq!(serde_json::from_value::<EventKind>(stored).unwrap(), kind, "and it reads back");
    }
    assert_eq!(seen, all_kinds(), "every kind is in the table");
}
