//! What runs write, over the wire: whole, and as it is written.

use crate::house::{House, manual, request};
use axum::body::{Body, to_bytes};
use axum::http::Method;
use punctual::testing::Act;
use punctual_server::HEARTBEAT;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);

/// The first attempt prints and fails after ten seconds, the second prints and fails after five.
fn talk(attempt: &punctual::executor::Attempt) -> Act {
    let (text, seconds, code) =
        if attempt.run.life.attempt == 1 { ("one\n", 10, 1) } else { ("two\n", 5, 3) };
    Act::Print(text.to_owned(), Box::new(Act::Run(seconds * SECOND, Box::new(Act::Exit(code)))))
}

/// Both attempts, with the pause and its jitter between them.
const ALL: Duration = Duration::from_secs(17);

async fn started(house: &House) -> String {
    house.engine.script(talk);
    let mut task = manual("a");
    task["restart"] = json!({"attempts": 1, "delay": "1s"});
    house.post("/v1/tasks", task).await.is(201);
    let run = house.post("/v1/tasks/a:run", json!({})).await.is(202);
    house.engine.settle().await;
    run["id"].as_str().expect("an id").to_owned()
}

async fn body(house: &House, path: &str, headers: &[(&'static str, &str)]) -> (String, Body) {
    let mut request = request(Method::GET, path, None);
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    let response = house.router().oneshot(request).await.expect("infallible");
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    (kind, response.into_body())
}

async fn whole(body: Body) -> String {
    String::from_utf8(to_bytes(body, 1 << 20).await.expect("a body").to_vec()).expect("text")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(start_paused = true)]
async fn the_log_is_plain_text_as_far_as_it_is_written() {
    let house = House::new().await;
    let id = started(&house).await;
    let (kind, log) = body(&house, &format!("/v1/runs/{id}/logs"), &[]).await;
    assert_eq!((kind.as_str(), whole(log).await.as_str()), ("text/plain; charset=utf-8", "one\n"));
    house.engine.advance(ALL).await;
    let (_, log) = body(&house, &format!("/v1/runs/{id}/logs"), &[]).await;
    assert_eq!(whole(log).await, "one\ntwo\n");
    let (_, log) = body(&house, &format!("/v1/runs/{id}/logs"), &[("accept", "application/x-ndjson")]).await;
    let all = lines(&whole(log).await);
    let second = all[1]["seq"].as_u64().expect("a number");
    let (_, log) = body(&house, &format!("/v1/runs/{id}/logs?from_seq={second}"), &[]).await;
    assert_eq!(whole(log).await, "two\n");
    house.get("/v1/runs/0123456789abcdef/logs").await.refuses(404, "not found", "run not found");
}

/// The record stays, and says what there was.
#[tokio::test(start_paused = true)]
async fn output_that_its_retention_has_removed_is_said_to_be_gone() {
    let house = House::new().await;
    let mut task = manual("a");
    task["output"] = json!({"age": "2h"});
    house.post("/v1/tasks", task).await.is(201);
    house.engine.script(|attempt| match attempt.task.spec.name.as_str() {
        "a" => Act::Print("words\n".to_owned(), Box::new(Act::Succeed)),
        _ => Act::Succeed,
    });
    house.post("/v1/tasks", manual("silent")).await.is(201);
    let mut ids = Vec::new();
    for task in ["a", "silent"] {
        let run = house.post(&format!("/v1/tasks/{task}:run"), json!({})).await.is(202);
        ids.push(run["id"].as_str().expect("an id").to_owned());
    }
    house.engine.advance(SECOND).await;
    let (_, log) = body(&house, &format!("/v1/runs/{}/logs", ids[0]), &[]).await;
    assert_eq!(whole(log).await, "words\n");
    house.engine.advance(4 * 3600 * SECOND).await;
    for how in ["", "?follow=1", "?raw=stdout", "?search=words"] {
        let answer = house.get(&format!("/v1/runs/{}/logs{how}", ids[0])).await;
        answer.refuses(410, "not found", "was removed by its retention");
    }
    let run = house.get(&format!("/v1/runs/{}", ids[0])).await.is(200);
    assert_eq!(run["outcome"]["output"]["bytes"], 6);
    // Of a run that wrote nothing there is nothing that could have gone.
    let (_, log) = body(&house, &format!("/v1/runs/{}/logs", ids[1]), &[]).await;
    assert_eq!(whole(log).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_ends_with_the_run_and_says_how() {
    let house = House::new().await;
    let id = started(&house).await;
    let (kind, log) =
        body(&house, &format!("/v1/runs/{id}/logs?follow=1"), &[("accept", "application/x-ndjson")]).await;
    assert_eq!(kind, "application/x-ndjson");
    let following = tokio::spawn(whole(log));
    house.engine.advance(14 * SECOND).await;
    assert!(!following.is_finished(), "the second attempt is at work");
    house.engine.advance(3 * SECOND).await;
    let all = lines(&following.await.expect("a log"));
    let texts: Vec<&str> = all.iter().filter_map(|line| line["text"].as_str()).collect();
    assert_eq!(texts, ["one\n", "two\n"]);
    assert_eq!(all.last(), Some(&json!({"type": "end", "run": id, "state": "failed"})));
    // After the end it is the same, at once.
    let (_, again) = body(&house, &format!("/v1/runs/{id}/logs?follow"), &[]).await;
    assert_eq!(whole(again).await, "one\ntwo\n");
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_a_heartbeat_of_the_engines_clock() {
    let house = House::new().await;
    house.engine.script(|_| Act::Run(HEARTBEAT * 3 + SECOND, Box::new(Act::Succeed)));
    house.task("a").await;
    let id = house.post("/v1/tasks/a:run", json!({})).await.is(202)["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/runs/{id}/logs?follow=1");
    let (_, log) = body(&house, &path, &[("accept", "application/x-ndjson")]).await;
    let following = tokio::spawn(whole(log));
    for _ in 0..3 {
        house.engine.advance(HEARTBEAT).await;
    }
    house.engine.advance(SECOND).await;
    let all = lines(&following.await.expect("a log"));
    let kinds: Vec<&str> = all.iter().filter_map(|line| line["type"].as_str()).collect();
    assert_eq!(kinds, ["heartbeat", "heartbeat", "heartbeat", "end"]);
}

#[tokio::test(start_paused = true)]
async fn events_go_on_where_a_browser_had_got_to() {
    let house = House::new().await;
    let id = started(&house).await;
    house.engine.advance(ALL).await;
    let path = format!("/v1/runs/{id}/logs?follow=1");
    let (kind, log) = body(&house, &path, &[("accept", "text/event-stream")]).await;
    assert_eq!(kind, "text/event-stream");
    let text = whole(log).await;
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.len(), 2, "{text}");
    assert!(
        text.ends_with(&format!(
            "event: end\ndata: {{\"type\":\"end\",\"run\":\"{id}\",\"state\":\"failed\"}}\n\n"
        )),
        "{text}"
    );
    let (_, rest) = body(&house, &path, &[("accept", "text/event-stream"), ("last-event-id", ids[0])]).await;
    let rest = whole(rest).await;
    assert!(!rest.contains("one") && rest.contains("two"), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn when_the_node_stops_followers_hear_the_end_or_that_there_is_none_yet() {
    let house = House::new().await;
    let at_work = started(&house).await;
    let later = house.post("/v1/tasks/a:run", json!({"run_at": "2028-01-01T00:00:00Z"})).await.is(202);
    let later = later["id"].as_str().expect("an id");
    let mut last = Vec::new();
    for id in [&at_work, later] {
        let path = format!("/v1/runs/{id}/logs?follow=1");
        let (_, log) = body(&house, &path, &[("accept", "application/x-ndjson")]).await;
        last.push(tokio::spawn(whole(log)));
    }
    house.engine.settle().await;
    let clock = house.engine.clock().clone();
    let stopping = tokio::spawn(house.stop());
    clock.advance(60 * SECOND).await;
    stopping.await.expect("stopped");
    let mut ends = Vec::new();
    for log in last {
        ends.push(lines(&log.await.expect("a log")).pop().expect("a last line"));
    }
    // The first attempt ended by itself within the grace and was followed by a pause, in which the stop left it.
    assert_eq!((&ends[0]["type"], &ends[0]["code"]), (&json!("error"), &json!("unavailable")));
    assert_eq!((&ends[1]["type"], &ends[1]["code"]), (&json!("error"), &json!("unavailable")));
}

#[tokio::test(start_paused = true)]
async fn one_stream_is_answered_raw_and_a_search_answers_the_lines_that_contain_it() {
    let house = House::new().await;
    house.engine.script(|_| {
        let first = Act::Print("a needle\nhay\nneed".to_owned(), Box::new(Act::run_for(SECOND)));
        Act::Print("hay and ".to_owned(), Box::new(first))
    });
    house.task("a").await;
    let run = house.post("/v1/tasks/a:run", json!({})).await.is(202);
    house.engine.advance(2 * SECOND).await;
    let path = format!("/v1/runs/{}/logs", run["id"].as_str().expect("an id"));
    let (kind, log) = body(&house, &format!("{path}?raw=stdout"), &[]).await;
    assert_eq!(kind, "application/octet-stream");
    assert_eq!(whole(log).await, "hay and a needle\nhay\nneed");
    let (_, log) = body(&house, &format!("{path}?raw=stderr"), &[]).await;
    assert_eq!(whole(log).await, "");
    let (_, log) = body(&house, &format!("{path}?search=needle"), &[]).await;
    assert_eq!(whole(log).await, "hay and a needle\n");
    let (_, log) = body(&house, &format!("{path}?search=need&follow=1"), &[]).await;
    assert_eq!(whole(log).await, "hay and a needle\nneed\n");
    let (_, log) = body(&house, &format!("{path}?search=hay"), &[("accept", "application/x-ndjson")]).await;
    let found: Vec<_> = lines(&whole(log).await).iter().map(|line| line["text"].clone()).collect();
    assert_eq!(found, [json!("hay and a needle\n"), json!("hay\n")]);
    house.get(&format!("{path}?raw=both")).await.refuses(400, "invalid", "stdout, stderr or log");
}

#[tokio::test(start_paused = true)]
async fn events_are_told_as_they_happen_until_the_end() {
    let house = House::new().await;
    let id = started(&house).await;
    let (kind, log) = body(&house, &format!("/v1/runs/{id}/events?follow=1"), &[]).await;
    assert_eq!(kind, "application/x-ndjson");
    let all = tokio::spawn(whole(log));
    house.engine.advance(ALL).await;
    let told = lines(&all.await.expect("an answer"));
    let of = |kind: &str| told.iter().filter(|line| line["type"] == kind).count();
    assert_eq!(told[told.len() - 1], json!({"type": "end", "run": id, "state": "failed"}));
    assert!(
        told.iter().any(|line| line["type"] == "event" && line["event"]["type"] == "restarting"),
        "{told:?}"
    );
    assert!(told.contains(&json!({"type": "state", "state": "running"})), "{told:?}");
    assert_eq!((of("missed"), of("error")), (0, 0));
    let events = house.get(&format!("/v1/runs/{id}/events")).await.is(200);
    assert_eq!(events["items"].as_array().expect("items").len(), of("event"));
}
