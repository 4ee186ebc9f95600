use super::super::third_attempt::{self, START};
use super::*;
use crate::driver::Stream;
use punctual_clock::VirtualClock;
use punctual_model::Run;
use punctual_model::event::EventKind;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Deserialize, Serialize, PartialEq)]
struct Report {
    tenant: String,
    #[serde(default)]
    pages: u32,
}

#[derive(Clone)]
struct App {
    name: &'static str,
}

/// Keeps what a handler says.
#[derive(Default)]
struct Said {
    lines: std::sync::Mutex<Vec<String>>,
}

impl RunSink for Said {
    fn output(&self, stream: Stream, bytes: &[u8]) {
        let text = format!("{stream:?}: {}", String::from_utf8_lossy(bytes).trim_end());
        self.lines.lock().unwrap().push(text);
    }

    fn event(&self, what: EventKind) {
        self.lines.lock().unwrap().push(what.text());
    }

    fn save(&self, state: Value) {
        self.lines.lock().unwrap().push(format!("saved {state}"));
    }
}

fn attempt(name: &str, args: Value, params: Value, saved: Value) -> Attempt {
    third_attempt::attempt(Work::handler_with(name, args), params, saved)
}

fn driver(handlers: Handlers) -> (VirtualClock, HandlerDriver) {
    let clock = VirtualClock::new(START);
    (clock.clone(), HandlerDriver::new(handlers, Arc::new(clock)))
}

async fn call(handlers: Handlers, args: Value, params: Value) -> Result<Outcome, Failure> {
    let (_clock, driver) = driver(handlers);
    let attempt = attempt("it", args, params, Value::Null);
    Ok(driver.start(attempt, Arc::<Said>::default()).await?.wait().await)
}

fn failure_of(outcome: Outcome) -> Failure {
    outcome.error.expect("it failed")
}

#[tokio::test]
async fn a_handler_takes_arguments_state_and_its_run_in_any_order() {
    async fn whole(
        State(app): State<App>,
        context: RunCtx,
        Args(report): Args<Report>,
    ) -> Result<String, TaskError> {
        Ok(format!("{} {} {} {}", app.name, report.tenant, report.pages, context.attempt()))
    }
    let handlers = Handlers::new().with_state(App { name: "app" }).add("it", whole);
    let outcome = call(handlers, json!({"tenant": "acme", "pages": 1}), json!({"pages": 7})).await.unwrap();
    assert_eq!(outcome, Outcome { result: Some(json!("app acme 7 3")), ..Outcome::default() });
}

#[test]
fn parameters_are_laid_over_arguments() {
    use extract::lay_over;
    assert_eq!(lay_over(&json!({"a": 1, "b": 2}), &json!({"b": 3, "c": 4})), json!({"a": 1, "b": 3, "c": 4}));
    assert_eq!(lay_over(&json!({"a": 1}), &Value::Null), json!({"a": 1}));
    assert_eq!(lay_over(&json!([1]), &json!({"b": 3})), json!({"b": 3}));
    assert_eq!(lay_over(&Value::Null, &json!(5)), json!(5));
}

#[tokio::test]
async fn errors_say_whether_another_attempt_could_go_better() {
    async fn io() -> Result<(), std::io::Error> {
        Err(std::io::Error::other("disk on fire"))
    }
    async fn mixed(Args(kind): Args<String>) -> Result<(), TaskError> {
        match kind.as_str() {
            "retry" => Err(TaskError::retry("busy")),
            "fail" => Err(TaskError::fail("no data")),
            "canceled" => Err(TaskError::canceled()),
            number => {
                number.parse::<u32>()?;
                Ok(())
            }
        }
    }
    let failure = failure_of(call(Handlers::new().add("it", io), Value::Null, Value::Null).await.unwrap());
    assert_eq!(failure, Failure::new(FailureKind::Work, "disk on fire").recoverable());
    for (kind, expect) in [
        ("retry", Failure::new(FailureKind::Work, "busy").recoverable()),
        ("fail", Failure::new(FailureKind::Work, "no data")),
        ("canceled", Failure::new(FailureKind::Canceled, "canceled")),
        ("x", Failure::new(FailureKind::Work, "invalid digit found in string").recoverable()),
    ] {
        let outcome = call(Handlers::new().add("it", mixed), json!(kind), Value::Null).await.unwrap();
        assert_eq!(failure_of(outcome), expect, "{kind}");
    }
    let fine = call(Handlers::new().add("it", mixed), json!("7"), Value::Null).await.unwrap();
    assert_eq!(fine, Outcome::success());
}

