//! What is so only of processes in the hands of shims: they outlive the daemon, and a later one finds them.

use super::Node;
use crate::node::{gate, home_in, is_alive, noted, notes, shell, until, within};
use futures_util::StreamExt as _;
use punctual_clock::Clock;
use punctual_executor::drivers::process::ProcessDriver;
use punctual_executor::output::Content;
use punctual_executor::{Dispatch, Executor as _, Outputs, Pool, RunPromise};
use punctual_model::event::EventKind;
use punctual_model::{Exit, LostWhy, Run, RunId, RunState, TaskSpec};
use punctual_store::{RunStore as _, SessionStore as _, Store, TaskStore as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The files of shims that are there.
pub(super) fn files(node: &Node) -> Vec<String> {
    notes(node.path())
}

pub(super) fn shim_of(node: &Node, run: RunId) -> String {
    noted(node.path(), run).unwrap().1["shim"]["pid"].to_string()
}

pub(super) fn kill(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Begins it in a daemon that stops while it is at work; answers its run.
pub(super) async fn left_alone(node: &Node, spec: TaskSpec) -> RunId {
    let promise = node.begin(spec).await;
    node.wrote(promise.id(), "ready").await;
    let report = within(node.pool.stop(Duration::ZERO)).await;
    assert_eq!(report.left, []);
    assert!(node.store.run(promise.id()).await.unwrap().unwrap().state().is_at_work());
    promise.id()
}

/// The next daemon over the same directory and store, with the run taken up.
pub(super) async fn next(node: &Node, run: RunId) -> (Pool, Run) {
    next_by(node, run, Arc::clone(&node.clock)).await
}

/// The same, whose processes are driven by this clock.
pub(super) async fn next_by(node: &Node, run: RunId, clock: Arc<dyn Clock>) -> (Pool, Run) {
    let session = node.store.open_session("next").await.unwrap();
    let home = Arc::new(home_in(node.path()));
    ProcessDriver::reap_leftovers(&home, &*node.clock).await;
    let pool = Pool::builder(Arc::clone(&node.store) as Arc<dyn Store>, session, Arc::clone(&node.clock))
        .driver(ProcessDriver::shell(Arc::clone(&home), clock))
        .outputs(Outputs::in_directory(node.path().join("output")))
        .build();
    let run = node.store.run(run).await.unwrap().unwrap();
    let task = node.store.task_revision(run.task, run.revision).await.unwrap().unwrap();
    let run = within(pool.resume(Dispatch { run, task })).await.unwrap();
    ProcessDriver::sweep(&home, &*node.clock).await;
    pool.start();
    (pool, run)
}

async fn promise(pool: &Pool, run: RunId) -> Arc<dyn RunPromise> {
    pool.promise(run).await.unwrap().unwrap()
}

pub(super) async fn end(pool: &Pool, run: RunId) -> Run {
    within(async { promise(pool, run).await.wait().await }).await.unwrap()
}

pub(super) fn reattached(run: &Run) -> usize {
    run.events.iter().filter(|event| event.kind == EventKind::Reattached).count()
}

#[tokio::test]
async fn work_outlives_its_daemon_and_the_next_one_sees_its_end_and_all_its_output() {
    let node = Node::new().await;
    let gate = gate(node.path());
    let script = format!("echo $$; echo ready; cat {} >/dev/null; echo bye; exit 7", gate.display());
    let id = left_alone(&node, shell(&script)).await;
    let pid = node.output(id).lines().next().unwrap().to_owned();
    assert!(is_alive(&pid));
    let (pool, run) = next(&node, id).await;
    assert!(run.state().is_at_work());
    assert_eq!((run.life.attempt, run.life.epoch, reattached(&run)), (1, 2, 1));
    // Whoever follows sees it go on.
    let promise = promise(&pool, id).await;
    let mut frames =
        pool.outputs().follow(id, 0, Arc::clone(&node.clock), async move { drop(promise.wait().await) });
    std::fs::write(&gate, "go\n").unwrap();
    let mut text = Vec::new();
    while let Some(frame) = within(frames.next()).await {
        text.extend(frame.unwrap().content.show().into_owned());
    }
    assert!(text.ends_with(b"ready\nbye\n"));
    let run = end(&pool, id).await;
    assert_eq!((run.state(), run.outcome.unwrap().exit), (RunState::Failed, Some(Exit::Code(7))));
    assert_eq!(node.output(id), format!("{pid}\nready\nbye\n"));
    until(|| files(&node).is_empty()).await;
}

/// The shim writes, one daemon and then another one reads: the files turn all the while, and whoever follows sees one
/// stream with rising numbers.
#[tokio::test]
async fn output_that_rotates_is_one_stream_through_the_end_of_its_daemon() {
    let node = Node::new().await;
    let gate = gate(node.path());
    let lines = |from: u32, to: u32| format!("seq -w {from} {to}");
    // Seven bytes a line, of which each file holds 9362; the first 20000 lines fill two files and a bit.
    let script = format!(
        "{}; echo ready; cat {} >/dev/null; {}",
        lines(100_001, 120_000),
        gate.display(),
        lines(120_001, 150_000)
    );
    let mut spec = shell(&script);
    (spec.output.rotate_at, spec.output.files) = (Some(64 << 10), Some(3));
    let id = left_alone(&node, spec).await;
    let (pool, _) = next(&node, id).await;
    let promise = promise(&pool, id).await;
    let mut frames =
        pool.outputs().follow(id, 0, Arc::clone(&node.clock), async move { drop(promise.wait().await) });
    let first = within(frames.next()).await.unwrap().unwrap();
    assert_eq!(first.sequence, 0, "nothing has gone yet");
    std::fs::write(&gate, "go\n").unwrap();
    let mut last = first.sequence;
    let mut written = first.content.show().len() as u64;
    while let Some(frame) = within(frames.next()).await {
        let frame = frame.unwrap();
        assert!(frame.sequence > last);
        last = frame.sequence;
        written += match frame.content {
            Content::Bytes { bytes, .. } => bytes.len() as u64,
            Content::Dropped(bytes) => bytes,
        };
    }
    let whole = 50_000 * 7 + 6;
    assert_eq!(written, whole);
    let summary = end(&pool, id).await.outcome.unwrap().output.unwrap();
    assert_eq!(summary.bytes + summary.dropped, whole);
    assert!((2 * 65_536..=3 * 65_536).contains(&summary.bytes), "{summary:?}");
    let text = node.output(id);
    let (mark, kept) = text.trim_start().split_once('\n').unwrap();
    assert_eq!(mark, format!("[{} bytes of output dropped]", summary.dropped));
    assert!(kept.ends_with("149999\n150000\n") && kept.len() as u64 == summary.bytes);
}

#[tokio::test]
async fn an_end_while_no_daemon_was_there_is_told_with_its_own_time() {
    let node = Node::new().await;
    let gate = gate(node.path());
    let script = format!("echo ready; cat {} >/dev/null; echo bye; exit 7", gate.display());
    let id = left_alone(&node, shell(&script)).await;
    let before = node.clock.now();
    std::fs::write(&gate, "go\n").unwrap();
    until(|| files(&node) == [format!("{id}.1.end")]).await;
    let after = node.clock.now();
    // Far enough from the end that another time would be seen.
    node.clock.sleep(Duration::from_millis(50)).await;
    let (pool, run) = next(&node, id).await;
    assert_eq!(reattached(&run), 0);
    let run = end(&pool, id).await;
    assert_eq!(run.outcome.as_ref().unwrap().exit, Some(Exit::Code(7)));
    let finished = run.finished_at.unwrap();
    assert!(before <= finished && finished <= after, "{before} {finished} {after}");
    assert_eq!(run.outcome.unwrap().output.unwrap().bytes, 10);
    assert_eq!(node.output(id), "ready\nbye\n");
    until(|| files(&node).is_empty()).await;
}

#[tokio::test]
async fn a_timeout_holds_while_no_daemon_is_there() {
    let node = Node::new().await;
    let mut spec = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    spec.timeout = Some(Duration::from_secs(5));
    spec.kill.grace = Duration::from_millis(100);
    let id = left_alone(&node, spec).await;
    until(|| files(&node) == [format!("{id}.1.end")]).await;
    let (pool, _) = next(&node, id).await;
    let run = end(&pool, id).await;
    assert_eq!(run.state(), RunState::TimedOut);
    let outcome = run.outcome.unwrap();
    assert_eq!(outcome.exit, Some(Exit::Signal(9)));
    assert!(outcome.error.unwrap().message.contains("longer than its timeout of 5s"));
    assert!(run.events.iter().any(|event| event.kind == EventKind::Killed));
}

/// Gives a run's task another definition, as whoever owns tasks does.
async fn change(node: &Node, run: RunId, change: impl FnOnce(&mut TaskSpec)) {
    let run = node.store.run(run).await.unwrap().unwrap();
    let old = node.store.task(run.task).await.unwrap().unwrap().task;
    let mut task = punctual_model::Task::clone(&old);
    task.revision += 1;
    change(&mut task.spec);
    let task = Arc::new(task);
    let expect = punctual_store::Expect::Revision(old.revision);
    let put = punctual_store::PutTask { task: Arc::clone(&task), expect, raise_checkpoint: None };
    node.store.put_task(&node.session, put).await.unwrap();
    node.pool.update(task);
}

#[tokio::test]
async fn a_timeout_that_was_changed_holds_while_no_daemon_is_there() {
    let node = Node::new().await;
    // It goes by the new signal and not by the old one, so both are seen to have arrived.
    let mut spec =
        shell("trap '' TERM; trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done");
    spec.timeout = Some(Duration::from_secs(3_000));
    let promise = node.begin(spec).await;
    node.wrote(promise.id(), "ready").await;
    // Told in the moment of the stop: the change is heard all the same.
    change(&node, promise.id(), |spec| {
        spec.timeout = Some(Duration::from_secs(7));
        (spec.kill.signal, spec.kill.grace) = ("INT".to_owned(), Duration::from_secs(600));
    })
    .await;
    let id = promise.id();
    within(node.pool.stop(Duration::ZERO)).await;
    until(|| files(&node) == [format!("{id}.1.end")]).await;
    let (pool, _) = next(&node, id).await;
    let run = end(&pool, id).await;
    assert_eq!(run.state(), RunState::TimedOut);
    let outcome = run.outcome.unwrap();
    assert_eq!(outcome.exit, Some(Exit::Code(3)));
    assert!(outcome.error.unwrap().message.contains("7s"), "the timeout that held");
    assert_eq!(node.output(id), "ready\ninterrupted\n");
}

#[tokio::test]
async fn a_run_that_was_found_again_can_be_canceled() {
    let node = Node::new().await;
    let id = left_alone(&node, shell("echo $$; echo ready; exec sleep 1000")).await;
    let (pool, _) = next(&node, id).await;
    promise(&pool, id).await.cancel().await.unwrap();
    let run = end(&pool, id).await;
    assert!(matches!(run.state(), RunState::Canceled { .. }));
    assert_eq!(run.outcome.unwrap().exit, Some(Exit::Signal(15)));
    assert!(!is_alive(node.output(id).lines().next().unwrap()));
    until(|| files(&node).is_empty()).await;
}

#[tokio::test]
async fn a_shim_that_is_killed_takes_its_work_along_and_nobody_invents_an_end() {
    let node = Node::new().await;
    let promise = node.begin(shell("echo $$; echo ready; setsid sleep 1000 & exec sleep 1000")).await;
    let id = promise.id();
    node.wrote(id, "ready").await;
    kill(&shim_of(&node, id));
    let run = within(promise.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::Vanished });
    assert!(!is_alive(node.output(id).lines().next().unwrap()));
    until(|| files(&node).is_empty()).await;
    // It goes on with the next one.
    let run = node.shell("echo there").await;
    assert_eq!((run.state(), node.output(run.id)), (RunState::Succeeded, "there\n".to_owned()));
}

#[tokio::test]
async fn work_whose_shim_died_with_its_daemon_is_ended_and_lost() {
    let node = Node::new().await;
    let id = left_alone(&node, shell("echo $$; echo ready; exec env -i /bin/sleep 1000")).await;
    let pid = node.output(id).lines().next().unwrap().to_owned();
    // Only its note leads to it now.
    until(|| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.is_empty())).await;
    let shim = shim_of(&node, id);
    kill(&shim);
    until(|| !is_alive(&shim)).await;
    assert!(is_alive(&pid));
    let (_pool, run) = next(&node, id).await;
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::NodeDied });
    assert!(!is_alive(&pid), "proven dead before it is called lost");
    assert_eq!(files(&node), Vec::<String>::new());
}

