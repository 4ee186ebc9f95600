use super::*;
use crate::overlap::Overlap;
use crate::schedule::Every;
use jiff::SignedDuration;
use serde_json::json;

fn spec() -> TaskSpec {
    TaskSpec::new("backup", Work::process(["/bin/true"]))
}

/// Applies a change to a good definition and expects problems with exactly these fields.
#[track_caller]
fn check(change: impl FnOnce(&mut TaskSpec), fields: &[&str]) {
    let mut spec = spec();
    change(&mut spec);
    let found: Vec<_> = task(&spec).as_slice().iter().map(|problem| problem.field.clone()).collect();
    assert_eq!(found, fields, "{}", task(&spec));
}

#[test]
fn names_are_safe_without_quoting() {
    for good in ["a", "Nightly backup", "db.backup-2_full", "0", &"x".repeat(64)] {
        check(|spec| spec.name = good.to_owned(), &[]);
    }
    for bad in ["", " a", "a ", ".hidden", "-rf", "a/b", "naïve", "a\nb", "a\0", &"x".repeat(65)] {
        check(|spec| spec.name = bad.to_owned(), &["name"]);
    }
    check(|spec| spec.name = "0123456789abcdef".to_owned(), &["name"]);
}

#[test]
fn labels_and_descriptions_are_bounded() {
    let label = |key: &str, value: &str| {
        let (key, value) = (key.to_owned(), value.to_owned());
        move |spec: &mut TaskSpec| drop(spec.labels.insert(key, value))
    };
    check(label("app.example/tier", "über alles"), &[]);
    check(label("env", ""), &[]);
    check(label("", "x"), &["labels[\"\"]"]);
    check(label("a b", "x"), &["labels[\"a b\"]"]);
    check(label("a", "x\ny"), &["labels[\"a\"]"]);
    check(|spec| spec.labels = (0..33).map(|n| (format!("l{n}"), String::new())).collect(), &["labels"]);
    check(|spec| spec.description = "x".repeat(4097), &["description"]);
}

/// OP02: each rule of the options, those about parsing schedules aside.
#[test]
fn op02_values_out_of_range_are_refused_and_22_days_are_fine() {
    let every =
        |interval| move |spec: &mut TaskSpec| spec.schedules = vec![Schedule::Every(Every::new(interval))];
    check(every(Duration::from_secs(22 * 86_400)), &[]);
    check(every(Duration::ZERO), &["schedules[0].every"]);
    check(every(Duration::from_millis(1500)), &["schedules[0].every"]);
    check(every(Duration::MAX), &["schedules[0].every"]);
    check(
        |spec| spec.schedules = vec![Schedule::Every(Every::new(Duration::from_secs(60))); 17],
        &["schedules"],
    );
    check(|spec| spec.offset = SignedDuration::from_secs(-22 * 86_400), &[]);
    check(|spec| spec.offset = SignedDuration::from_millis(1500), &["offset"]);
    check(|spec| spec.offset = SignedDuration::MAX, &["offset"]);
    check(|spec| spec.jitter = Duration::from_micros(1), &["jitter"]);
    check(|spec| spec.splay = Duration::MAX, &["splay"]);
    check(|spec| spec.grace = Duration::MAX, &["grace"]);
    check(|spec| spec.timeout = Some(Duration::ZERO), &["timeout"]);
    check(
        |spec| spec.concurrency = Some(Concurrency { limit: 0, key: Some(String::new()) }),
        &["concurrency.limit", "concurrency.key"],
    );
    check(|spec| spec.overlap = Overlap::QueueAll { max: 0 }, &["overlap.queue_all.max"]);
    check(|spec| spec.catch_up.limit = 0, &["catch_up.limit"]);
    check(|spec| spec.catch_up.rate = MAX_CATCH_UP + 1, &["catch_up.rate"]);
    check(
        |spec| spec.retention = Retention { runs: 0, age: Duration::ZERO },
        &["retention.runs", "retention.age"],
    );
}

