//! `dev`: something to see within seconds, without any configuration, that survives what one does to it.

use crate::daemon::Daemon;
use crate::place::Place;
use rustix::process::Signal;

fn dev(place: &Place) -> Daemon {
    Daemon::start(place.command().arg("dev").arg("--data").arg(place.data()))
}

#[test]
fn dev_shows_runs_at_once_and_finds_everything_after_a_kill() {
    let place = Place::new();
    let mut daemon = dev(&place);
    daemon.out.until("new      hello");
    let again = daemon.out.until("nothing is lost");
    assert!(again.contains(&format!("kill -9 {}", daemon.pid())), "{again}");
    assert!(again.contains(&format!("punctual dev --data {}", place.data().display())), "{again}");
    let restarted = daemon.out.until("attempt 1 ended");
    assert!(restarted.contains("flaky") && restarted.contains("scheduled"), "{restarted}");
    let hello = daemon.out.seen.iter().find(|line| line.contains("hello, this is run"));
    let line = hello.cloned().unwrap_or_else(|| daemon.out.until("hello, this is run"));
    assert!(line.contains('✓') && line.contains("succeeded"), "{line}");
    assert!(!daemon.out.text().contains('\x1b'), "colours belong to terminals");
    daemon.kill();

    let mut daemon = dev(&place);
    daemon.out.until("known    hello");
    let third = daemon.out.until("at attempt 3");
    assert!(third.contains("flaky") && third.contains("succeeded"), "{third}");
    daemon.signal(Signal::INT);
    daemon.out.until("stopping");
    // What is slow need not end by itself.
    daemon.signal(Signal::INT);
    assert_eq!(daemon.end().code(), Some(0), "{}", daemon.err.text());
    let text = daemon.out.text();
    assert!(text.contains("stopping") && text.contains("punctual run list --data"), "{text}");

    // One run went through all three attempts, across the kill.
    let flaky = place.runs_of("flaky");
    let done = flaky.iter().find(|run| run["state"] == "succeeded").expect("a success");
    assert_eq!(done["life"]["attempt"], 3);
    assert!(place.runs_of("hello").iter().any(|run| run["state"] == "succeeded"));
}