/// Writes who the shim is anew, and answers its run after the next start.
async fn with_another_state(
    node: &Node,
    id: RunId,
    change: impl FnOnce(&mut serde_json::Value),
) -> (Pool, Run) {
    let (path, mut state) = noted(node.path(), id).unwrap();
    change(&mut state);
    let line = format!("{state}\n");
    std::fs::write(path, format!("{line}{:08x}\n", crc32fast::hash(line.as_bytes()))).unwrap();
    next(node, id).await
}

#[tokio::test]
async fn a_stranger_with_the_number_of_a_shim_is_left_alone() {
    let node = Node::new().await;
    let id = left_alone(&node, shell("echo ready; exec sleep 1000")).await;
    let shim = shim_of(&node, id);
    kill(&shim);
    until(|| !is_alive(&shim)).await;
    // Somebody else, whose number the dead one could have had.
    // Not born in the same hundredth of a second as they: that is how finely the system tells.
    node.clock.sleep(Duration::from_millis(50)).await;
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = stranger.id();
    let (_pool, run) = with_another_state(&node, id, |state| {
        state["shim"]["pid"] = pid.into();
        state["leader"]["pid"] = pid.into();
    })
    .await;
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::NodeDied });
    assert!(stranger.try_wait().unwrap().is_none(), "it was touched");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn of_another_boot_nothing_lives() {
    let node = Node::new().await;
    let id = left_alone(&node, shell("echo ready; exec sleep 1000")).await;
    let shim = shim_of(&node, id);
    kill(&shim);
    until(|| !is_alive(&shim)).await;
    // In this boot, somebody else is exactly who it was.
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", stranger.id())).unwrap();
    let start: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let identity = serde_json::json!({ "pid": stranger.id(), "start_time": start });
    let (_pool, run) = with_another_state(&node, id, |state| {
        state["boot"] = "another".into();
        state["shim"] = identity.clone();
        state["leader"] = identity;
    })
    .await;
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::NodeDied });
    assert_eq!(files(&node), Vec::<String>::new());
    assert!(stranger.try_wait().unwrap().is_none(), "it was touched");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// It has noted itself under the name of its attempt, and knows nothing of what was added since.
