use super::super::third_attempt::{self, START};
use super::*;
use crate::client::test_server::{TestServer, answer, answer_with, nobody};
use crate::egress::Egress;
use punctual_clock::{SystemClock, VirtualClock};
use punctual_model::hook::{HttpBody, HttpCall};
use serde_json::{Value, json};

/// Keeps what a request says.
#[derive(Default)]
struct Said {
    lines: std::sync::Mutex<Vec<String>>,
    output: std::sync::Mutex<Vec<u8>>,
}

impl RunSink for Said {
    fn output(&self, stream: Stream, bytes: &[u8]) {
        assert_eq!(stream, Stream::Stdout);
        self.output.lock().unwrap().extend_from_slice(bytes);
    }

    fn event(&self, what: EventKind) {
        self.lines.lock().unwrap().push(what.text());
    }

    fn save(&self, _state: Value) {}
}

fn attempt(call: HttpCall, params: Value) -> Attempt {
    third_attempt::attempt(Work::Http(call), params, Value::Null)
}

fn client() -> Arc<Client> {
    let egress = Egress::public_only().allow("127.0.0.1".parse().unwrap());
    Arc::new(Client::new(egress, Arc::new(SystemClock::new().unwrap())))
}

async fn started(call: HttpCall, params: Value) -> (Arc<Said>, Result<Box<dyn Handle>, Failure>) {
    let said = Arc::new(Said::default());
    let sink: Arc<dyn RunSink> = Arc::<Said>::clone(&said);
    let driver = HttpDriver::new(client(), Arc::new(SystemClock::new().unwrap()));
    let handle = driver.start(attempt(call, params), sink).await;
    (said, handle)
}

async fn ended(call: HttpCall, params: Value) -> (Arc<Said>, Outcome) {
    let (said, handle) = started(call, params).await;
    let handle = handle.unwrap();
    let outcome = handle.wait().await;
    assert_eq!(handle.wait().await, outcome);
    (said, outcome)
}

#[tokio::test]
async fn a_run_asks_with_its_parameters_and_keeps_the_answer() {
    let server = TestServer::start(|_| {
        answer_with(200, &[("content-type", "text/plain"), ("set-cookie", "secret")], "thanks\n")
    })
    .await;
    let mut call = HttpCall::get(server.url("/hook/${params.region}?run=${run.id}"));
    call.method = "POST".to_owned();
    call.headers.insert("X-Region".to_owned(), "<${params.region}>".to_owned());
    call.body = Some(HttpBody::Json(json!({"region": "${params.region}", "n": "${params.n:-1}"})));
    let (said, outcome) = ended(call, json!({"region": "eu/\"west\""})).await;
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(*said.output.lock().unwrap(), b"thanks\n");
    let result = outcome.result.unwrap();
    assert_eq!((&result["status"], &result["bytes"]), (&json!(200), &json!(7)));
    assert_eq!(result["address"], server.address.to_string());
    assert_eq!(result["headers"], json!({"content-type": "text/plain", "content-length": "7"}));
    let line = said.lines.lock().unwrap().remove(0);
    assert!(line.contains("200 OK") && line.contains("7 bytes"), "{line}");

    let asked = server.asked().remove(0);
    assert_eq!(asked.uri.to_string(), "/hook/eu%2F%22west%22?run=0000000000000abc");
    assert_eq!(asked.headers["x-region"], "<eu/\"west\">");
    assert_eq!(asked.headers["content-type"], "application/json");
    assert_eq!(asked.headers["idempotency-key"], "0000000000000abc");
    assert_eq!(asked.headers["punctual-attempt"], "3");
    assert_eq!(asked.headers["traceparent"], "00-00000000000000010000000000000abc-00000abc00000003-01");
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(body, json!({"region": "eu/\"west\"", "n": "1"}));
    assert!(!asked.headers.keys().any(|name| name.as_str().contains("punctual_")));
}

