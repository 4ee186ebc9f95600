//! Who gets in. The list of doors to try is the router's own table.

use crate::house::{House, PORT, request, send};
use axum::body::Body;
use axum::http::{Method, Request};
use punctual_server::{Access, Door, Route, routes};
use serde_json::json;

/// Every request that there is a route for: its plain path, and each of its verbs.
fn requests() -> Vec<(Method, String, Access)> {
    let filled = |path: &str| path.replace("{task}", "0123456789abcdef").replace("{run}", "0123456789abcdef");
    let mut all = Vec::new();
    for Route { method, path, verbs, access } in routes() {
        let path = filled(path);
        let with = |verb: &&str| (method.clone(), format!("{path}:{verb}"), access);
        all.extend(verbs.iter().map(with));
        if verbs.is_empty() {
            all.push((method, path, access));
        }
    }
    all
}

fn by_tcp(method: &Method, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("127.0.0.1:{PORT}"))
        .extension(Door::Loopback(PORT))
}

fn empty(builder: axum::http::request::Builder) -> Request<Body> {
    builder.body(Body::empty()).expect("a request")
}

#[tokio::test(start_paused = true)]
async fn d10_no_route_but_the_two_that_say_yes_or_no_answers_a_stranger() {
    let house = House::new().await;
    let all = requests();
    let open: Vec<&str> = all
        .iter()
        .filter(|(_, _, access)| *access == Access::Open)
        .map(|(_, path, _)| path.as_str())
        .collect();
    assert_eq!(open, ["/livez", "/readyz"], "a new route without credentials needs a reason");
    assert!(all.len() >= 19, "{all:?}");
    for (method, path, access) in &all {
        let wrong = [
            None,
            Some(String::new()),
            Some("Bearer".to_owned()),
            Some("Bearer ".to_owned()),
            Some("Bearer nothing".to_owned()),
            Some(format!("Basic {}", house.token)),
            Some(format!("Bearer {}x", house.token)),
            Some(format!("Bearer {}", &house.token[1..])),
        ];
        for shown in wrong {
            let mut request = by_tcp(method, path);
            if let Some(shown) = &shown {
                request = request.header("authorization", shown);
            }
            let answer = house.send(empty(request)).await;
            if *access == Access::Open {
                assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok\n"), "{path}");
            } else {
                answer.refuses(401, "unauthorized", "Bearer");
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path} {shown:?}");
            }
        }
        // Two tokens, of which one is right.
        let twice = by_tcp(method, path).header("authorization", format!("Bearer {}", house.token));
        let answer = house.send(empty(twice.header("authorization", "Bearer nothing"))).await;
        assert_eq!(answer.status == 401, *access != Access::Open, "{method} {path}");
        // No door at all.
        let nowhere = Request::builder().method(method).uri(path);
        let answer = house.send(empty(nowhere)).await;
        assert_eq!(answer.status == 401, *access != Access::Open, "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_route_answers_whoever_shows_the_token_and_whoever_comes_by_the_socket() {
    let house = House::new().await;
    for (method, path, _) in requests() {
        let request = by_tcp(&method, &path).header("authorization", format!("bearer {}", house.token));
        let by_token = house.send(empty(request)).await;
        assert!(
            ![401, 403, 404, 405, 421].contains(&by_token.status.as_u16()) || not_there(&by_token.json()),
            "{method} {path}: {by_token:?}"
        );
        let by_socket = house.ask(method, &path, None).await;
        assert_eq!(by_socket.status, by_token.status, "{path}");
        assert_eq!(by_socket.header("punctual-version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(by_socket.header("cache-control"), "no-store");
    }
}

/// The task or the run of the sweep, which is not there; a path without a route says something else.
fn not_there(error: &serde_json::Value) -> bool {
    ["task not found", "run not found"].contains(&error["message"].as_str().unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn what_has_no_route_tells_strangers_nothing() {
    let house = House::new().await;
    for (method, path, status, code) in [
        (Method::GET, "/", 404, "not found"),
        (Method::GET, "/v1", 404, "not found"),
        (Method::GET, "/v1/", 404, "not found"),
        (Method::GET, "/v1/tasks/", 404, "not found"),
        (Method::GET, "/V1/tasks", 404, "not found"),
        (Method::GET, "//v1/tasks", 404, "not found"),
        (Method::GET, "/v1/../v1/tasks", 404, "not found"),
        (Method::POST, "/v1/nothing", 404, "not found"),
        (Method::PATCH, "/v1/tasks", 405, "method not allowed"),
        (Method::DELETE, "/v1/runs", 405, "method not allowed"),
        (Method::POST, "/v1/tasks/x", 405, "method not allowed"),
        (Method::POST, "/v1/tasks/x:explode", 404, "not found"),
    ] {
        house.send(empty(by_tcp(&method, path))).await.refuses(401, "unauthorized", "Bearer");
        house.ask(method, path, None).await.refuses(status, code, "");
    }
    house.ask(Method::POST, "/v1/tasks/x:puase", None).await.refuses(
        404,
        "not found",
        "did you mean \"pause\"?",
    );
}

#[tokio::test(start_paused = true)]
async fn d9_a_host_that_is_not_ours_is_misdirected_on_every_route() {
    let house = House::new().await;
    let token = format!("Bearer {}", house.token);
    let ask = async |path: &str, host: Option<&str>, second: Option<&str>| {
        let mut request = Request::builder().uri(path).header("authorization", &token);
        for host in host.iter().chain(&second) {
            request = request.header("host", *host);
        }
        house.send(empty(request.extension(Door::Loopback(PORT)))).await.status.as_u16()
    };
    for path in ["/livez", "/readyz", "/v1/health", "/v1/tasks", "/nowhere"] {
        for host in [
            "evil.test",
            "evil.test:7878",
            "127.0.0.1",
            "127.0.0.1:80",
            "0.0.0.0:7878",
            "localhost.evil.test:7878",
            "",
        ] {
            assert_eq!(ask(path, Some(host), None).await, 421, "{path} {host:?}");
        }
        assert_eq!(ask(path, None, None).await, 421, "{path} without a host");
        assert_eq!(ask(path, Some("127.0.0.1:7878"), Some("evil.test")).await, 421, "{path} with two hosts");
        let absolute = format!("http://evil.test:7878{path}");
        assert_eq!(ask(&absolute, Some("127.0.0.1:7878"), None).await, 421, "{path} in absolute form");
        for host in ["127.0.0.1:7878", "localhost:7878", "[::1]:7878"] {
            assert_ne!(ask(path, Some(host), None).await, 421, "{path} {host}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d8_a_page_of_another_site_does_nothing_even_with_the_token() {
    let house = House::new().await;
    let ask = async |name: &str, value: &str| {
        let request =
            by_tcp(&Method::GET, "/v1/tasks").header("authorization", format!("Bearer {}", house.token));
        house.send(empty(request.header(name, value))).await.status.as_u16()
    };
    for origin in [
        "http://evil.test",
        "https://127.0.0.1:7878",
        "null",
        "http://localhost:1",
        "http://127.0.0.1:7878.evil.test",
    ] {
        assert_eq!(ask("origin", origin).await, 403, "{origin}");
    }
    for site in ["cross-site", "same-site", "Same-Origin", ""] {
        assert_eq!(ask("sec-fetch-site", site).await, 403, "{site}");
    }
    assert_eq!(ask("origin", "http://127.0.0.1:7878").await, 200);
    assert_eq!(ask("sec-fetch-site", "same-origin").await, 200);
    assert_eq!(ask("sec-fetch-site", "none").await, 200);
    // What a form can send without asking: no JSON, so no write.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        let request =
            by_tcp(&Method::POST, "/v1/tasks").header("authorization", format!("Bearer {}", house.token));
        let body = Body::from(crate::house::manual("sneaky").to_string());
        let answer = house.send(request.header("content-type", kind).body(body).expect("a request")).await;
        answer.refuses(400, "invalid", "application/json");
    }
    assert_eq!(house.get("/v1/tasks").await.is(200)["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_stop_refuses_writes_first_and_goes_on_to_answer() {
    let house = House::new().await;
    house.task("a").await;
    house.api.refuse_writes();
    for (method, path, access) in requests() {
        let answer = send(house.router(), request(method.clone(), &path, None)).await;
        let refused = answer.status == 503;
        assert_eq!(refused, access == Access::Write || path == "/readyz", "{method} {path}: {answer:?}");
    }
    house.get("/v1/tasks/a").await.is(200);
    assert_eq!(house.get("/v1/health").await.is(200)["status"], "stopping");
    house.post("/v1/tasks/a:run", json!({})).await.refuses(503, "unavailable", "stopping");
}

#[test]
fn every_route_is_in_the_documentation() {
    let text = include_str!("../../../docs/http-api.md");
    for Route { method, path, verbs, .. } in routes() {
        let plain = verbs.is_empty().then(|| format!("`{method} {path}`"));
        let with_verbs = verbs.iter().map(|verb| format!("`{method} {path}:{verb}`"));
        for route in plain.into_iter().chain(with_verbs) {
            assert!(text.contains(&route), "{route} is not in docs/http-api.md");
        }
    }
}
