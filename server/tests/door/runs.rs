//! Runs over the wire.

use crate::house::{House, request, send};
use axum::http::{HeaderValue, Method};
use punctual::testing::Act;
use serde_json::{Value, json};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn run_now_answers_at_once_with_the_place_of_a_durable_run() {
    let house = House::new().await;
    house.engine.script(|_| Act::run_for(10 * SECOND));
    house.task("a").await;
    let answer = house.ask(Method::POST, "/v1/tasks/a:run", None).await;
    let run = answer.is(202);
    let id = run["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), format!("/v1/runs/{id}"));
    assert_eq!((&run["task_name"], &run["trigger"]), (&json!("a"), &json!("manual")));
    house.engine.settle().await;
    assert_eq!(house.get(answer.header("location")).await.is(200)["state"], "running");
    house.engine.advance(10 * SECOND).await;
    let ended = house.get(&format!("/v1/runs/{id}")).await.is(200);
    assert_eq!((&ended["state"], &ended["life"]["attempt"]), (&json!("succeeded"), &json!(1)));
    house.post("/v1/tasks/nobody:run", json!({})).await.refuses(404, "not found", "task not found");
}

#[tokio::test(start_paused = true)]
async fn waiting_answers_with_the_end_or_when_the_time_is_over() {
    let house = House::new().await;
    house.engine.script(|_| Act::Run(10 * SECOND, Box::new(Act::Exit(7))));
    house.task("a").await;
    let wait = |path: &str, method: Method| {
        let (router, request) = (house.router(), request(method, path, None));
        tokio::spawn(send(router, request))
    };
    let patient = wait("/v1/tasks/a:run?wait=30s", Method::POST);
    let hasty = wait("/v1/tasks/a:run?wait=5s", Method::POST);
    house.engine.settle().await;
    assert!(!patient.is_finished() && !hasty.is_finished());
    house.engine.advance(5 * SECOND).await;
    let hasty = hasty.await.expect("an answer").is(202);
    assert_eq!(hasty["state"], "running");
    assert!(!patient.is_finished());
    let id = hasty["id"].as_str().expect("an id").to_owned();
    let poll = wait(&format!("/v1/runs/{id}?wait=1h"), Method::GET);
    house.engine.advance(5 * SECOND).await;
    for ended in [patient.await.expect("an answer").is(200), poll.await.expect("an answer").is(200)] {
        assert_eq!((&ended["state"], &ended["why"]), (&json!("failed"), &json!("exit code 7")));
        assert_eq!(ended["outcome"]["exit"], json!({"code": 7}));
    }
    // A run that has ended is not waited for.
    house.get(&format!("/v1/runs/{id}?wait=1h")).await.is(200);
}

#[tokio::test(start_paused = true)]
async fn the_trace_of_who_asks_is_kept_and_what_is_none_is_as_none() {
    let house = House::new().await;
    house.task("a").await;
    let asked = |traces: &[&'static str]| {
        let mut request = request(Method::POST, "/v1/tasks/a:run", None);
        for trace in traces {
            request.headers_mut().append("traceparent", HeaderValue::from_static(trace));
        }
        send(house.router(), request)
    };
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let run = asked(&[good]).await.is(202);
    assert_eq!(run["trace"], good);
    let id = run["id"].as_str().expect("an id");
    assert_eq!(house.get(&format!("/v1/runs/{id}")).await.is(200)["trace"], good);
    let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    for bad in [&["nonsense"][..], &[zero], &[good, good], &[]] {
        assert_eq!(asked(bad).await.is(202)["trace"], Value::Null, "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_request_says_reaches_the_run() {
    let house = House::new().await;
    house.task("a").await;
    let body = json!({
        "params": {"x": 1}, "scheduled_for": "2026-12-31T00:00:00Z", "run_at": "2027-01-01T01:00:00Z", "force": true,
        "idempotency_key": "k",
    });
    let run = house.post("/v1/tasks/a:run", body).await.is(202);
    assert_eq!(run["params"], json!({"x": 1}));
    assert_eq!(run["scheduled_for"], "2026-12-31T00:00:00Z");
    assert_eq!(run["life"]["state"], json!({"scheduled": {"at": "2027-01-01T01:00:00Z"}}));
    assert_eq!((&run["forced"], &run["idempotency_key"]), (&json!(true), &json!("k")));
    house.post("/v1/tasks/a:run", json!({"params": [1]})).await.refuses(400, "invalid", "params");
}

#[tokio::test(start_paused = true)]
async fn d13_the_same_key_gets_the_same_run_however_it_is_given() {
    let house = House::new().await;
    house.task("a").await;
    house.task("b").await;
    let with = async |path: &str, header: Option<&str>, body: Value| {
        let mut request = request(Method::POST, path, Some(body));
        if let Some(key) = header {
            request.headers_mut().insert("idempotency-key", key.parse().expect("a header"));
        }
        house.send(request).await
    };
    let first = with("/v1/tasks/a:run", Some("deploy-1"), json!({})).await;
    assert_eq!(first.header("idempotent-replayed"), "");
    let id = first.is(202)["id"].clone();
    house.engine.settle().await;
    for (header, body) in [
        (Some("deploy-1"), json!({})),
        (None, json!({"idempotency_key": "deploy-1"})),
        (Some("deploy-1"), json!({"idempotency_key": "deploy-1"})),
    ] {
        let again = with("/v1/tasks/a:run", header, body).await;
        assert_eq!(again.is(200)["id"], id);
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    with("/v1/tasks/a:run", Some("one"), json!({"idempotency_key": "two"}))
        .await
        .refuses(400, "invalid", "differ");
    // Keys are the task's own.
    assert_ne!(with("/v1/tasks/b:run", Some("deploy-1"), json!({})).await.is(202)["id"], id);
    let all = house.get("/v1/runs").await.is(200);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2));
    // Many at once, too.
    let mut answers = Vec::new();
    for _ in 0..50 {
        let mut request = request(Method::POST, "/v1/tasks/a:run", None);
        request.headers_mut().insert("idempotency-key", "many".parse().expect("a header"));
        answers.push(tokio::spawn(send(house.router(), request)));
    }
    house.engine.settle().await;
    let mut ids = Vec::new();
    for answer in answers {
        ids.push(answer.await.expect("an answer").json()["id"].to_string());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn d13_a_key_that_comes_back_with_another_request_is_a_conflict() {
    let house = House::new().await;
    house.task("a").await;
    let asked =
        json!({"params": {"x": 1}, "run_at": "2027-01-01T01:00:00Z", "force": true, "idempotency_key": "k"});
    let id = house.post("/v1/tasks/a:run", asked.clone()).await.is(202)["id"].clone();
    for (field, other) in [
        ("params", json!({"x": 2})),
        ("run_at", json!("2027-01-01T02:00:00Z")),
        ("scheduled_for", json!("2026-12-31T00:00:00Z")),
        ("force", json!(false)),
    ] {
        let mut again = asked.clone();
        again[field] = other;
        house.post("/v1/tasks/a:run", again).await.refuses(409, "conflict", &format!("another {field}"));
    }
    assert_eq!(house.post("/v1/tasks/a:run", asked).await.is(202)["id"], id);
    let all = house.get("/v1/runs").await.is(200);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_canceled_and_made_again() {
    let house = House::new().await;
    house.engine.script(|_| Act::Hang);
    house.task("a").await;
    let id = house.post("/v1/tasks/a:run", json!({})).await.is(202)["id"].as_str().expect("an id").to_owned();
    house.engine.settle().await;
    house.ask(Method::POST, &format!("/v1/runs/{id}:retry"), None).await.refuses(
        409,
        "conflict",
        "not yet finished",
    );
    let stopping = house.ask(Method::POST, &format!("/v1/runs/{id}:cancel"), None).await;
    assert_eq!(stopping.is(202)["life"]["state"]["stopping"]["why"], "cancel");
    house.engine.advance(SECOND).await;
    let canceled = house.ask(Method::POST, &format!("/v1/runs/{id}:cancel"), None).await.is(200);
    assert_eq!(canceled["life"]["state"], json!({"canceled": {"why": "asked"}}));
    house.ask(Method::POST, &format!("/v1/runs/{id}:resume"), None).await.refuses(
        409,
        "conflict",
        "was not lost",
    );
    house.engine.script(|_| Act::Succeed);
    let retried =
        send(house.router(), request(Method::POST, &format!("/v1/runs/{id}:retry?wait=1m"), None)).await;
    let retried = retried.is(200);
    assert_eq!(
        (&retried["state"], &retried["trigger"]),
        (&json!("succeeded"), &json!({"retry": {"of": id}}))
    );
    for verb in ["cancel", "restart", "retry", "resume"] {
        let path = format!("/v1/runs/00000000000000ff:{verb}");
        house.ask(Method::POST, &path, None).await.refuses(404, "not found", "run not found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_at_work_can_be_begun_again_and_signalled_and_no_other() {
    let house = House::new().await;
    house.engine.script(|_| Act::run_for(10 * SECOND));
    house.task("a").await;
    let id = house.post("/v1/tasks/a:run", json!({})).await.is(202)["id"].as_str().expect("an id").to_owned();
    house.engine.settle().await;
    let path = |verb: &str| format!("/v1/runs/{id}:{verb}");
    house.post(&path("signal"), json!({})).await.refuses(400, "empty value", "signal");
    house.post(&path("cancel"), json!({"signal": "HUP"})).await.refuses(400, "invalid", "means nothing here");
    let signalled = house.post(&path("signal"), json!({"signal": "HUP"})).await.is(200);
    let told = &signalled["events"][0];
    assert_eq!((&told["type"], &told["text"]), (&json!("signaling"), &json!("gets HUP")));
    let asked = house.post(&path("restart"), json!({"reason": "it hangs"})).await.is(202);
    assert_eq!(asked["life"]["state"]["stopping"]["why"], "restart");
    house.engine.settle().await;
    let again = house.get(&format!("/v1/runs/{id}")).await.is(200);
    assert_eq!((&again["state"], &again["life"]["attempt"]), (&json!("running"), &json!(2)));
    assert_eq!(again["events"][1]["text"], "asked to begin again: it hangs");
    house.engine.advance(10 * SECOND).await;
    for (verb, body) in [("restart", json!({})), ("signal", json!({"signal": "HUP"}))] {
        house.post(&path(verb), body).await.refuses(
            409,
            "conflict",
            "is succeeded: nothing of it is at work",
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_run_goes_on_with_what_it_had_saved() {
    let mut house = House::new().await;
    house.engine.script(|_| Act::Save(json!({"row": 42}), Box::new(Act::Hang)));
    house.task("a").await;
    let id = house.post("/v1/tasks/a:run", json!({})).await.is(202)["id"].as_str().expect("an id").to_owned();
    house.engine.settle().await;
    // What it saves goes along with the next write about it.
    house = house.crash().await;
    let lost = house.get(&format!("/v1/runs/{id}")).await.is(200);
    assert_eq!(lost["life"]["state"], json!({"lost": {"why": "node_died"}}));
    house.engine.script(|_| Act::Succeed);
    let resumed = house.ask(Method::POST, &format!("/v1/runs/{id}:resume?wait=1m"), None).await.is(200);
    assert_eq!(resumed["trigger"], json!({"resume": {"of": id}}));
    assert_eq!(resumed["saved"], lost["saved"]);
}

#[tokio::test(start_paused = true)]
async fn runs_are_listed_by_task_state_and_time_page_by_page() {
    let house = House::new().await;
    house.engine.script(|attempt| if attempt.task.spec.name == "bad" { Act::Exit(1) } else { Act::Succeed });
    for name in ["good", "bad"] {
        house.task(name).await;
        for n in 0..5 {
            let body = json!({"scheduled_for": format!("2026-06-0{}T00:00:00Z", n + 1)});
            house.post(&format!("/v1/tasks/{name}:run?wait=1m"), body).await.is(200);
        }
    }
    let count = async |path: &str| house.get(path).await.is(200)["items"].as_array().map_or(0, Vec::len);
    assert_eq!(count("/v1/runs").await, 10);
    assert_eq!(count("/v1/tasks/good/runs").await, 5);
    assert_eq!(count("/v1/runs?task=bad&state=failed").await, 5);
    assert_eq!(count("/v1/runs?task=bad&state=succeeded").await, 0);
    assert_eq!(count("/v1/runs?state=failed&state=succeeded").await, 10);
    assert_eq!(count("/v1/runs?state=failed,succeeded&task=good").await, 5);
    assert_eq!(count("/v1/runs?from=2026-06-02T00:00:00Z&until=2026-06-04T00:00:00Z").await, 4);
    for order in ["", "&oldest_first=true"] {
        let (mut ids, mut path) = (Vec::new(), format!("/v1/runs?limit=3{order}"));
        loop {
            let page = house.get(&path).await.is(200);
            let items = page["items"].as_array().expect("items");
            assert!(items.len() <= 3);
            ids.extend(items.iter().map(|run| run["id"].as_str().unwrap_or_default().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => path = format!("/v1/runs?limit=3{order}&after={next}"),
                None => break,
            }
        }
        let mut sorted = ids.clone();
        sorted.sort();
        if order.is_empty() {
            sorted.reverse();
        }
        assert_eq!(ids, sorted);
        assert_eq!(ids.len(), 10);
    }
    house.get("/v1/runs?task=nobody").await.refuses(404, "not found", "task not found");
}

#[tokio::test(start_paused = true)]
async fn the_history_of_a_deleted_task_is_found_by_its_id() {
    let house = House::new().await;
    let id = house.task("a").await["id"].as_str().expect("an id").to_owned();
    house.post("/v1/tasks/a:run?wait=1m", json!({})).await.is(200);
    assert_eq!(house.ask(Method::DELETE, "/v1/tasks/a", None).await.status, 204);
    let runs = house.get(&format!("/v1/tasks/{id}/runs")).await.is(200);
    assert_eq!(runs["items"][0]["task_name"], "a");
}
