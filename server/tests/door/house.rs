//! An engine with its door, and requests to it.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use punctual::Punctual;
use punctual::testing::TestEngine;
use punctual_server::{Api, Door, Parts, Token, router};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use tower::ServiceExt;

/// Port of the TCP door.
pub(crate) const PORT: u16 = 7878;

/// Largest answer that a test reads.
const MAX_ANSWER: usize = 8 << 20;

pub(crate) struct House {
    pub(crate) engine: TestEngine,
    pub(crate) api: Api,
    pub(crate) token: String,
    router: Router,
    _dir: TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of an answer with this status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Asserts an error: its status, its code and a part of its message, and that there is nothing else in it.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, code: &str, part: &str) {
        let error = self.is(status);
        assert_eq!(error["code"], code);
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(part), "{part:?} is not in {message}");
        assert_eq!(error.as_object().expect("an object").len(), 2, "{error}");
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::over(TestEngine::at("2027-01-01T00:00:30Z").await)
    }

    fn over(engine: TestEngine) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(Token::FILE);
        let token = Token::open(&file).expect("a token");
        let api = Api::new(Parts {
            coordinator: engine.coordinator().clone(),
            scheduler: engine.scheduler().clone(),
            store: Arc::clone(engine.store()),
            executor: engine.executor(),
            outputs: engine.outputs().clone(),
            clock: Arc::clone(Punctual::clock(&engine)),
            default_zone: "UTC".to_owned(),
            zone_source: "a test".to_owned(),
            token: Some(token),
        });
        let router = router(&api);
        let token = std::fs::read_to_string(&file).expect("the token").trim().to_owned();
        Self { engine, api, token, router, _dir: dir }
    }

    /// The process dies, and comes back over the same store.
    pub(crate) async fn crash(self) -> Self {
        let Self { engine, api, router, .. } = self;
        drop((api, router));
        Self::over(engine.crash_and_reopen().await)
    }

    /// Stops in order: writes first.
    pub(crate) async fn stop(self) {
        self.api.refuse_writes();
        self.engine.stop().await;
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        send(self.router(), request).await
    }

    /// Sends a request through the trusted door.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send(request(method, path, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Creates a task that runs only when told to.
    pub(crate) async fn task(&self, name: &str) -> Value {
        self.post("/v1/tasks", manual(name)).await.is(201)
    }
}

pub(crate) async fn send(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.expect("infallible");
    let (head, body) = response.into_parts();
    let body = to_bytes(body, MAX_ANSWER).await.expect("a body").to_vec();
    Answer { status: head.status, headers: head.headers, body }
}

/// A request through the trusted door.
pub(crate) fn request(method: Method, path: &str, body: Option<Value>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).extension(Door::Trusted);
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    request.expect("a request")
}

pub(crate) fn manual(name: &str) -> Value {
    json!({"name": name, "work": {"driver": "shell", "script": "true"}})
}
