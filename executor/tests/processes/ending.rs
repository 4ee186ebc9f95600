use super::Node;
use crate::node::{is_alive, shell, until, within};
use punctual_executor::drivers::process::ProcessDriver;
use punctual_executor::{Asked, Driver as _, Executor as _, Killed, Outputs, RunSink, Stream};
use punctual_model::event::EventKind;
use punctual_model::{Exit, FailureKind, Run, RunState, TaskSpec};
use std::sync::Arc;
use std::time::Duration;

fn with_grace(script: &str, grace: Duration) -> TaskSpec {
    let mut spec = shell(script);
    spec.kill.grace = grace;
    spec
}

/// Begins it, waits until it says that it is ready, and cancels it.
async fn canceled(node: &Node, spec: TaskSpec) -> Run {
    let promise = node.begin(spec).await;
    node.wrote(promise.id(), "ready").await;
    promise.cancel().await.unwrap();
    within(promise.wait()).await.unwrap()
}

fn was_killed(run: &Run) -> bool {
    run.events.iter().any(|event| event.kind == EventKind::Killed)
}

/// TR01
#[tokio::test]
async fn tr01_canceled_work_keeps_its_exit_code_or_signal() {
    let node = Node::new().await;
    let run = canceled(&node, shell("echo ready; exec sleep 1000")).await;
    assert!(matches!(run.state(), RunState::Canceled { .. }));
    let outcome = run.outcome.as_ref().unwrap();
    assert_eq!(
        (outcome.exit, outcome.error.as_ref().unwrap().kind),
        (Some(Exit::Signal(15)), FailureKind::Canceled)
    );
    assert!(!was_killed(&run));
    let mut spec = shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done");
    spec.name = "traps".to_owned();
    let run = canceled(&node, spec).await;
    assert_eq!(run.outcome.as_ref().unwrap().exit, Some(Exit::Code(3)));
    assert!(node.output(run.id).contains("bye"));
    assert!(!was_killed(&run));
}

