//! What a run may use in all, and what becomes of those who want more or who hide. Real control groups: where the
//! machine gives us none, it is said what is not shown.

use super::Node;
use crate::node::{is_alive, shell, until, within};
use punctual_model::event::EventKind;
use punctual_model::number::Decimal;
use punctual_model::process::Resources;
use punctual_model::restart::RestartPolicy;
use punctual_model::{Exit, FailureKind, Run, RunId, RunState, TaskSpec, Work};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where control groups are mounted by custom.
const GROUPS: &str = "/sys/fs/cgroup";

pub(super) fn limited(script: &str, resources: Resources) -> TaskSpec {
    let mut spec = shell(script);
    let Work::Shell { context, .. } = &mut spec.work else { unreachable!() };
    context.resources = resources;
    spec.kill.grace = Duration::from_millis(200);
    spec
}

pub(super) fn pids(count: u32) -> Resources {
    Resources { pids: Some(count), ..Resources::default() }
}

pub(super) fn memory(bytes: u64) -> Resources {
    Resources { memory: Some(bytes), ..Resources::default() }
}

/// The directories of a run's first attempt on this node, in whatever hierarchies.
pub(super) fn groups_of(node: &Node, run: RunId) -> Vec<PathBuf> {
    fn look(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if path.ends_with(name) {
                    found.push(path.clone());
                }
                look(&path, name, found);
            }
        }
    }
    let mut found = Vec::new();
    look(Path::new(GROUPS), &name_of(node, run), &mut found);
    found
}

/// What they are called: no other node's run has the same name, whatever its number is.
fn name_of(node: &Node, run: RunId) -> String {
    let path = node.path().canonicalize().unwrap();
    let about = path.metadata().unwrap();
    let mark = format!("{}:{}:{}", about.dev(), about.ino(), path.display());
    format!("punctual-{:08x}-{run}.1", crc32fast::hash(mark.as_bytes()))
}

/// Whether anybody could make groups with limits beside the one that we are in, found out in another way than ours.
fn somebody_could() -> bool {
    let script = r#"
        for c in memory pids cpu; do
            own=$(sed -n "s/^[0-9]*:\([^:]*,\)\?$c\(,[^:]*\)\?://p" /proc/self/cgroup)
            [ -n "$own" ] || exit 1
            mkdir "/sys/fs/cgroup/$c$own/probe-$$" && rmdir "/sys/fs/cgroup/$c$own/probe-$$" || exit 1
        done"#;
    let probe = std::process::Command::new("/bin/sh").args(["-c", script]).output().unwrap();
    probe.status.success()
}

/// Whether limits can be had here; if not, what is not shown for it is said.
pub(super) async fn can_be_had(node: &Node, what: &str) -> bool {
    let all = Resources { memory: Some(64 << 20), cpu: Some(Decimal::ONE), pids: Some(50) };
    let run = node.run(limited("true", all)).await;
    if run.state() == RunState::Succeeded {
        return true;
    }
    let why = run.outcome.unwrap().error.unwrap().message;
    assert!(!somebody_could(), "they are there to be had: {why}");
    // Past the harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {why}");
    false
}

fn texts(run: &Run) -> String {
    run.events.iter().map(|event| event.kind.text() + "\n").collect()
}

pub(super) fn out_of_memory(run: &Run) -> usize {
    run.events.iter().filter(|event| matches!(event.kind, EventKind::OutOfMemory { .. })).count()
}

#[tokio::test]
async fn a_run_with_limits_has_a_group_that_keeps_them_and_says_so() {
    let node = Node::new().await;
    if !can_be_had(&node, "the limits of a group").await {
        return;
    }
    let gate = crate::node::gate(node.path());
    let script = format!("cat /proc/self/cgroup; echo ready; read x <{}", gate.display());
    let resources =
        Resources { memory: Some(64 << 20), cpu: Some(Decimal::thousandths(500)), pids: Some(20) };
    let promise = node.begin(limited(&script, resources)).await;
    let id = promise.id();
    node.wrote(id, "ready").await;
    let groups = groups_of(&node, id);
    assert!(!groups.is_empty());
    let text = |file: &str| {
        let mut found = groups.iter().filter_map(|group| std::fs::read_to_string(group.join(file)).ok());
        found.next().unwrap_or_default().trim().to_owned()
    };
    assert_eq!(text("pids.max"), "20");
    assert!([text("memory.limit_in_bytes"), text("memory.max")].contains(&"67108864".to_owned()));
    assert!([text("cpu.cfs_quota_us"), text("cpu.max")].iter().any(|cpu| cpu.starts_with("50000")));
    std::fs::write(&gate, "\n").unwrap();
    let run = within(promise.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Succeeded);
    let inside = name_of(&node, id);
    assert!(node.output(id).lines().any(|line| line.ends_with(&inside)), "{}", node.output(id));
    let texts = texts(&run);
    assert!(texts.contains("limits are kept by cgroup v"), "{texts}");
    assert!(texts.contains(": memory 64 MiB, cpu 0.5, pids 20"), "{texts}");
    assert_eq!((groups_of(&node, id), out_of_memory(&run)), (Vec::new(), 0));
    assert!(!crate::node::notes(node.path()).iter().any(|name| name.ends_with(".group")));
}

#[tokio::test]
async fn a_run_without_limits_has_no_group() {
    let node = Node::new().await;
    let ours = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let run = node.shell("cat /proc/self/cgroup").await;
    assert_eq!(node.output(run.id), ours);
    assert!(!texts(&run).contains("limits"));
}

/// A child of the script that takes all memory there is, and is the one that the kernel kills for it: among several
/// it might choose the script.
pub(super) const MEMORY_HOG: &str = "(echo 1000 >/proc/self/oom_score_adj; exec tail /dev/zero)";

