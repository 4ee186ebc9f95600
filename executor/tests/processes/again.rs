//! What is so of a shim that keeps one attempt after another: nothing of the one gets into the next.

use super::Node;
use super::kept::{files, left_alone, next};
use crate::node::{shell, until, within};
use punctual_model::{Run, RunState, TaskSpec, Work};

/// Runs these one after another until all had the same shim, which none has if the machine stands still in between.
/// Their scripts tell first who their parent is.
async fn by_one_shim<const N: usize>(node: &Node, specs: [TaskSpec; N]) -> [Run; N] {
    let mut all = Vec::new();
    for (number, mut spec) in specs.into_iter().enumerate() {
        spec.name = format!("script-{number}");
        all.push(node.task(spec).await);
    }
    within(async {
        loop {
            let mut runs = Vec::new();
            for task in &all {
                let run = node.go_with(task, node.run_of(task)).await.wait().await.unwrap();
                assert_eq!(run.state(), RunState::Succeeded, "{run:?}");
                runs.push(run);
            }
            let shim = |run: &Run| node.output(run.id).lines().next().map(str::to_owned);
            if runs.iter().all(|run| shim(run) == shim(&runs[0])) {
                return runs.try_into().unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_an_attempt_took_is_not_counted_as_the_next_ones() {
    let node = Node::new().await;
    let burn = "echo $PPID; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; x=$(head -c 5000000 /dev/zero | tr '\\0' x)";
    let [first, second] = by_one_shim(&node, [shell(burn), shell("echo $PPID")]).await;
    let took = |run: Run| {
        let usage = run.outcome.unwrap().usage.unwrap();
        (usage.user + usage.system, usage.memory)
    };
    let (first, second) = (took(first), took(second));
    assert!(second.0 * 2 < first.0 && second.1 < first.1, "{first:?} then {second:?}");
    until(|| files(&node).is_empty()).await;
}

#[tokio::test]
async fn input_environment_directory_and_descriptors_are_each_attempts_own() {
    let node = Node::new().await;
    // Larger than what is read at once.
    let text = "x\n".repeat(15_000);
    let shown = "echo $PPID; pwd; env | grep -c ^SECRET; umask; wc -c; echo $(ls /proc/self/fd)";
    let mut first = shell(shown);
    let Work::Shell { context, .. } = &mut first.work else { panic!("a script") };
    context.stdin = Some(text.clone());
    context.env.insert("SECRET".to_owned(), "1".to_owned());
    context.cwd = Some("/".to_owned());
    context.umask = Some("0077".to_owned());
    let second = shell(shown);
    let runs = by_one_shim(&node, [first.clone(), second, first]).await;
    let [one, two, three] = runs.map(|run| {
        let output = node.output(run.id);
        output.lines().skip(1).map(str::trim).map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(one, three);
    assert_eq!(one[..4], ["/", "1", "0077", &text.len().to_string()]);
    assert_eq!((&*two[1], &*two[3]), ("0", "0"));
    assert!(two[0] != "/" || std::env::current_dir().unwrap() == std::path::Path::new("/"));
    assert_ne!(two[2], "0077");
    assert_eq!(one[4], two[4], "a descriptor of another attempt");
}

#[tokio::test]
async fn one_that_dies_while_it_has_no_work_harms_nobody() {
    let node = Node::new().await;
    for _ in 0..3 {
        let run = node.shell("echo $PPID").await;
        assert_eq!(run.state(), RunState::Succeeded);
        let shim: i32 = node.output(run.id).trim().parse().unwrap();
        // It may have gone by itself.
        let shim = rustix::process::Pid::from_raw(shim).unwrap();
        let _ = rustix::process::kill_process(shim, rustix::process::Signal::KILL);
    }
    until(|| files(&node).is_empty()).await;
}

/// A daemon that finds it again does not give it another.
#[tokio::test]
async fn one_that_was_without_its_daemon_keeps_nothing_else() {
    let node = Node::new().await;
    let id = left_alone(&node, shell("echo $PPID; echo ready; exec sleep 1000")).await;
    let shim = node.output(id).lines().next().unwrap().to_owned();
    let (pool, _) = next(&node, id).await;
    let promise = punctual_executor::Executor::promise(&pool, id).await.unwrap().unwrap();
    promise.cancel().await.unwrap();
    within(promise.wait()).await.unwrap();
    until(|| !std::path::Path::new(&format!("/proc/{shim}")).exists()).await;
    until(|| files(&node).is_empty()).await;
}