/// Through its shim where it has one; what is no signal is answered with those that there are.
#[tokio::test]
async fn tr15_tr16_a_process_gets_signals_and_is_begun_again_on_request() {
    let node = Node::new().await;
    let script = "trap 'echo got' USR1; trap 'exit 3' TERM; echo ready $PUNCTUAL_ATTEMPT; while :; do sleep 0.05; done";
    let promise = node.begin(shell(script)).await;
    let id = promise.id();
    let runs = async |attempt: u32| {
        node.wrote(id, &format!("ready {attempt}")).await;
        while promise.state().await.unwrap() != RunState::Running {
            node.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    within(runs(1)).await;
    let asked = within(node.pool.signal(id, "10".to_owned())).await.unwrap();
    assert!(matches!(asked, Asked::Done(_)), "{asked:?}");
    node.wrote(id, "got").await;
    let asked = within(node.pool.signal(id, "NONSENSE".to_owned())).await.unwrap();
    assert!(matches!(&asked, Asked::Refused(why) if why.contains("HUP (1)")), "{asked:?}");
    let asked = within(node.pool.restart(id, String::new())).await.unwrap();
    assert!(matches!(asked, Asked::Done(_)), "{asked:?}");
    within(runs(2)).await;
    promise.cancel().await.unwrap();
    let run = within(promise.wait()).await.unwrap();
    assert_eq!(run.life.attempt, 2);
    let began = |event: &punctual_model::event::Event| match &event.kind {
        EventKind::Restarting { attempt, end, delay, .. } => Some((*attempt, end.clone(), *delay)),
        _ => None,
    };
    let restarted: Vec<_> = run.events.iter().filter_map(began).collect();
    assert_eq!(restarted, [(1, "exit code 3".to_owned(), Duration::ZERO)]);
}

/// Tells a driver where output is, and takes nothing.
struct Quiet(Outputs);

impl RunSink for Quiet {
    fn output(&self, _stream: Stream, _bytes: &[u8]) {}
    fn event(&self, _what: EventKind) {}
    fn save(&self, _state: serde_json::Value) {}
    fn outputs(&self) -> Option<Outputs> {
        Some(self.0.clone())
    }
}

/// B11: to end what has gone already is done, and no error that is tried again. TR15: a signal that could not be given
/// is the error that the driver made of it.
#[tokio::test]
async fn b11_what_has_gone_already_counts_as_ended_and_no_stranger_is_signalled() {
    let node = Node::new().await;
    let outputs = node.pool.outputs().clone();
    let shims = ProcessDriver::shell(Arc::clone(&node.home), Arc::clone(&node.clock));
    let plain = ProcessDriver::shell(Arc::clone(&node.home), Arc::clone(&node.clock)).without_shims();
    for driver in [shims, plain] {
        let attempt = node.attempt(shell("exit 3"));
        let handle = within(driver.start(attempt, Arc::new(Quiet(outputs.clone())))).await.unwrap();
        assert_eq!(within(handle.wait()).await.exit, Some(Exit::Code(3)));
        for _ in 0..2 {
            let killed = within(handle.kill("TERM", Duration::from_secs(1000))).await;
            assert_eq!(killed, Ok(Killed::ByItself));
        }
        assert!(within(handle.signal("HUP")).await.unwrap_err().contains("has ended"));
        assert_eq!(within(handle.wait()).await.exit, Some(Exit::Code(3)), "the same whenever it is asked");
        handle.recorded();
    }
}

#[tokio::test]
async fn what_ignores_the_signal_is_killed_after_the_grace_with_its_whole_tree() {
    let node = Node::new().await;
    let script = "trap '' TERM; sh -c 'sleep 1000 & echo $!; wait' & echo $!; echo ready; while :; do sleep 0.05; done";
    let run = canceled(&node, with_grace(script, Duration::from_millis(200))).await;
    assert!(was_killed(&run));
    assert_eq!(run.outcome.as_ref().unwrap().exit, Some(Exit::Signal(9)));
    let output = node.output(run.id);
    let pids: Vec<&str> = output.lines().filter(|line| *line != "ready").collect();
    assert!(!pids.is_empty());
    for pid in pids {
        assert!(!is_alive(pid), "{pid} of {output:?}");
    }
}

#[tokio::test]
async fn who_left_the_group_is_ended_with_the_run() {
    let node = Node::new().await;
    let script = "setsid sh -c 'echo $$; echo ready; exec sleep 1000' & wait; sleep 1000";
    let run = canceled(&node, with_grace(script, Duration::from_secs(20))).await;
    let output = node.output(run.id);
    assert!(!is_alive(output.lines().next().unwrap()), "{output}");
    assert!(!was_killed(&run), "it went politely");
}

#[tokio::test]
async fn the_rest_of_the_group_has_the_grace_too_when_its_leader_goes_first() {
    let node = Node::new().await;
    let worker = "trap 'sleep 0.3; echo cleaned; exit' TERM; echo ready; while :; do sleep 0.02; done";
    let script = format!("sh -c \"{worker}\" & wait");
    let run = canceled(&node, with_grace(&script, Duration::from_secs(20))).await;
    assert!(node.output(run.id).contains("cleaned"), "{}", node.output(run.id));
    assert!(!was_killed(&run));
}

#[tokio::test]
async fn the_signal_is_the_tasks_and_an_unknown_one_is_sigterm() {
    let node = Node::new().await;
    let mut spec = shell("trap 'exit 5' USR1; trap '' TERM; echo ready; while :; do sleep 0.02; done");
    spec.kill.signal = "usr1".to_owned();
    let run = canceled(&node, spec).await;
    assert_eq!(run.outcome.as_ref().unwrap().exit, Some(Exit::Code(5)));
    let mut spec = shell("echo ready; exec sleep 1000");
    spec.kill.signal = "SIGNONSENSE".to_owned();
    let run = canceled(&node, spec).await;
    assert_eq!(run.outcome.as_ref().unwrap().exit, Some(Exit::Signal(15)));
}

#[tokio::test]
async fn too_long_is_stopped_and_told() {
    let node = Node::new().await;
    let run = node.run(shell("exec sleep 1000").timeout(Duration::from_millis(200))).await;
    assert_eq!(run.state(), RunState::TimedOut);
    let outcome = run.outcome.unwrap();
    assert_eq!((outcome.exit, outcome.error.unwrap().kind), (Some(Exit::Signal(15)), FailureKind::Timeout));
}

#[tokio::test]
async fn no_zombies_are_left() {
    let node = Node::new().await;
    let task = node.task(shell("echo $$")).await;
    let mut pids = Vec::new();
    for _ in 0..10 {
        let run = within(node.go_with(&task, node.run_of(&task)).await.wait()).await.unwrap();
        pids.push(node.output(run.id).trim().to_owned());
    }
    for pid in pids {
        until(|| !std::path::Path::new(&format!("/proc/{pid}")).exists()).await;
    }
}
