//! What a run takes, as a client declares it and is refused by it.

use crate::house::House;
use serde_json::{Value, json};

fn task(name: &str, parameters: Value) -> Value {
    json!({"name": name, "parameters": parameters, "work": {"driver": "handler", "name": "job"}})
}

/// DI01, DI02: what is declared is shown, and what is given is judged by it.
#[tokio::test(start_paused = true)]
async fn di01_di02_what_a_task_takes_is_declared_shown_and_kept_to() {
    let house = House::new().await;
    let declared = json!({"payload": "required", "optional": ["region", "day"]});
    let made = house.post("/v1/tasks", task("a", declared.clone())).await.is(201);
    assert_eq!(made["spec"]["parameters"], declared);
    let written = house.get("/v1/tasks/a").await.is(200)["spec"].clone();
    assert_eq!(written["parameters"], declared);
    let run = async |body: Value| house.post("/v1/tasks/a:run", body).await;
    assert_eq!(run(json!({"params": {"day": 1}})).await.is(202)["params"], json!({"day": 1}));
    run(json!({})).await.refuses(400, "invalid", "params: expected at least one");
    run(json!({"params": {"days": 1}})).await.refuses(400, "invalid", "the task does not know \"days\"");
    let large = json!({"params": {"day": "x".repeat(16 << 10)}});
    run(large).await.refuses(400, "invalid", "params: expected at most 16384 bytes of JSON");
    // Nothing declared is not shown, and takes anything.
    let free = house.post("/v1/tasks", task("free", json!({}))).await.is(201);
    assert_eq!(free["spec"].get("parameters"), None);
    house.post("/v1/tasks/free:run", json!({"params": {"what": "ever"}})).await.is(202);

    for (parameters, part) in [
        (
            json!({"required": ["a"], "optional": ["a"]}),
            "parameters.optional[0]: expected a name that is not",
        ),
        (
            json!({"payload": "forbidden", "required": ["a"]}),
            "parameters.payload: expected optional or required",
        ),
        (
            json!({"payload": "must"}),
            "unknown variant `must`, expected one of `optional`, `required`, `forbidden`",
        ),
        (json!({"require": ["a"]}), "did you mean \"required\"?"),
    ] {
        house
            .post("/v1/tasks?dry_run=true", task("bad", parameters.clone()))
            .await
            .refuses(400, "invalid", part);
        house.post("/v1/tasks", task("bad", parameters)).await.refuses(400, "invalid", part);
    }
}

/// DI03: what could never run is refused, and so is a priority that is none.
#[tokio::test(start_paused = true)]
async fn di03_requirements_beside_a_schedule_and_a_priority_out_of_range_are_refused() {
    let house = House::new().await;
    let mut scheduled = task("a", json!({"required": ["region"]}));
    scheduled["schedules"] = json!([{"every": "1h"}]);
    let refused = house.post("/v1/tasks", scheduled.clone()).await;
    refused.refuses(400, "invalid", "parameters.required: expected nothing required beside a schedule");
    scheduled["parameters"] = json!({"optional": ["region"]});
    for (priority, good) in [(-129, false), (-128, true), (127, true), (128, false)] {
        scheduled["name"] = json!(format!("p{}", i32::abs(priority)));
        scheduled["priority"] = json!(priority);
        let answer = house.post("/v1/tasks", scheduled.clone()).await;
        if good {
            assert_eq!(answer.is(201)["spec"]["priority"], json!(priority));
        } else {
            let part = format!("priority: expected -128 to 127, not {priority}");
            answer.refuses(400, "invalid", &part);
        }
    }
}

/// DI05
#[tokio::test(start_paused = true)]
async fn di05_the_counts_of_a_task_are_told() {
    let house = House::new().await;
    let id = house.task("a").await["id"].as_str().expect("an id").to_owned();
    let counts = async |task: &str| house.get(&format!("/v1/tasks/{task}/counts")).await;
    assert_eq!(counts("a").await.is(200), json!({"states": {}, "more": false}));
    for run_at in ["2027-01-01T01:00:00Z", "2027-01-01T02:00:00Z"] {
        house.post("/v1/tasks/a:run", json!({"run_at": run_at})).await.is(202);
    }
    house.post("/v1/tasks/a:run?wait=30s", json!({})).await.is(200);
    let told = json!({"states": {"scheduled": 2, "succeeded": 1}, "more": false});
    assert_eq!((counts("a").await.is(200), counts(&id).await.is(200)), (told.clone(), told));
    counts("nobody").await.refuses(404, "not found", "task not found");
    house.get("/v1/tasks/a/counts?state=lost").await.refuses(400, "invalid", "unknown parameter");
}
