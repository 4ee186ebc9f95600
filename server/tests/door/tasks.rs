//! Tasks over the wire.

use crate::house::{House, manual, request};
use axum::http::Method;
use punctual::coordinator::FileSet;
use punctual::prelude::*;
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn a_created_task_is_answered_with_its_place_its_tag_and_what_its_schedule_means() {
    let house = House::new().await;
    let mut task = manual("backup");
    task["schedules"] = json!([{"cron": "30 2 * * *"}, {"every": "12h"}]);
    task["timezone"] = json!("Europe/Berlin");
    let answer = house.post("/v1/tasks", task).await;
    let created = answer.is(201);
    let id = created["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), format!("/v1/tasks/{id}"));
    assert_eq!(answer.header("etag"), "\"r1\"");
    assert_eq!(created["type"], "system");
    assert_eq!(created["schedule"]["zone"], "Europe/Berlin");
    assert_eq!(created["schedule"]["schedules"][0]["sentence"], "At 02:30, every day (Europe/Berlin)");
    assert_eq!(created["schedule"]["next"].as_array().map(Vec::len), Some(5));
    assert_eq!(created["schedule"]["next"][0]["at"], "2027-01-01T01:30:00Z");
    let by_name = house.get("/v1/tasks/backup").await;
    assert_eq!(by_name.is(200), created);
    assert_eq!(house.get(&format!("/v1/tasks/{id}")).await.is(200), created);
    house.post("/v1/tasks", manual("backup")).await.refuses(409, "conflict", "exists already");
}

#[tokio::test(start_paused = true)]
async fn what_is_read_can_be_written_back_and_means_the_same() {
    let house = House::new().await;
    let full = json!({
        "name": "full", "description": "all of it", "labels": {"team": "a"}, "status": "paused",
        "schedules": [
            {"cron": "0 2 * * *"}, {"cron": {"expr": "30 2 * * *", "dst_gap": "skip", "dst_overlap": "both"}},
            {"every": "5m"}, {"every": {"interval": "1h", "anchor": "2027-01-01T00:00:00Z"}},
            {"at": "2027-03-28T01:30:00Z"},
        ],
        "timezone": "Europe/Berlin", "offset": "-5m", "jitter": "1m", "splay": "2m", "grace": "20s",
        "catch_up": {"policy": "all", "window": "48h", "limit": 7, "rate": 2},
        "overlap": {"queue_all": {"max": 3}}, "concurrency": {"limit": 2, "key": "db"}, "priority": -3,
        "restart": {"attempts": 3, "interval": "1h", "delay": "10s", "mode": "delay", "on_success": true, "on_lost": "restart"},
        "idempotent": true, "timeout": "1h", "kill": {"signal": "SIGINT", "grace": "9s"},
        "retention": {"runs": 5, "age": "24h"}, "max_output": 4096,
        "work": {"driver": "process", "argv": ["a", "b c"], "env": {"K": "v"}, "cwd": "/tmp", "stdin": "in"},
    });
    let created = house.post("/v1/tasks", full.clone()).await.is(201);
    assert_eq!(created["spec"], full);
    let again = house.ask(Method::PUT, "/v1/tasks/full", Some(created["spec"].clone())).await;
    assert_eq!(again.is(200)["revision"], 1, "nothing has changed");
    // The definition that the engine has is the one that was written.
    let stored = house.engine.tasks().get_by_name("full").await.expect("the task");
    assert_eq!(serde_json::to_value(&stored.task.spec).expect("JSON"), full);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_judges_and_writes_nothing() {
    let house = House::new().await;
    let mut task = manual("a");
    task["schedules"] = json!([{"cron": "@daily"}]);
    let judged = house.post("/v1/tasks?dry_run=true", task.clone()).await.is(200);
    assert_eq!(judged["schedule"]["next"][0]["at"], "2027-01-02T00:00:00Z");
    house.get("/v1/tasks/a").await.refuses(404, "not found", "task not found");
    task["schedules"] = json!([{"cron": "nonsense"}]);
    house.post("/v1/tasks?dry_run=true", task.clone()).await.refuses(400, "invalid", "schedules[0]");
    house.task("a").await;
    house.ask(Method::PUT, "/v1/tasks/a?dry_run=1", Some(task)).await.refuses(400, "invalid", "schedules[0]");
    house.ask(Method::PUT, "/v1/tasks/a?dry_run=1", Some(manual("b"))).await.is(200);
    assert_eq!(house.get("/v1/tasks/a").await.is(200)["revision"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_for_another_revision_than_the_current_one_fails() {
    let house = House::new().await;
    house.task("a").await;
    let put = async |tag: &str, text: &str| {
        let mut task = manual("a");
        task["description"] = json!(text);
        let mut request = request(Method::PUT, "/v1/tasks/a", Some(task));
        request.headers_mut().insert("if-match", tag.parse().expect("a header"));
        house.send(request).await
    };
    let second = put("\"r1\"", "second").await;
    assert_eq!((second.is(200)["revision"].clone(), second.header("etag")), (json!(2), "\"r2\""));
    put("\"r1\"", "third").await.refuses(412, "conflict", "revision 2, not 1");
    for wrong in ["r1", "\"1\"", "W/\"r2\"", "\"r2\", \"r3\"", "\"r-2\""] {
        put(wrong, "third").await.refuses(400, "invalid", "If-Match");
    }
    assert_eq!(put("*", "third").await.is(200)["revision"], 3);
    for (method, path) in [
        (Method::DELETE, "/v1/tasks/a"),
        (Method::POST, "/v1/tasks/a:pause"),
        (Method::POST, "/v1/tasks/a:resume"),
    ] {
        let mut stale = request(method, path, None);
        stale.headers_mut().insert("if-match", "\"r1\"".parse().expect("a header"));
        house.send(stale).await.refuses(412, "conflict", "revision 3");
    }
    let mut delete = request(Method::DELETE, "/v1/tasks/a", None);
    delete.headers_mut().insert("if-match", "\"r3\"".parse().expect("a header"));
    let gone = house.send(delete).await;
    assert_eq!((gone.status.as_u16(), gone.body.len()), (204, 0));
    house.get("/v1/tasks/a").await.refuses(404, "not found", "task not found");
}

#[tokio::test(start_paused = true)]
async fn a_listing_goes_page_by_page_and_knows_its_filters() {
    let house = House::new().await;
    for n in 0..5 {
        let mut task = manual(&format!("t{n}"));
        task["labels"] = json!({"even": if n % 2 == 0 { "yes" } else { "no" }});
        task["status"] = json!(if n < 2 { "paused" } else { "active" });
        house.post("/v1/tasks", task).await.is(201);
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items");
        items.iter().map(|task| task["spec"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let (mut seen, mut path) = (Vec::new(), "/v1/tasks?limit=2".to_owned());
    loop {
        let page = house.get(&path).await.is(200);
        seen.push(names(&page));
        match page["next_cursor"].as_str() {
            Some(next) => path = format!("/v1/tasks?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.concat(), ["t0", "t1", "t2", "t3", "t4"]);
    assert!(seen.len() >= 3, "{seen:?}");
    assert_eq!(names(&house.get("/v1/tasks?status=paused").await.is(200)), ["t0", "t1"]);
    assert_eq!(names(&house.get("/v1/tasks?label=even%3Dyes").await.is(200)), ["t0", "t2", "t4"]);
    assert_eq!(names(&house.get("/v1/tasks?label=even%3Dyes&status=paused").await.is(200)), ["t0"]);
    assert_eq!(names(&house.get("/v1/tasks?name=t3").await.is(200)), ["t3"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_task_has_no_dues_until_it_is_resumed_with_those_of_the_pause_or_without() {
    let house = House::new().await;
    for (name, dues, expect) in [("forgets", "from_now", 0), ("owes", "catch_up", 1)] {
        let mut task = manual(name);
        task["schedules"] = json!([{"every": "1m"}]);
        house.post("/v1/tasks", task).await.is(201);
        let paused = house.ask(Method::POST, &format!("/v1/tasks/{name}:pause"), None).await.is(200);
        assert_eq!((&paused["spec"]["status"], &paused["revision"]), (&json!("paused"), &json!(2)));
        house.engine.advance(std::time::Duration::from_secs(150)).await;
        let resumed = house.post(&format!("/v1/tasks/{name}:resume"), json!({"dues": dues})).await.is(200);
        assert_eq!(resumed["spec"]["status"], "active");
        house.engine.settle().await;
        let runs = house.get(&format!("/v1/tasks/{name}/runs?state=succeeded")).await.is(200);
        assert_eq!(runs["items"].as_array().map(Vec::len), Some(expect), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_file_is_the_files() {
    let house = House::new().await;
    let spec = TaskSpec::new("mine", Work::shell("true"));
    let set = FileSet { path: "/etc/tasks.toml".to_owned(), specs: vec![spec] };
    house.engine.tasks().apply_file_sets(vec![set]).await.expect("applied");
    assert_eq!(house.get("/v1/tasks/mine").await.is(200)["owner"], json!({"file": "/etc/tasks.toml"}));
    let mut other = manual("mine");
    other["description"] = json!("changed");
    house.ask(Method::PUT, "/v1/tasks/mine", Some(other)).await.refuses(403, "forbidden", "/etc/tasks.toml");
    house.ask(Method::DELETE, "/v1/tasks/mine", None).await.refuses(403, "forbidden", "/etc/tasks.toml");
}

#[tokio::test(start_paused = true)]
async fn tasks_of_another_system_are_not_there() {
    let house = House::new().await;
    let face = house.engine.face(TaskType::new("check"));
    let other = face.create(TaskSpec::new("hidden", Work::shell("true")).into()).await.expect("created");
    let id = other.stored.task.id;
    let run = face.tasks().run_now(id, RunRequest::default()).await.expect("accepted").run.id;
    house.engine.settle().await;
    assert_eq!(house.get("/v1/tasks").await.is(200)["items"], json!([]));
    assert_eq!(house.get("/v1/runs").await.is(200)["items"], json!([]));
    for path in [
        format!("/v1/tasks/{id}"),
        "/v1/tasks/hidden".to_owned(),
        format!("/v1/tasks/{id}/runs"),
        format!("/v1/runs?task={id}"),
        format!("/v1/runs/{run}"),
        format!("/v1/runs/{run}/logs"),
    ] {
        house.get(&path).await.refuses(404, "not found", "not found");
    }
    for path in
        [format!("/v1/tasks/{id}:run"), format!("/v1/runs/{run}:cancel"), format!("/v1/runs/{run}:retry")]
    {
        house.ask(Method::POST, &path, None).await.refuses(404, "not found", "not found");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_dues_are_as_many_as_asked_for() {
    let house = House::new().await;
    let mut task = manual("a");
    task["schedules"] = json!([{"every": "1h"}]);
    house.post("/v1/tasks", task).await.is(201);
    let next = house.get("/v1/tasks/a/next?n=30").await.is(200);
    assert_eq!(next["items"].as_array().map(Vec::len), Some(30));
    assert_eq!(next["items"][29]["at"], "2027-01-02T06:00:00Z");
    house.get("/v1/tasks/a/next?n=101").await.refuses(400, "invalid", "1 to 100");
}

#[tokio::test(start_paused = true)]
async fn health_names_what_is_there() {
    let house = House::new().await;
    let mut task = manual("a");
    task["schedules"] = json!([{"every": "1h"}]);
    house.post("/v1/tasks", task).await.is(201);
    let health = house.get("/v1/health").await.is(200);
    assert_eq!(health["status"], "ok");
    assert_eq!(health["oldest_unrecorded_due"], Value::Null);
    assert_eq!(health["scheduler"]["next_run_at"], "2027-01-01T01:00:00Z");
    assert_eq!(health["now"], "2027-01-01T00:00:30Z");
    assert_eq!(health["time_zones"]["source"], "a test");
    assert_eq!(health["runs"], json!({"waiting": 0, "at_work": 0}));
    assert_eq!((&health["unschedulable"], &health["quarantined"]), (&json!([]), &json!([])));
}
