//! Processes that outlive their daemon.

use super::Met;
use crate::chance::Chance;
use crate::checker::history::Word;
use crate::place::Place;
use crate::tasks::More;
use crate::{callers, daemon, time};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A hundred at work, `kill -9` of their daemon, half of them end while there is none, and one more kill while the
/// others are at work still: each run is one process, ends as that ended, and has all that it wrote.
pub(crate) fn a_hundred(_: Chance) -> Met {
    let mut place = Place::new("reattach", More { outliving: true, ..More::default() });
    let first = place.served();
    let socket = place.data().join("punctual.sock");
    for number in 0..100 {
        let path = format!("/v1/tasks/outlives-{}:run", number % 4);
        let key = json!({ "idempotency_key": format!("run-{number}") });
        time::until(PATIENCE, || callers::post(&socket, &path, &key)).expect("an answer");
    }
    let started = |place: &Place| place.witness().iter().filter(|line| line.word == Word::Start).count();
    let ended = |place: &Place| place.witness().iter().filter(|line| line.word == Word::End).count();
    time::until(PATIENCE, || (started(&place) == 100).then_some(())).expect("all are at work");
    place.kill(first, true);
    // The short ones end by themselves, with nobody there.
    time::until(PATIENCE, || (ended(&place) >= 50).then_some(())).expect("half of them end");
    let second = place.served();
    place.kill(second, true);
    place.heal();
    place.judge();

    let mut written: BTreeMap<String, String> = BTreeMap::new();
    for line in place.witness() {
        let word = match line.word {
            Word::Start => "S",
            Word::Alive => "A",
            Word::End => "E",
        };
        *written.entry(line.run).or_default() += &format!("{word} {}\n", line.number);
    }
    let records = place.last();
    assert_eq!((records.len(), written.len(), started(&place)), (100, 100, 100));
    for record in &records {
        let (state, code) = match record.task.as_str() {
            "outlives-1" => ("failed", 3),
            "outlives-3" => ("failed", 5),
            _ => ("succeeded", 0),
        };
        let run = daemon::show(&place.data(), &record.id);
        assert_eq!((record.state.as_str(), record.attempt), (state, 1), "{run}");
        assert_eq!(run["outcome"]["exit"]["code"], code, "{run}");
        assert_eq!(run["output"].as_str(), Some(written[&record.id].as_str()), "{run}");
    }
    // The last thing that each shim does, when it has heard that the end is recorded.
    let left = || std::fs::read_dir(place.data().join("processes")).expect("the directory").count();
    time::until(PATIENCE, || (left() == 0).then_some(())).expect("no files of shims are left");
    println!("reattach: 100 processes outlived two daemons");
    place.done()
}
