use super::*;
use crate::hook::{Artifact, Call, HttpBody, HttpCall, UserHook};
use crate::number::{Codes, EndClass};
use crate::overlap::Overlap;
use crate::process::{ProcessContext, Rlimit, WorkDir};
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
    let problems = task(&spec);
    let found: Vec<_> = problems.as_slice().iter().map(|problem| problem.field.clone()).collect();
    assert_eq!(found, fields, "{problems}");
}

#[test]
fn the_surroundings_of_a_process_are_judged_one_by_one() {
    let context = |change: fn(&mut ProcessContext)| {
        move |spec: &mut TaskSpec| {
            let Work::Process { context, .. } = &mut spec.work else { unreachable!() };
            change(context);
        }
    };
    let limit = |soft, hard| Rlimit { soft, hard };
    check(context(|it| it.user = Some("www-data".into())), &[]);
    check(context(|it| it.user = Some("1000".into())), &[]);
    check(context(|it| it.user = Some("-rf".into())), &["work.user"]);
    check(context(|it| it.user = Some(u32::MAX.to_string())), &["work.user"]);
    check(context(|it| it.group = Some(String::new())), &["work.group"]);
    check(context(|it| it.groups = Some(vec!["ok".into(), "a b".into()])), &["work.groups[1]"]);
    check(context(|it| it.umask = Some("0027".into())), &[]);
    check(context(|it| it.umask = Some("9".into())), &["work.umask"]);
    check(context(|it| it.nice = Some(-21)), &["work.nice"]);
    check(context(|it| it.inherit_env = vec!["LANG".into(), "A=B".into()]), &["work.inherit_env[1]"]);
    check(context(|it| it.payload_file = Some("p".into())), &["work.payload_file"]);
    let with_dir = |file: &'static str| {
        move |spec: &mut TaskSpec| {
            let Work::Process { context, .. } = &mut spec.work else { unreachable!() };
            context.work_dir = Some(WorkDir::default());
            context.payload_file = Some(file.to_owned());
        }
    };
    check(with_dir("in/params.json"), &[]);
    for bad in ["", "/etc/passwd", "../x", "a/../../x", "a/", "."] {
        check(with_dir(bad), &["work.payload_file"]);
    }
    let limits = |name: &'static str, limit: Rlimit| {
        move |spec: &mut TaskSpec| {
            let Work::Process { context, .. } = &mut spec.work else { unreachable!() };
            context.rlimits.insert(name.to_owned(), limit);
        }
    };
    check(limits("nofile", limit(10, Rlimit::UNLIMITED)), &[]);
    check(limits("nofile", limit(11, 10)), &["work.rlimits[\"nofile\"]"]);
    check(limits("files", limit(1, 1)), &["work.rlimits[\"files\"]"]);
    check(context(|it| it.resources.memory = Some(512)), &["work.resources.memory"]);
    check(context(|it| it.resources.cpu = Some(Decimal::thousandths(5))), &["work.resources.cpu"]);
    check(context(|it| it.resources.pids = Some(0)), &["work.resources.pids"]);
}

