use super::Node;
use crate::node::shell;
use punctual_model::restart::RestartPolicy;
use punctual_model::{Exit, FailureKind, Run, RunState, TaskSpec, Work};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

fn exit_of(run: &Run) -> Option<Exit> {
    run.outcome.as_ref().and_then(|outcome| outcome.exit)
}

fn failure_of(run: &Run) -> (FailureKind, String, bool) {
    let failure = run.outcome.clone().unwrap().error.unwrap();
    (failure.kind, failure.message, failure.recoverable)
}

#[tokio::test]
async fn an_exit_code_or_signal_decides_and_is_kept() {
    let node = Node::new().await;
    let run = node.shell("exit 0").await;
    assert_eq!((run.state(), exit_of(&run)), (RunState::Succeeded, Some(Exit::Code(0))));
    let run = node.shell("exit 7").await;
    assert_eq!((run.state(), exit_of(&run)), (RunState::Failed, Some(Exit::Code(7))));
    assert_eq!(failure_of(&run), (FailureKind::Work, "exit code 7".to_owned(), true));
    let run = node.shell("kill -SEGV $$").await;
    assert_eq!((run.state(), exit_of(&run)), (RunState::Failed, Some(Exit::Signal(11))));
}

#[tokio::test]
async fn arguments_pass_byte_for_byte_without_a_shell() {
    let node = Node::new().await;
    let argv = ["printf", "%s|", "a b", "$HOME", "*", "\"q'", "", "ü\n"];
    let run = node.run(TaskSpec::new("argv", Work::process(argv))).await;
    assert_eq!(node.output(run.id), "a b|$HOME|*|\"q'||ü\n|");
}

#[tokio::test]
async fn an_interpreter_gets_the_script_as_one_argument() {
    let node = Node::new().await;
    let mut spec = shell("one two $x");
    let Work::Shell { interpreter, .. } = &mut spec.work else { unreachable!() };
    *interpreter = Some(vec!["printf".to_owned(), "<%s>".to_owned()]);
    let run = node.run(spec).await;
    assert_eq!(node.output(run.id), "<one two $x>");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let node = Node::new().await;
    let file = node.path().join("not-executable");
    std::fs::write(&file, "x").unwrap();
    for (argv, part) in [
        (vec!["/no/such/program".to_owned()], "No such file"),
        (vec!["no-such-program-anywhere".to_owned()], "No such file"),
        (vec![file.display().to_string()], "Permission denied"),
        (vec!["echo".to_owned(), "a\0b".to_owned()], "nul byte"),
        (vec![], "no program"),
        (vec![String::new()], "cannot start"),
    ] {
        let run = node.run(TaskSpec::new("bad", Work::process(argv))).await;
        let (kind, message, recoverable) = failure_of(&run);
        assert_eq!(
            (run.state(), kind, recoverable),
            (RunState::Failed, FailureKind::Start, false),
            "{message}"
        );
        assert!(message.contains(part), "{message}");
    }
    let mut spec = shell("true");
    let Work::Shell { context, .. } = &mut spec.work else { unreachable!() };
    context.cwd = Some("/no/such/directory".to_owned());
    let (_, message, _) = failure_of(&node.run(spec).await);
    assert!(message.contains("working directory \"/no/such/directory\""), "{message}");
}

#[tokio::test]
async fn a_program_that_is_just_being_written_is_worth_another_attempt() {
    let node = Node::new().await;
    let file = node.path().join("program");
    std::fs::copy("/bin/true", &file).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
    let writing = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
    let spec =
        || TaskSpec::new(format!("busy{}", node.number()), Work::process([file.display().to_string()]));
    let (kind, message, recoverable) = failure_of(&node.run(spec()).await);
    assert_eq!((kind, recoverable), (FailureKind::Start, true), "{message}");
    drop(writing);
    // A child of a test beside this one holds the file too, from its fork to its program: another attempt goes better.
    let mut spec = spec();
    spec.restart = RestartPolicy::attempts(50, Duration::from_millis(20));
    assert_eq!(node.run(spec).await.state(), RunState::Succeeded);
}

#[tokio::test]
async fn many_at_once_stay_within_the_limit_and_all_end() {
    let node = Node::new().await;
    let mut promises = Vec::new();
    let task = node.task(shell("echo $PUNCTUAL_RUN_ID")).await;
    for _ in 0..60 {
        promises.push(node.go_with(&task, node.run_of(&task)).await);
    }
    for promise in promises {
        let run = crate::node::within(promise.wait()).await.unwrap();
        assert_eq!((run.state(), node.output(run.id)), (RunState::Succeeded, format!("{}\n", run.id)));
    }
}

/// No store takes a definition that large, but parameters and environment add up.
#[tokio::test]
async fn too_much_for_the_system_is_told_as_that() {
    use punctual_executor::drivers::process::ProcessDriver;
    use punctual_executor::{Driver as _, RunSink, Stream};
    struct Nobody;
    impl RunSink for Nobody {
        fn output(&self, _: Stream, _: &[u8]) {}
        fn event(&self, _: punctual_model::event::EventKind) {}
        fn save(&self, _: serde_json::Value) {}
    }
    let node = Node::new().await;
    let driver = ProcessDriver::process(node.home.clone(), node.clock.clone());
    let spec = TaskSpec::new("large", Work::process(["echo".to_owned(), "x".repeat(4 << 20)]));
    let started = driver.start(node.attempt(spec), std::sync::Arc::new(Nobody)).await;
    let failure = started.err().unwrap();
    assert!(failure.message.contains("too large for the system"), "{}", failure.message);
    assert!(!failure.recoverable);
}