#[tokio::test]
async fn what_the_task_says_takes_the_place_of_what_the_engine_would() {
    let server = TestServer::start(|_| answer(200, "")).await;
    let mut call = HttpCall::get(server.url("/"));
    call.method = "PUT".to_owned();
    call.body = Some(HttpBody::Text("a=${params.x|url}".to_owned()));
    for (name, value) in [
        ("Idempotency-Key", "${run.id}-${run.attempt}"),
        ("TraceParent", "mine"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("User-Agent", "me"),
    ] {
        call.headers.insert(name.to_owned(), value.to_owned());
    }
    ended(call, json!({"x": "1&b=2"})).await;
    let asked = server.asked().remove(0);
    assert_eq!(asked.body, "a=1%26b%3D2");
    assert_eq!(asked.headers["idempotency-key"], "0000000000000abc-3");
    for (name, value) in
        [("traceparent", "mine"), ("content-type", "application/x-www-form-urlencoded"), ("user-agent", "me")]
    {
        assert_eq!(asked.headers.get_all(name).iter().collect::<Vec<_>>(), [value]);
    }
}

#[tokio::test]
async fn the_status_decides_and_says_whether_another_attempt_could_go_better() {
    let server = TestServer::start(|asked| {
        let status = asked.uri.path()[1..].parse().unwrap();
        answer_with(status, &[("retry-after", "30")], "why")
    })
    .await;
    // Status, whether it is expected, whether it is worth another attempt.
    for (status, expect, good, recoverable) in [
        (200, None, true, false),
        (204, None, true, false),
        (299, None, true, false),
        (304, None, false, false),
        (400, None, false, false),
        (401, None, false, false),
        (404, None, false, false),
        (408, None, false, true),
        (409, None, false, false),
        (429, None, false, true),
        (500, None, false, true),
        (503, None, false, true),
        (404, Some(404), true, false),
        (200, Some(404), false, false),
        (302, Some(302), true, false),
    ] {
        let mut call = HttpCall::get(server.url(&format!("/{status}")));
        call.expect = expect.iter().map(|status| serde_json::from_value(json!(status)).unwrap()).collect();
        let (_, outcome) = ended(call, Value::Null).await;
        assert_eq!(outcome.is_success(), good, "{status} {expect:?}");
        let result = outcome.result.unwrap();
        assert_eq!((&result["status"], &result["retry_after"]), (&json!(status), &json!(30)));
        if let Some(failure) = outcome.error {
            assert_eq!((failure.kind, failure.recoverable), (FailureKind::Work, recoverable), "{status}");
            assert!(failure.message.contains(&status.to_string()), "{}", failure.message);
            assert!(failure.message.contains("30 s"), "{}", failure.message);
        }
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_bound() {
    let server = TestServer::start(|_| answer(200, vec![b'x'; 1 << 20])).await;
    let mut call = HttpCall::get(server.url("/"));
    call.max_response = 100_000;
    let (said, outcome) = ended(call, Value::Null).await;
    assert!(outcome.is_success());
    assert_eq!(said.output.lock().unwrap().len(), 100_000);
    assert_eq!(outcome.result.unwrap()["truncated"], true);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_worth_another_attempt_and_a_forbidden_one_is_not() {
    let gone = nobody();
    for (url, recoverable) in [
        (format!("http://{}/", gone.address), true),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), false),
        ("http://10.0.0.1/".to_owned(), false),
        (format!("http://[::1]:{}/", gone.address.port()), false),
    ] {
        let (_, outcome) = ended(HttpCall::get(&url), Value::Null).await;
        let failure = outcome.error.unwrap();
        assert_eq!((failure.kind, failure.recoverable), (FailureKind::Work, recoverable), "{url}");
        assert_eq!(outcome.result, None);
    }
}

#[tokio::test]
async fn what_cannot_be_put_together_is_not_sent() {
    let server = TestServer::start(|_| answer(200, "")).await;
    let with_header = |name: &str, value: &str| {
        let mut call = HttpCall::get(server.url("/"));
        call.headers.insert(name.to_owned(), value.to_owned());
        call
    };
    for call in [
        HttpCall::get("ftp://example.com/"),
        HttpCall::get("http://user:pass@127.0.0.1/"),
        HttpCall::get(server.url("/${params.missing}")),
        HttpCall::get(server.url("/${params.dots}/secret")),
        HttpCall::get("http://${params.host}/"),
        with_header("X-Text", "${params.lines}"),
        with_header("X-Text", "${params.foreign}"),
        with_header("Host", "elsewhere"),
        with_header("Content-Length", "1"),
        with_header("not a name", "1"),
        HttpCall { method: "NOT A METHOD".to_owned(), ..HttpCall::get(server.url("/")) },
        HttpCall {
            body: Some(HttpBody::Json(json!({"a": "${params.missing}"}))),
            ..HttpCall::get(server.url("/"))
        },
    ] {
        let params =
            json!({"lines": "a\r\nX-Admin: yes", "foreign": "ü", "dots": "..", "host": "evil.example"});
        let Err(failure) = started(call.clone(), params).await.1 else { panic!("{call:?}") };
        assert_eq!((failure.kind, failure.recoverable), (FailureKind::Start, false), "{call:?}");
        assert!(!failure.message.contains("X-Admin"), "{}", failure.message);
    }
    assert!(server.asked().is_empty());
}

/// A server that takes connections and never answers; answers when it has seen the end of one.
async fn silent() -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut all).await.unwrap();
        all
    });
    (url, seen)
}