#[test]
fn requests_must_be_such_that_a_server_can_take() {
    let request = |change: fn(&mut HttpCall)| {
        move |spec: &mut TaskSpec| {
            let mut call = HttpCall::get("https://example.org/a?b=c");
            change(&mut call);
            spec.work = Work::Http(call);
        }
    };
    check(request(|_| {}), &[]);
    for bad in ["https://a/${params.}", "https://${params.host}/", "https://a/${", "https://a/${secrets.x}"] {
        check(|spec| spec.work = Work::http(bad), &["work.url"]);
    }
    check(|spec| spec.work = Work::http("https://a/${params.region:-eu}?run=${run.id}"), &[]);
    check(
        request(|it| drop(it.headers.insert("X".into(), "${run.secret}".into()))),
        &["work.headers[\"X\"]"],
    );
    let body = |body: HttpBody| {
        move |spec: &mut TaskSpec| {
            let call = HttpCall { method: "POST".into(), body: Some(body), ..HttpCall::get("https://a/") };
            spec.work = Work::Http(call);
        }
    };
    check(body(HttpBody::Text("${params.x|upper}".into())), &["work.body"]);
    check(body(HttpBody::Json(json!({"a": ["${"]}))), &["work.body"]);
    check(body(HttpBody::Json(json!({"a": "${params}"}))), &[]);
    for bad in ["", "example.org", "ftp://a/", "http:///a", "http://a/ b", "https://a\n"] {
        check(|spec| spec.work = Work::http(bad), &["work.url"]);
    }
    check(request(|it| it.method = "get".into()), &["work.method"]);
    check(request(|it| it.body = Some(HttpBody::Text("x".into()))), &["work.body"]);
    check(request(|it| drop(it.headers.insert("a b".into(), "c".into()))), &["work.headers[\"a b\"]"]);
    check(request(|it| drop(it.headers.insert("a".into(), "c\r\nd: e".into()))), &["work.headers[\"a\"]"]);
    check(request(|it| drop(it.headers.insert("Host".into(), "c".into()))), &["work.headers[\"Host\"]"]);
    check(request(|it| it.expect = vec![Codes::one(200), Codes::range(0, 700)]), &["work.expect[1]"]);
    check(request(|it| it.timeout = Duration::ZERO), &["work.timeout"]);
    check(request(|it| it.max_response = 0), &["work.max_response"]);
}

#[test]
fn what_is_done_around_the_work_is_judged_with_its_place() {
    let hook = |name: &str| UserHook::new(name, Call::Command(vec!["true".to_owned()]));
    check(|spec| spec.hooks.stop = vec![hook("a"), hook("b")], &[]);
    check(|spec| spec.hooks.stop = vec![hook("a"), hook("a")], &["hooks.stop[1].name"]);
    check(|spec| spec.hooks.exited = vec![hook("")], &["hooks.exited[0].name"]);
    check(
        |spec| {
            let run = Call::Http(HttpCall::get("nowhere"));
            spec.hooks.prestart = vec![UserHook { timeout: Duration::ZERO, ..UserHook::new("a", run) }];
        },
        &["hooks.prestart[0].run.http.url", "hooks.prestart[0].timeout"],
    );
    check(|spec| spec.hooks.prekill = (0..17).map(|n| hook(&n.to_string())).collect(), &["hooks.prekill"]);
    check(|spec| spec.on_failure = Some(Call::Command(Vec::new())), &["on_failure.command"]);
    check(|spec| spec.shutdown_delay = Duration::from_secs(3601), &["shutdown_delay"]);
    check(|spec| spec.pause_after_failures = Some(0), &["pause_after_failures"]);
    check(|spec| spec.stats_every = Some(Duration::from_millis(999)), &["stats_every"]);
    check(|spec| spec.output.files = Some(2), &["output.files"]);
    check(|spec| spec.output.rotate_at = Some(10), &["output.rotate_at"]);
    check(|spec| (spec.output.rotate_at, spec.output.files) = (Some(1 << 20), Some(10)), &[]);
    check(|spec| (spec.output.rotate_at, spec.output.files) = (Some(1 << 20), Some(11)), &["output.files"]);
    check(|spec| spec.output.rotate_at = Some(spec.max_output + 1), &["output.rotate_at"]);
    check(|spec| spec.output.rotate_at = Some(100_000), &["output.rotate_at"]);
    check(|spec| (spec.output.age, spec.output.runs) = (Some(Duration::from_secs(60)), Some(3)), &[]);
    check(
        |spec| (spec.output.age, spec.output.runs) = (Some(Duration::ZERO), Some(0)),
        &["output.age", "output.runs"],
    );
    let artifact = |source: &str, dest: &str| Artifact {
        source: source.to_owned(),
        dest: dest.to_owned(),
        checksum: None,
        mode: None,
    };
    check(|spec| spec.artifacts = vec![artifact("/a", "b")], &["artifacts"]);
    let with_dir = |artifacts: Vec<Artifact>| {
        move |spec: &mut TaskSpec| {
            let Work::Process { context, .. } = &mut spec.work else { unreachable!() };
            context.work_dir = Some(WorkDir::default());
            spec.artifacts = artifacts;
        }
    };
    check(with_dir(vec![artifact("/a", "b"), artifact("https://example.org/x", "c/d")]), &[]);
    check(
        with_dir(vec![artifact("a", "b"), artifact("ftp://a/b", "../b"), artifact("/a", "b")]),
        &["artifacts[0].source", "artifacts[1].source", "artifacts[1].dest", "artifacts[2].dest"],
    );
    let odd = Artifact { checksum: Some("md5:1".into()), mode: Some("rwx".into()), ..artifact("/a", "b") };
    check(with_dir(vec![odd]), &["artifacts[0].checksum", "artifacts[0].mode"]);
}

