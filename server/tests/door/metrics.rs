//! What a monitoring system is shown.

use crate::house::House;
use axum::http::Method;
use punctual::testing::Act;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

async fn scrape(house: &House) -> BTreeMap<String, f64> {
    let answer = house.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// TR24: labels are bounded, and named as everywhere. B31, B02: each end counts once, and what is at work is shown as long as it is.
#[tokio::test(start_paused = true)]
async fn b31_b02_runs_are_shown_by_type_state_and_trigger_and_no_id_is_a_label() {
    let house = House::new().await;
    house.engine.script(|_| Act::run_for(Duration::from_secs(10)));
    house.task("hourly").await;
    let run = house.ask(Method::POST, "/v1/tasks/hourly:run", None).await.is(202);
    house.engine.settle().await;
    let before = scrape(&house).await;
    assert_eq!((before["punctual_runs_at_work"], before["punctual_queue_depth"]), (1.0, 0.0));
    assert_eq!(before["punctual_executor_workers{class=\"process\",state=\"busy\"}"], 1.0);
    assert_eq!(before["punctual_run_attempts_total{type=\"system\"}"], 1.0);
    house.engine.advance(Duration::from_secs(10)).await;
    let second = house.ask(Method::POST, "/v1/tasks/hourly:run", None).await.is(202);
    house.engine.settle().await;
    let path = |run: &serde_json::Value| format!("/v1/runs/{}:cancel", run["id"].as_str().expect("an id"));
    for target in [&second, &second, &run] {
        house.post(&path(target), json!({})).await;
        house.engine.settle().await;
    }
    let after = scrape(&house).await;
    let ended =
        |state: &str| format!("punctual_runs_total{{type=\"system\",state=\"{state}\",trigger=\"manual\"}}");
    assert_eq!((after[&ended("succeeded")], after[&ended("canceled")]), (1.0, 1.0));
    assert_eq!(after["punctual_runs_at_work"], 0.0);
    let took = "punctual_run_duration_seconds";
    let of = "type=\"system\",state=\"succeeded\"";
    assert_eq!(after[&format!("{took}_sum{{{of}}}")], 10.0);
    assert_eq!(after[&format!("{took}_count{{{of}}}")], 1.0);
    let text = house.get("/metrics").await.text();
    for id in [&run["id"], &run["task"], &second["id"]] {
        assert!(!text.contains(id.as_str().expect("an id")), "{text}");
    }
    assert!(!text.contains("hourly"));
    is_documented(&text);
}

/// The names are the documentation's.
fn is_documented(text: &str) {
    let documented = include_str!("../../../docs/metrics.md");
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().expect("a name");
        assert!(documented.contains(&format!("`{name}")), "{name} is not in docs/metrics.md");
    }
}