#[tokio::test]
async fn a_stop_closes_the_connection_at_once() {
    let (url, seen) = silent().await;
    let (_, handle) = started(HttpCall::get(url), Value::Null).await;
    let handle = handle.unwrap();
    // Asked once, and then left, as an attempt does that is told to stop.
    let waited = tokio::select! {
        biased;
        outcome = handle.wait() => Some(outcome),
        () = async { for _ in 0..10 { tokio::task::yield_now().await } } => None,
    };
    assert_eq!(waited, None);
    assert_eq!(handle.kill("TERM", Duration::from_secs(3600)).await, Ok(Killed::ByItself));
    let failure = handle.wait().await.error.unwrap();
    assert_eq!((failure.kind, failure.recoverable), (FailureKind::Canceled, false));
    drop(seen.await.unwrap());
    assert!(!handle.detach().await && handle.signal("HUP").await.is_err());
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_a_timeout_worth_another_attempt() {
    let (url, seen) = silent().await;
    let clock = VirtualClock::new(START);
    let mut call = HttpCall::get(url);
    call.timeout = Duration::from_secs(7);
    let said = Arc::new(Said::default());
    let sink: Arc<dyn RunSink> = Arc::<Said>::clone(&said);
    let driver = HttpDriver::new(client(), Arc::new(clock.clone()));
    let handle = driver.start(attempt(call, Value::Null), sink).await.unwrap();
    let moving = async {
        while clock.next_deadline().is_none() {
            tokio::task::yield_now().await;
        }
        clock.advance_now(Duration::from_secs(7));
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = handle.wait() => outcome,
        () = moving => unreachable!(),
    };
    let failure = outcome.error.unwrap();
    assert_eq!((failure.kind, failure.recoverable), (FailureKind::Timeout, true));
    assert!(failure.message.contains("within 7s"), "{}", failure.message);
    drop(handle);
    drop(seen.await.unwrap());
}

#[tokio::test]
async fn a_request_of_a_node_that_died_is_never_found_again() {
    let driver = HttpDriver::new(client(), Arc::new(SystemClock::new().unwrap()));
    let sink: Arc<dyn RunSink> = Arc::new(Said::default());
    assert!(
        driver
            .recover(attempt(HttpCall::get("http://127.0.0.1/"), Value::Null), sink)
            .await
            .handle()
            .is_none()
    );
}