#[tokio::test]
async fn the_shim_of_an_earlier_build_is_found_again() {
    let node = Node::new().await;
    let gate = gate(node.path());
    let script = format!("echo ready; cat {} >/dev/null; echo bye; exit 7", gate.display());
    let id = left_alone(&node, shell(&script)).await;
    let (path, mut state) = noted(node.path(), id).unwrap();
    state.as_object_mut().unwrap().remove("before").unwrap();
    let earlier = node.path().join(format!("processes/{id}.1.state"));
    std::fs::write(&earlier, state.to_string()).unwrap();
    std::fs::remove_file(path).unwrap();
    let (pool, run) = next(&node, id).await;
    assert_eq!((run.life.attempt, reattached(&run)), (1, 1));
    assert!(earlier.exists(), "swept while it lives");
    std::fs::write(&gate, "go\n").unwrap();
    let run = end(&pool, id).await;
    assert_eq!((run.state(), run.outcome.unwrap().exit), (RunState::Failed, Some(Exit::Code(7))));
    assert_eq!(node.output(id), "ready\nbye\n");
    until(|| files(&node).is_empty()).await;
}

#[tokio::test]
async fn who_left_the_group_is_ended_with_its_leader() {
    let node = Node::new().await;
    let script = "setsid sh -c 'echo $$; echo ready; exec sleep 1000' & while ! [ -e $GATE ]; do sleep 0.02; done; echo end";
    let gate = node.path().join("gate");
    let promise = node.begin(shell(&script.replace("$GATE", &gate.display().to_string()))).await;
    node.wrote(promise.id(), "ready").await;
    std::fs::write(&gate, "").unwrap();
    let run = within(promise.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Succeeded);
    let output = node.output(run.id);
    assert!(output.ends_with("end\n"), "{output}");
    assert!(!is_alive(output.lines().next().unwrap()));
    let text: String = run.events.iter().map(|event| event.kind.text()).collect();
    assert!(text.contains("1 of its processes were left behind"), "{text}");
}