/// RS10, for pauses that grow and for classes of ends.
#[test]
fn rs10_growing_pauses_fit_into_the_interval_and_classes_are_clear() {
    let policy = |change: fn(&mut RestartPolicy)| {
        move |spec: &mut TaskSpec| {
            spec.restart = RestartPolicy::attempts(3, Duration::from_secs(10));
            change(&mut spec.restart);
        }
    };
    let backoff =
        |factor, max| Some(Backoff { factor: Decimal::thousandths(factor), max: Duration::from_secs(max) });
    check(policy(|it| it.backoff = Some(Backoff::default())), &[]);
    // 10, 20 and 40 s.
    check(policy(|it| (it.backoff, it.interval) = (Some(Backoff::default()), Duration::from_secs(70))), &[]);
    let short = |it: &mut RestartPolicy| {
        (it.backoff, it.interval) = (Some(Backoff::default()), Duration::from_secs(69));
    };
    check(policy(short), &["restart.interval"]);
    check(
        |spec| spec.restart = RestartPolicy { backoff: backoff(11_000, 60), ..RestartPolicy::batch() },
        &["restart.backoff.factor"],
    );
    check(
        |spec| spec.restart = RestartPolicy { backoff: backoff(2000, 5), ..RestartPolicy::batch() },
        &["restart.backoff.max"],
    );
    check(
        policy(|it| (it.backoff, it.delay) = (Some(Backoff::default()), Duration::ZERO)),
        &["restart.delay"],
    );
    check(
        |spec| {
            let interval = MAX_SPAN;
            let attempts = RestartPolicy::MAX_ATTEMPTS;
            let policy = RestartPolicy::attempts(attempts, Duration::from_millis(1));
            spec.restart = RestartPolicy { interval, backoff: backoff(1001, u64::MAX / 2000), ..policy };
        },
        &["restart.interval", "restart.backoff.max"],
    );
    check(policy(|it| it.jitter = Decimal::thousandths(1001)), &["restart.jitter"]);
    check(policy(|it| it.max_time = Some(Duration::ZERO)), &["restart.max_time"]);
    check(policy(|it| it.fail_on = vec![EndClass::Timeout, EndClass::Start]), &[]);
    let both =
        |it: &mut RestartPolicy| (it.retry_on, it.fail_on) = (vec![EndClass::Start], vec![EndClass::Start]);
    check(policy(both), &["restart.fail_on"]);
    check(policy(|it| (it.attempts, it.retry_on) = (0, vec![EndClass::Start])), &["restart.retry_on"]);
    check(policy(|it| (it.attempts, it.on_success) = (0, true)), &["restart.on_success"]);
    check(|spec| spec.restart = RestartPolicy::service(), &[]);
    check(|spec| spec.restart = RestartPolicy::batch(), &[]);
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
        ..ProcessContext::default()
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
