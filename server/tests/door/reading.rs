//! What is no request is refused, with words that help, and never takes the node along.

use crate::house::{House, manual};
use axum::body::Body;
use axum::http::{Method, Request};
use punctual_server::{Door, MAX_BODY};
use serde_json::{Value, json};

async fn raw(house: &House, body: impl Into<Body>) -> crate::house::Answer {
    let request = Request::post("/v1/tasks").header("content-type", "application/json; charset=utf-8");
    house.send(request.extension(Door::Trusted).body(body.into()).expect("a request")).await
}

#[tokio::test(start_paused = true)]
async fn d2_bad_json_is_refused() {
    let house = House::new().await;
    let deep = "[".repeat(100_000);
    for text in [
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{\"name\": 1}",
        "{\"name\":\"a\",\"name\":\"b\",\"work\":{}}",
        deep.as_str(),
        "{\"name\":\"a\",\"priority\":1e999,\"work\":{\"driver\":\"shell\",\"script\":\"\"}}",
        "{\"name\":\"\\ud800\",\"work\":{\"driver\":\"shell\",\"script\":\"\"}}",
        "\u{feff}{}",
        "{}\0",
        "{\"name\":\"a\",\"work\":{\"driver\":\"teleport\"}}",
        "{\"name\":\"a\",\"timeout\":\"1 year\",\"work\":{\"driver\":\"shell\",\"script\":\"\"}}",
    ] {
        let answer = raw(&house, text.to_owned()).await;
        answer.refuses(400, "invalid", "");
    }
    raw(&house, vec![0xff, 0xfe, b'{', b'}']).await.refuses(400, "invalid", "");
    raw(&house, "").await.refuses(400, "empty value", "JSON");
    assert_eq!(house.get("/v1/tasks").await.is(200)["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_refused_as_that() {
    let house = House::new().await;
    let mut task = manual("big");
    task["description"] = json!("x".repeat(MAX_BODY));
    raw(&house, task.to_string()).await.refuses(413, "request too large", "1048576");
    task["description"] = json!("x".repeat(MAX_BODY / 2));
    // Under it the definition's own limits speak.
    raw(&house, task.to_string()).await.refuses(400, "invalid", "description");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_field_is_refused_with_what_may_have_been_meant() {
    let house = House::new().await;
    for (change, part) in [
        (json!({"tiemout": "5s"}), "did you mean \"timeout\"?"),
        (json!({"restart": {"atempts": 3}}), "did you mean \"attempts\"?"),
        (json!({"overlap": "skipp"}), "did you mean \"skip\"?"),
        (json!({"work": {"driver": "shell", "scirpt": "true"}}), "did you mean \"script\"?"),
        (json!({"type": "check"}), "unknown field `type`"),
        (json!({"metadata": {}}), "unknown field `metadata`"),
        (json!({"kill": {"garce": "1s"}}), "did you mean \"grace\"?"),
    ] {
        let mut task = manual("a");
        task.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        house.post("/v1/tasks", task).await.refuses(400, "invalid", part);
    }
    house.task("a").await;
    house.post("/v1/tasks/a:run", json!({"parmas": {}})).await.refuses(
        400,
        "invalid",
        "did you mean \"params\"?",
    );
    house.post("/v1/tasks/a:resume", json!({"dues": "now"})).await.refuses(400, "invalid", "");
    house.post("/v1/runs/0123456789abcdef:cancel", json!({"why": 1})).await.refuses(400, "invalid", "why");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_or_senseless_parameter_is_refused() {
    let house = House::new().await;
    for (path, part) in [
        ("/v1/tasks?limt=5", "did you mean \"limit\"?"),
        ("/v1/tasks?limit=five", "a number"),
        ("/v1/tasks?status=asleep", "active or paused"),
        ("/v1/tasks?label=x", "key=value"),
        ("/v1/tasks?after=nonsense", "next_cursor"),
        ("/v1/tasks?name=a&name=b", "twice"),
        ("/v1/runs?state=runing", "did you mean \"running\"?"),
        ("/v1/runs?from=yesterday", "an instant"),
        ("/v1/runs?after=dDE", "next_cursor"),
        ("/v1/runs/0123456789abcdef?wait=soon", ""),
        ("/v1/runs/nonsense", "16 hexadecimal"),
        ("/v1/tasks/%ff", "UTF-8"),
        ("/v1/health?verbose", "unknown parameter"),
    ] {
        let answer = house.get(path).await;
        if path.contains("wait") {
            // The run is looked for first, and is not there.
            answer.refuses(404, "not found", "run not found");
        } else {
            answer.refuses(400, "invalid", part);
        }
    }
    house.get("/v1/tasks?limit=501").await.refuses(422, "unprocessable entity", "between 1 and 500");
}

#[tokio::test(start_paused = true)]
async fn d5_no_name_means_a_file_or_another_path() {
    let house = House::new().await;
    for name in
        ["..%2f..%2fetc%2fpasswd", "%2e%2e", "%00", "%2Fetc%2Fpasswd", "CON", "%E2%80%AE", &"x".repeat(4096)]
    {
        for path in ["/v1/tasks/{}", "/v1/tasks/{}/runs", "/v1/tasks/{}/next"] {
            house.get(&path.replace("{}", name)).await.refuses(404, "not found", "");
        }
        for path in ["/v1/runs/{}", "/v1/runs/{}/logs"] {
            house.get(&path.replace("{}", name)).await.refuses(400, "invalid", "");
        }
    }
    for name in ["../x", "a/b", "a\nb", "a\u{202e}b", "\0", "", " ", "0123456789abcdef"] {
        let mut task = manual("a");
        task["name"] = Value::from(name);
        house.post("/v1/tasks", task).await.refuses(400, "invalid", "name");
    }
    let _ = house.ask(Method::GET, "/v1/tasks", None).await.is(200);
}
