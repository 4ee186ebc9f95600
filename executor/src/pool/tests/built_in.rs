//! The hooks that are built in, with real files and real commands around scripted work.

use super::bench::{Bench, events, restarts, seconds};
use crate::drivers::process::ProcessHome;
use crate::hooks::{Means, WorkDirs, built_in};
use crate::scripted::Act;
use punctual_model::hook::{Call, HookPhase, Hooks, OnHookError, UserHook};
use punctual_model::process::{KeepDir, ProcessContext, WorkDir};
use punctual_model::{RunState, TaskSpec, Work};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The surroundings of each attempt, as its driver got them, with the names in its directory.
type Seen = Arc<Mutex<Vec<(ProcessContext, Vec<String>)>>>;

struct Node {
    bench: Bench,
    dirs: WorkDirs,
    data: tempfile::TempDir,
    seen: Seen,
}

impl Node {
    async fn new(act: Act) -> Self {
        Self::with(act, |means, _| means).await
    }

    /// With more means, over this data directory.
    async fn with(act: Act, more: impl FnOnce(Means, &Path) -> Means) -> Self {
        let data = tempfile::tempdir().unwrap();
        let dirs = WorkDirs::below(data.path().join("work"));
        let bench = Bench::hooked(built_in(&more(Means::new(dirs.clone()), data.path()))).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let write = Arc::clone(&seen);
        bench.driver.script(move |attempt| {
            let context = attempt.task.spec.work.context().unwrap().clone();
            let mut names: Vec<String> = std::fs::read_dir(context.cwd.as_deref().unwrap_or("/nowhere"))
                .map(|entries| {
                    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
                })
                .unwrap_or_default();
            names.sort();
            write.lock().unwrap().push((context, names));
            act.clone()
        });
        Self { bench, dirs, data, seen }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

fn spec(name: &str, edit: impl FnOnce(&mut ProcessContext)) -> TaskSpec {
    let mut context = ProcessContext { work_dir: Some(WorkDir::default()), ..ProcessContext::default() };
    edit(&mut context);
    TaskSpec::new(name, Work::Shell { script: "true".to_owned(), interpreter: None, context })
}

#[tokio::test(start_paused = true)]
async fn a_run_has_a_directory_of_its_own_which_is_kept_as_its_task_says() {
    for (act, keep, kept) in [
        (Act::Succeed, KeepDir::Never, false),
        (Act::Exit(1), KeepDir::Never, false),
        (Act::Succeed, KeepDir::OnFailure, false),
        (Act::Exit(1), KeepDir::OnFailure, true),
        (Act::Succeed, KeepDir::Always, true),
    ] {
        let node = Node::new(act).await;
        let spec = spec("report", |context| context.work_dir = Some(WorkDir { keep }));
        let task = node.bench.task(spec).await;
        let promise = node.bench.go(&task).await;
        promise.wait().await.unwrap();
        let path = node.dirs.of(promise.id()).unwrap();
        assert_eq!(path.exists(), kept, "{keep:?}");
        let seen = node.seen.lock().unwrap();
        let (context, names) = &seen[0];
        assert_eq!(context.cwd.as_deref(), path.to_str());
        assert_eq!(context.env["PUNCTUAL_WORK_DIR"], path.to_str().unwrap());
        assert!(names.is_empty(), "it is empty at first");
        node.dirs.remove(&[promise.id()]).unwrap();
        assert!(!path.exists(), "it goes with the record");
    }
}

/// TR09: the places in variables and in the directory are filled; of the daemon's variables only those that are
/// named are seen.
#[tokio::test(start_paused = true)]
async fn tr09_variables_and_directory_are_filled_with_what_the_run_has() {
    let node = Node::new(Act::Succeed).await;
    let spec = spec("report", |context| {
        context.work_dir = None;
        context.cwd = Some("/${params.where:-tmp}".to_owned());
        context.inherit_env = vec!["PATH".to_owned(), "NO_SUCH_VARIABLE_HERE".to_owned()];
        let env =
            [("ID", "run ${run.id}"), ("N", "${params.n}"), ("RAW", "$${run.id} $HOME"), ("OLD", "${HOME}")];
        context.env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    });
    let task = node.bench.task(spec).await;
    let mut run = node.bench.run_of(&task);
    run.params = json!({"n": 5});
    let promise = node.bench.go_with(&task, run).await;
    assert_eq!(promise.wait().await.unwrap().state(), RunState::Succeeded);
    let (context, _) = node.seen.lock().unwrap().remove(0);
    assert_eq!(context.cwd.as_deref(), Some("/tmp"));
    let mut expect: BTreeMap<String, String> = [
        ("ID".to_owned(), format!("run {}", promise.id())),
        ("N".to_owned(), "5".to_owned()),
        ("RAW".to_owned(), "${run.id} $HOME".to_owned()),
        ("OLD".to_owned(), "${HOME}".to_owned()),
    ]
    .into();
    expect.insert("PATH".to_owned(), std::env::var("PATH").unwrap());
    assert_eq!(context.env, expect);
    // A parameter that is not there is nothing that another attempt could find.
    let run = node.bench.go(&task).await.wait().await.unwrap();
    let failure = run.outcome.unwrap().error.unwrap();
    assert!(!failure.recoverable && failure.message.contains("params.n"), "{failure:?}");
}

/// TR14, TR27
#[tokio::test(start_paused = true)]
async fn tr14_tr27_the_payload_is_in_its_file_and_none_where_there_is_none() {
    let node = Node::new(Act::Succeed).await;
    let task = node
        .bench
        .task(spec("report", |context| {
            context.payload_file = Some("in/payload.json".to_owned());
            context.work_dir = Some(WorkDir { keep: KeepDir::Always });
        }))
        .await;
    let mut run = node.bench.run_of(&task);
    run.params = json!({"text": "ä\n", "n": 1});
    let promise = node.bench.go_with(&task, run).await;
    promise.wait().await.unwrap();
    let file = node.dirs.of(promise.id()).unwrap().join("in/payload.json");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), r#"{"n":1,"text":"ä\n"}"#);
    let promise = node.bench.go(&task).await;
    assert_eq!(promise.wait().await.unwrap().state(), RunState::Succeeded);
    let seen = node.seen.lock().unwrap();
    assert_eq!(seen[0].0.env["PUNCTUAL_PAYLOAD_FILE"], file.to_str().unwrap());
    assert_eq!(seen[0].1, ["in"]);
    assert!(!seen[1].0.env.contains_key("PUNCTUAL_PAYLOAD_FILE") && seen[1].1.is_empty());
}

/// TR27: a file that cannot be written is tried again.
#[tokio::test(start_paused = true)]
async fn tr27_a_payload_that_cannot_be_written_fails_the_attempt_and_is_not_done() {
    let node = Node::new(Act::Succeed).await;
    let task =
        node.bench.task(spec("report", |context| context.payload_file = Some("../x".to_owned()))).await;
    let mut run = node.bench.run_of(&task);
    run.params = json!({});
    let run = node.bench.go_with(&task, run).await.wait().await.unwrap();
    assert_eq!(run.state(), RunState::Failed);
    assert_eq!(events(&run), ["building directory", "hook failed"]);
    assert!(node.seen.lock().unwrap().is_empty() && !node.path("work/x").exists());
    assert!(!node.dirs.of(run.id).unwrap().exists(), "the stop hooks ran all the same");
}

fn command(name: &str, script: impl Into<String>) -> UserHook {
    UserHook::new(name, Call::Command(vec!["/bin/sh".to_owned(), "-c".to_owned(), script.into()]))
}

fn hooked(node: &Node, phases: &[(HookPhase, &[UserHook])]) -> TaskSpec {
    let of = |phase| {
        let hooks: Vec<UserHook> = phases
            .iter()
            .filter(|(it, _)| *it == phase)
            .flat_map(|(_, hooks)| hooks.iter().cloned())
            .collect();
        hooks
    };
    let hooks = Hooks {
        prestart: of(HookPhase::Prestart),
        poststart: of(HookPhase::Poststart),
        prekill: of(HookPhase::Prekill),
        exited: of(HookPhase::Exited),
        stop: of(HookPhase::Stop),
    };
    let log = node.path("log").display().to_string();
    TaskSpec { hooks, ..spec("report", |context| drop(context.env.insert("LOG".to_owned(), log))) }
}

#[tokio::test(start_paused = true)]
async fn hooks_of_the_user_run_in_their_order_with_the_surroundings_of_the_work() {
    let node = Node::new(Act::Exit(3)).await;
    let say = |what: &str| format!("echo $PUNCTUAL_HOOK_PHASE $PUNCTUAL_HOOK {what} >>\"$LOG\"");
    let spec = hooked(
        &node,
        &[
            (HookPhase::Prestart, &[command("a", "touch made"), command("b", say("$(ls) $PUNCTUAL_TASK"))]),
            (HookPhase::Exited, &[command("c", say("$PUNCTUAL_EXIT_CODE")), command("d", say(""))]),
            (HookPhase::Stop, &[command("e", say("$PUNCTUAL_RUN_STATE")), command("f", say("$(ls)"))]),
        ],
    );
    let task = node.bench.task(spec).await;
    let run = node.bench.go(&task).await.wait().await.unwrap();
    assert_eq!(run.state(), RunState::Failed);
    let log = node.read("log");
    let lines: Vec<&str> = log.lines().map(str::trim).collect();
    let all = ["prestart b made report", "exited c 3", "exited d", "stop e failed", "stop f made"];
    assert_eq!(lines, all);
    assert_eq!(node.seen.lock().unwrap()[0].1, ["made"], "the work finds what its hooks have made");
}

/// By its own mark, and not by the one by which the processes of its run are found and ended.
#[tokio::test(start_paused = true)]
async fn a_command_of_a_hook_can_be_found_after_the_death_of_its_daemon() {
    let home = |data: &Path| ProcessHome::in_directory(data).unwrap();
    let node = Node::with(Act::Succeed, |means, data| means.marked_by(&home(data))).await;
    let say = command("say", "echo \"$PUNCTUAL_HOOK_NODE and ${PUNCTUAL_NODE:-none}\" >\"$LOG\"");
    let task = node.bench.task(hooked(&node, &[(HookPhase::Poststart, &[say])])).await;
    node.bench.go(&task).await.wait().await.unwrap();
    let (_, mark) = home(node.data.path()).hook_variable().unwrap();
    assert_eq!(node.read("log"), format!("{mark} and none\n"));
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_hook_means_what_its_task_says() {
    let broken = || command("broken", "echo it is broken >&2; exit 4");
    let ignored = UserHook { on_error: Some(OnHookError::Ignore), ..broken() };
    let counted = UserHook { on_error: Some(OnHookError::Fail), ..broken() };
    for (phase, hook, state, began) in [
        (HookPhase::Prestart, broken(), RunState::Failed, 0),
        (HookPhase::Prestart, ignored, RunState::Succeeded, 1),
        (HookPhase::Exited, broken(), RunState::Succeeded, 1),
        (HookPhase::Exited, counted, RunState::Failed, 1),
        (HookPhase::Stop, broken(), RunState::Succeeded, 1),
    ] {
        let node = Node::new(Act::Succeed).await;
        let task = node.bench.task(hooked(&node, &[(phase, &[hook])])).await;
        let run = node.bench.go(&task).await.wait().await.unwrap();
        assert_eq!((run.state(), node.seen.lock().unwrap().len()), (state, began), "{phase}");
        let told = run.events.iter().map(|event| event.kind.text()).find(|text| text.contains("broken"));
        assert!(told.as_ref().is_some_and(|text| text.contains("it is broken")), "{phase}: {told:?}");
    }
}

/// B20: a command that fails before the start is one that could go better another time.
#[tokio::test(start_paused = true)]
async fn b20_a_failing_command_before_the_start_is_tried_again_by_the_policy() {
    let node = Node::new(Act::Succeed).await;
    let hook = command("flaky", "test -e flag || { touch flag; exit 1; }");
    let task = node.bench.task(hooked(&node, &[(HookPhase::Prestart, &[hook])]).restart(restarts(1))).await;
    let promise = node.bench.go(&task).await;
    loop {
        // The command is a real one: it ends when it ends.
        if matches!(promise.state().await.unwrap(), RunState::Scheduled { .. }) {
            break;
        }
        tokio::task::yield_now().await;
    }
    node.bench.pass(seconds(80)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!((run.state(), run.life.attempt), (RunState::Succeeded, 2));
}

/// What hangs is cut off by its own timeout, with all that it has started.
#[tokio::test]
async fn a_command_that_hangs_is_ended_with_all_it_has_started() {
    let node = Node::new(Act::Succeed).await;
    let mut hook = command("hangs", "echo $$ >\"$LOG\"; sleep 1000 & sleep 1000");
    hook.timeout = seconds(30);
    let task = node.bench.task(hooked(&node, &[(HookPhase::Exited, &[hook])])).await;
    let promise = node.bench.go(&task).await;
    while node.read("log").trim().is_empty() {
        tokio::task::yield_now().await;
    }
    let group = node.read("log").trim().parse().unwrap();
    node.bench.clock.advance_now(seconds(30));
    let run = promise.wait().await.unwrap();
    assert_eq!(run.state(), RunState::Succeeded);
    let text = run.events.iter().map(|event| event.kind.text()).find(|text| text.contains("hangs")).unwrap();
    assert!(text.contains("timeout of 30s"), "{text}");
    let group = rustix::process::Pid::from_raw(group).unwrap();
    while rustix::process::test_kill_process_group(group).is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_data_directory_says_that_runs_have_none_either() {
    let bench = Bench::hooked(built_in(&Means::new(WorkDirs::none()))).await;
    let task = bench.task(spec("report", |_| {})).await;
    let run = bench.go(&task).await.wait().await.unwrap();
    assert_eq!(run.state(), RunState::Failed);
    assert!(run.outcome.unwrap().error.unwrap().message.contains("no data directory"));
}

#[cfg(feature = "http")]
mod requests {
    use super::*;
    use crate::client::Client;
    use crate::client::test_server::{TestServer, answer};
    use crate::egress::Egress;
    use crate::fetch::{FetchLimits, Fetcher};
    use punctual_clock::{Clock, SystemClock};
    use punctual_model::hook::{Artifact, HttpCall};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Requests live on real time; the node around them does not.
    async fn node() -> Node {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let egress = Egress::public_only().allow("127.0.0.1".parse().unwrap());
        let client = Arc::new(Client::new(egress, Arc::clone(&clock)));
        let by = Arc::clone(&client);
        Node::with(Act::Succeed, |means, data| {
            let fetcher = Fetcher::new(client, clock, data, FetchLimits::default()).unwrap();
            means.requests_by(by).fetches_by(Arc::new(fetcher))
        })
        .await
    }

    fn artifact(source: String, dest: &str) -> Artifact {
        Artifact { source, dest: dest.to_owned(), checksum: None, mode: None }
    }

    async fn waits(promise: &dyn crate::RunPromise) {
        while !matches!(promise.state().await.unwrap(), RunState::Scheduled { .. }) {
            tokio::task::yield_now().await;
        }
    }

    /// TR19, TR28: what has come is not fetched again, what has not is tried again by the policy.
    #[tokio::test]
    async fn tr19_tr28_artifacts_are_fetched_once_and_missing_ones_by_the_restart_policy() {
        let well = Arc::new(AtomicBool::new(false));
        let (is_well, count) = (Arc::clone(&well), |server: &TestServer, path: &str| {
            server.asked().iter().filter(|asked| asked.uri.path() == path).count()
        });
        let server = TestServer::start(move |asked| match asked.uri.path() {
            "/b" if !is_well.load(Ordering::Relaxed) => answer(503, "later"),
            path => answer(200, path.to_owned()),
        })
        .await;
        let node = node().await;
        let spec = TaskSpec {
            artifacts: vec![artifact(server.url("/a?secret=1"), "in/a"), artifact(server.url("/b"), "b")],
            ..spec("report", |context| context.work_dir = Some(WorkDir { keep: KeepDir::Always }))
        };
        let task = node.bench.task(spec.restart(restarts(2))).await;
        let promise = node.bench.go(&task).await;
        waits(&*promise).await;
        let path = node.dirs.of(promise.id()).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("in/a")).unwrap(), "/a");
        assert!(node.seen.lock().unwrap().is_empty(), "no start without all of them");
        well.store(true, Ordering::Relaxed);
        node.bench.clock.advance_now(seconds(80));
        let run = promise.wait().await.unwrap();
        assert_eq!((run.state(), run.life.attempt), (RunState::Succeeded, 2));
        assert_eq!(std::fs::read_to_string(path.join("b")).unwrap(), "/b");
        assert_eq!((count(&server, "/a"), count(&server, "/b")), (1, 2));
        let all = [
            "building directory",
            "downloading artifacts",
            "artifact failed",
            "hook failed",
            "restarting",
            "downloading artifacts",
        ];
        assert_eq!(events(&run), all);
        assert!(run.events.iter().all(|event| !event.kind.text().contains("secret")));
    }

    #[tokio::test]
    async fn an_artifact_that_can_never_be_had_ends_the_run_at_once() {
        let server = TestServer::start(|_| answer(404, "")).await;
        let node = node().await;
        let spec = TaskSpec { artifacts: vec![artifact(server.url("/a"), "a")], ..spec("report", |_| {}) };
        let task = node.bench.task(spec.restart(restarts(5))).await;
        let run = node.bench.go(&task).await.wait().await.unwrap();
        assert_eq!((run.state(), run.life.attempt), (RunState::Failed, 1));
    }

    #[tokio::test]
    async fn hooks_may_be_requests_with_what_the_run_has() {
        let server = TestServer::start(|asked| match asked.uri.path() {
            "/broken" => answer(500, ""),
            _ => answer(204, ""),
        })
        .await;
        let node = node().await;
        let hook = |path: &str| {
            let call = HttpCall { method: "POST".to_owned(), ..HttpCall::get(server.url(path)) };
            UserHook::new("told", Call::Http(call))
        };
        let phases = [(HookPhase::Stop, &[hook("/told/${task.name}"), hook("/broken")][..])];
        let task = node.bench.task(hooked(&node, &phases)).await;
        let run = node.bench.go(&task).await.wait().await.unwrap();
        assert_eq!(run.state(), RunState::Succeeded);
        let asked: Vec<String> = server.asked().iter().map(|asked| asked.uri.path().to_owned()).collect();
        assert_eq!(asked, ["/told/report", "/broken"]);
        assert_eq!(events(&run), ["building directory", "hook failed"]);
    }
}