#[tokio::test]
async fn who_uses_more_memory_is_killed_by_the_kernel_and_the_run_has_failed() {
    let node = Node::new().await;
    if !can_be_had(&node, "an end for want of memory").await {
        return;
    }
    let run = node.run(limited(&format!("{MEMORY_HOG}; exit $?"), memory(32 << 20))).await;
    let outcome = run.outcome.clone().unwrap();
    assert_eq!((run.state(), outcome.exit), (RunState::Failed, Some(Exit::Code(137))));
    let failure = outcome.error.unwrap();
    assert_eq!((failure.kind, failure.recoverable), (FailureKind::Work, true));
    let text = failure.message;
    assert!(text.starts_with("out of memory: at its limit of 32 MiB the kernel killed "), "{text}");
    assert!(text.ends_with(" of its processes; exit code 137"), "{text}");
    assert_eq!((out_of_memory(&run), node.pool.counters().out_of_memory), (1, 1));
    assert_eq!(groups_of(&node, run.id), Vec::<PathBuf>::new());
    // What is left of the work cannot make a success of it; and it is a failure like others for a restart.
    let mut spec = limited(&format!("{MEMORY_HOG}; exit 0"), memory(32 << 20));
    spec.restart = RestartPolicy { attempts: 1, delay: Duration::ZERO, ..spec.restart };
    let run = node.run(spec).await;
    assert_eq!((run.state(), run.life.attempt), (RunState::Failed, 2));
    assert_eq!(run.outcome.as_ref().unwrap().exit, Some(Exit::Code(0)));
    assert!(run.outcome.as_ref().unwrap().error.as_ref().unwrap().message.ends_with("; exit code 0"));
    assert_eq!((out_of_memory(&run), node.pool.counters().out_of_memory), (2, 3));
}

#[tokio::test]
async fn a_fork_bomb_stays_within_its_limit_and_nothing_is_left_of_it() {
    let node = Node::new().await;
    if !can_be_had(&node, "a fork bomb under a limit").await {
        return;
    }
    let gate = crate::node::gate(node.path());
    // The leader forks once, while it still can.
    let script = format!("bomb() {{ bomb | bomb & }}; bomb & read x <{}", gate.display());
    let promise = node.begin(limited(&script, pids(20))).await;
    let id = promise.id();
    // Somebody was told that there are enough of them.
    node.wrote(id, "fork").await;
    let most = |group: &PathBuf| {
        let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        text.lines().count()
    };
    assert!(groups_of(&node, id).iter().map(most).max().unwrap() <= 20);
    promise.cancel().await.unwrap();
    let run = within(promise.wait()).await.unwrap();
    assert!(matches!(run.state(), RunState::Canceled { .. }), "{run:?}");
    // Gone with all that was in it.
    assert_eq!(groups_of(&node, id), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn who_hides_from_everything_else_is_ended_with_its_run() {
    let node = Node::new().await;
    if !can_be_had(&node, "the end of a hidden process").await {
        return;
    }
    let gate = crate::node::gate(node.path());
    // Of another session, nobody's child, without a variable or an open file that would tell.
    let hidden = "setsid sh -c 'env -i /bin/sleep 1000 >/dev/null 2>&1 & echo $!'; echo ready";
    let run = node.run(limited(hidden, pids(20))).await;
    assert_eq!(run.state(), RunState::Succeeded);
    assert!(!is_alive(node.output(run.id).lines().next().unwrap()));
    assert!(texts(&run).contains("1 of its processes were left behind and killed"), "{}", texts(&run));
    assert_eq!(groups_of(&node, run.id), Vec::<PathBuf>::new());
    let promise = node.begin(limited(&format!("{hidden}; read x <{}", gate.display()), pids(20))).await;
    node.wrote(promise.id(), "ready").await;
    let pid = node.output(promise.id()).lines().next().unwrap().to_owned();
    // Ready is who has cleaned its environment.
    until(|| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.is_empty())).await;
    assert!(is_alive(&pid));
    promise.cancel().await.unwrap();
    let run = within(promise.wait()).await.unwrap();
    assert!(matches!(run.state(), RunState::Canceled { .. }));
    assert!(!is_alive(&pid));
    assert_eq!(groups_of(&node, run.id), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_limit_that_cannot_be_had_fails_the_start_and_leaves_nothing() {
    let node = Node::new().await;
    // More than the kernel has numbers for, after one that it would take.
    let too_much = Resources { memory: Some(64 << 20), cpu: None, pids: Some(u32::MAX) };
    let run = node.run(limited("echo ran", too_much)).await;
    let failure = run.outcome.unwrap().error.unwrap();
    assert_eq!((failure.kind, failure.recoverable), (FailureKind::Start, false), "{}", failure.message);
    let text = failure.message;
    assert!(text.starts_with("its limits (memory 64 MiB, pids 4294967295) cannot be had: "), "{text}");
    assert!(text.contains("Delegate=yes"), "{text}");
    assert_eq!((node.output(run.id), groups_of(&node, run.id)), (String::new(), Vec::new()));
    assert!(!crate::node::notes(node.path()).iter().any(|name| name.ends_with(".group")));
}

#[tokio::test]
async fn a_program_that_is_not_there_leaves_no_group() {
    let node = Node::new().await;
    let mut spec = TaskSpec::new("missing", Work::process(["/no/such/program"]));
    let Work::Process { context, .. } = &mut spec.work else { unreachable!() };
    context.resources = pids(20);
    let run = node.run(spec).await;
    assert_eq!(run.outcome.unwrap().error.unwrap().kind, FailureKind::Start);
    until(|| groups_of(&node, run.id).is_empty()).await;
}