#[tokio::test]
async fn what_is_missing_is_a_failure_to_start_that_names_it() {
    async fn wants_state(_: State<App>) -> Result<(), TaskError> {
        Ok(())
    }
    async fn wants_args(_: Args<Report>) -> Result<(), TaskError> {
        Ok(())
    }
    let failure = call(Handlers::new().add("it", wants_state), Value::Null, Value::Null).await.unwrap_err();
    assert!(failure.kind == FailureKind::Start && failure.message.contains("App"), "{failure:?}");
    let failure =
        call(Handlers::new().add("it", wants_args), json!({"pages": 1}), Value::Null).await.unwrap_err();
    assert!(failure.message.contains("missing field `tenant`"), "{failure:?}");
    let others = Handlers::new().with_state(App { name: "" }).add("b", wants_args).add("a", wants_state);
    let failure = call(others, Value::Null, Value::Null).await.unwrap_err();
    assert_eq!(failure.message, "no handler is registered as \"it\"; there are: a, b");
    assert!(!failure.recoverable);
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_text() {
    async fn panics(Args(n): Args<u32>) -> Result<(), TaskError> {
        assert!(n == 0, "n is {n}");
        Ok(())
    }
    let outcome = call(Handlers::new().add("it", panics), json!(5), Value::Null).await.unwrap();
    let failure = failure_of(outcome);
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Panic, "panicked: n is 5"));
}

#[tokio::test]
async fn a_result_that_does_not_fit_is_left_out_and_the_work_stays_done() {
    async fn large() -> Result<String, TaskError> {
        Ok("x".repeat(Outcome::MAX_RESULT + 1))
    }
    let outcome = call(Handlers::new().add("it", large), Value::Null, Value::Null).await.unwrap();
    assert!(outcome.is_success());
    assert!(outcome.result.unwrap().as_str().unwrap().starts_with("result left out"));
}

#[tokio::test]
async fn what_a_handler_says_reaches_its_run() {
    async fn talks(context: RunCtx) -> Result<(), TaskError> {
        assert_eq!(context.saved::<u32>()?, Some(7));
        assert_eq!((context.run_id().get(), context.scheduled_for()), (0xabc, START));
        context.log("rendering");
        for done in 0..100 {
            context.progress(f64::from(done) / 100.0);
        }
        context.save(&8)?;
        context.event("half way");
        context.save(&"x".repeat(Run::MAX_PARAMS + 1)).expect_err("too large");
        Ok(())
    }
    let (_clock, driver) = driver(Handlers::new().add("it", talks));
    let said = Arc::<Said>::default();
    let sink = Arc::<Said>::clone(&said);
    let handle = driver.start(attempt("it", Value::Null, Value::Null, json!(7)), sink).await.unwrap();
    assert_eq!(handle.wait().await, Outcome::success());
    let lines = said.lines.lock().unwrap().clone();
    assert_eq!((lines[0].as_str(), lines.len()), ("Log: rendering", 12));
    assert_eq!(lines[9..], ["progress: 90 %", "saved 8", "handler: half way"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_listens_ends_by_itself_and_one_that_does_not_is_cut_off() {
    async fn listens(context: RunCtx) -> Result<(), TaskError> {
        assert!(!context.is_canceled());
        context.canceled().await;
        assert!(context.is_canceled());
        Err(TaskError::canceled())
    }
    async fn deaf() -> Result<(), TaskError> {
        std::future::pending().await
    }
    let handlers = Handlers::new().add("listens", listens).add("deaf", deaf);
    let (clock, driver) = driver(handlers);
    let start = |name: &'static str| {
        driver.start(attempt(name, Value::Null, Value::Null, Value::Null), Arc::<Said>::default())
    };
    let grace = Duration::from_secs(5);
    let handle = start("listens").await.unwrap();
    assert!(futures_util::poll!(handle.wait()).is_pending());
    assert_eq!(handle.kill("SIGTERM", grace).await, Ok(Killed::ByItself));
    assert_eq!(failure_of(handle.wait().await).kind, FailureKind::Canceled);

    let handle: Arc<dyn Handle> = start("deaf").await.unwrap().into();
    let killing = Arc::clone(&handle);
    let killing = tokio::spawn(async move { killing.kill("SIGTERM", grace * 100).await });
    clock.settle().await;
    // A second call with a shorter grace shortens it, while somebody waits for the end.
    let waiting = Arc::clone(&handle);
    let waiting = tokio::spawn(async move { waiting.wait().await });
    let shorter = Arc::clone(&handle);
    let shorter = tokio::spawn(async move { shorter.kill("SIGTERM", grace).await });
    clock.advance(grace).await;
    assert_eq!(killing.await.unwrap(), Ok(Killed::ByForce));
    assert_eq!(shorter.await.unwrap(), Ok(Killed::ByForce));
    assert_eq!(failure_of(waiting.await.unwrap()).kind, FailureKind::Interrupted);
    assert_eq!(handle.wait().await, handle.wait().await);
    assert!(handle.signal("HUP").await.is_err());
    assert!(!handle.detach().await);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_does_not_stop_the_work() {
    async fn slow(State(clock): State<VirtualClock>) -> Result<u32, TaskError> {
        clock.sleep(Duration::from_secs(5)).await;
        Ok(5)
    }
    let clock = VirtualClock::new(START);
    let handlers = Handlers::new().with_state(clock.clone()).add("it", slow);
    let driver = HandlerDriver::new(handlers, Arc::new(clock.clone()));
    let start = driver.start(attempt("it", Value::Null, Value::Null, Value::Null), Arc::<Said>::default());
    let handle = start.await.unwrap();
    for _ in 0..3 {
        assert!(futures_util::poll!(handle.wait()).is_pending());
    }
    clock.advance(Duration::from_secs(5)).await;
    assert_eq!(handle.wait().await.result, Some(json!(5)));
}