#[tokio::test]
async fn what_nobody_asks_for_is_swept_at_the_next_start() {
    let node = Node::new().await;
    let id = left_alone(&node, shell("echo $$; echo ready; exec sleep 1000")).await;
    let pid = node.output(id).lines().next().unwrap().to_owned();
    let home = home_in(node.path());
    // In the hands of a living shim: none of those that nobody keeps.
    assert_eq!(within(ProcessDriver::reap_leftovers(&home, &*node.clock)).await.found, 0);
    assert!(is_alive(&pid));
    std::fs::write(node.path().join("processes/00000000000000ff.1.end"), "{}").unwrap();
    within(ProcessDriver::sweep(&home, &*node.clock)).await;
    assert!(!is_alive(&pid));
    until(|| files(&node).is_empty()).await;
}

#[tokio::test]
async fn a_spawner_that_is_killed_is_replaced() {
    let node = Node::new().await;
    let promise = node.begin(shell("echo ready; exec sleep 1000")).await;
    node.wrote(promise.id(), "ready").await;
    let shim = shim_of(&node, promise.id());
    let spawner = parent(&shim);
    kill(&spawner);
    until(|| !Path::new(&format!("/proc/{spawner}")).exists()).await;
    let run = node.shell("echo there").await;
    assert_eq!((run.state(), node.output(run.id)), (RunState::Succeeded, "there\n".to_owned()));
    // Those that it had made go on.
    promise.cancel().await.unwrap();
    let run = within(promise.wait()).await.unwrap();
    assert!(matches!(run.state(), RunState::Canceled { .. }));
}

fn parent(pid: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    rest.split_whitespace().nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn nothing_is_left_of_many_runs() {
    let node = Node::new().await;
    let task = node.task(shell("echo $PPID")).await;
    let mut shims = Vec::new();
    for _ in 0..20 {
        let run = within(node.go_with(&task, node.run_of(&task)).await.wait()).await.unwrap();
        shims.push(node.output(run.id).trim().to_owned());
    }
    for shim in shims {
        until(|| !Path::new(&format!("/proc/{shim}")).exists()).await;
    }
    assert_eq!(files(&node), Vec::<String>::new());
}