/// RS10
#[test]
fn rs10_restart_policies() {
    let policy = |attempts, interval, delay, mode| {
        move |spec: &mut TaskSpec| {
            let (interval, delay) = (Duration::from_secs(interval), Duration::from_secs(delay));
            spec.restart = RestartPolicy { attempts, interval, delay, mode, ..RestartPolicy::default() };
        }
    };
    check(policy(3, 60, 20, RestartMode::Fail), &[]);
    check(policy(0, 60, 20, RestartMode::Fail), &[]);
    check(policy(0, 60, 20, RestartMode::Delay), &["restart.mode"]);
    check(policy(4, 60, 20, RestartMode::Fail), &["restart.interval"]);
    check(policy(1, 4, 1, RestartMode::Fail), &["restart.interval"]);
    check(policy(u32::MAX, 60, u64::MAX, RestartMode::Delay), &["restart.attempts", "restart.interval"]);
}

#[test]
fn only_signals_that_can_end_a_process_are_taken() {
    for good in ["SIGTERM", "term", "INT", "sigusr1", "KILL"] {
        check(|spec| spec.kill.signal = good.to_owned(), &[]);
    }
    for bad in ["", "SIG", "SIGSTOP", "CONT", "15", "TERMINATE"] {
        check(|spec| spec.kill.signal = bad.to_owned(), &["kill.signal"]);
    }
    check(|spec| spec.kill.grace = Duration::from_secs(3601), &["kill.grace"]);
}

#[test]
fn work_must_be_something_that_can_be_started() {
    let work = |work: Work| move |spec: &mut TaskSpec| spec.work = work;
    check(work(Work::process([""; 0])), &["work.argv"]);
    check(work(Work::process([""])), &["work.argv"]);
    check(work(Work::process(["a", "b\0c"])), &["work.argv[1]"]);
    check(work(Work::shell(" \n")), &["work.script"]);
    check(work(Work::shell("echo \0")), &["work.script"]);
    check(work(Work::handler("")), &["work.name"]);
    let context = ProcessContext {
        env: [("1A".to_owned(), String::new()), ("OK_2".to_owned(), "\0".to_owned())].into(),
        cwd: Some(String::new()),
        stdin: Some("\0 is data".to_owned()),
    };
    let interpreter = Some(Vec::new());
    check(
        work(Work::Shell { script: "x".to_owned(), interpreter, context }),
        &["work.interpreter", "work.env[\"1A\"]", "work.env[\"OK_2\"]", "work.cwd"],
    );
    check(work(Work::shell("x".repeat(TaskSpec::MAX_SIZE))), &["task"]);
}

#[test]
fn all_problems_come_out_as_one_error_with_paths_and_hints() {
    assert!(task(&spec()).check("task").is_ok());
    let mut bad = spec();
    bad.name = "a/b".to_owned();
    bad.concurrency = Some(Concurrency { limit: 0, key: None });
    let error = task(&bad).check("task").unwrap_err();
    assert_eq!(error.code(), ErrorCode::Invalid);
    assert_eq!(
        error.to_string(),
        "invalid task: name: expected 1 to 64 letters, digits, spaces, dots, underscores or minus signs, a letter \
         or digit at both ends (other characters belong in the description); concurrency.limit: expected at least 1 \
         (to run nothing, pause the task)"
    );
}

#[test]
fn what_comes_with_a_run_is_bounded() {
    let fields = |params, key| -> Vec<String> {
        run_request(&params, key).as_slice().iter().map(|problem| problem.field.clone()).collect()
    };
    assert!(fields(Value::Null, None).is_empty());
    assert!(fields(json!({"a": 1}), Some("k")).is_empty());
    assert_eq!(fields(json!([1]), Some("")), ["params", "idempotency_key"]);
    assert_eq!(fields(json!({"a": "x".repeat(Run::MAX_PARAMS)}), None), ["params"]);
    let large: Metadata = [("a".to_owned(), json!("x".repeat(MAX_METADATA)))].into_iter().collect();
    assert_eq!(metadata(&large).as_slice().len(), 1);
}
