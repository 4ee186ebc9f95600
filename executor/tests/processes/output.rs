use super::Node;
use crate::node::{is_alive, shell, until, within};
use futures_util::StreamExt as _;
use punctual_executor::Stream;
use punctual_executor::output::Content;
use punctual_model::{RunState, outcome::OutputSummary};

#[tokio::test]
async fn both_streams_are_kept_exactly() {
    let node = Node::new().await;
    let run = node.shell(r"printf 'out\000\377\n'; printf 'err' >&2").await;
    let mut reader = node.pool.outputs().read(run.id);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(frame) = reader.next_frame().unwrap() {
        match frame.content {
            Content::Bytes { stream: Stream::Stdout, bytes } => out.extend(bytes),
            Content::Bytes { stream: Stream::Stderr, bytes } => err.extend(bytes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((out.as_slice(), err.as_slice()), (&b"out\0\xff\n"[..], &b"err"[..]));
    assert_eq!(run.outcome.unwrap().output, Some(OutputSummary { bytes: 9, dropped: 0 }));
}

#[tokio::test]
async fn a_flood_is_capped_and_marked_and_the_run_goes_on() {
    let node = Node::new().await;
    let mut spec = shell("head -c 5000000 /dev/zero; exit 3");
    spec.max_output = 100_000;
    let run = node.run(spec).await;
    assert_eq!(run.state(), RunState::Failed);
    let summary = run.outcome.unwrap().output.unwrap();
    assert_eq!(summary.bytes + summary.dropped, 5_000_000);
    assert!((75_000..=100_000).contains(&summary.bytes), "{summary:?}");
    // Half of the cap is for the beginning; behind the mark comes the newest.
    let text = node.output(run.id);
    let mark = format!("\n[{} bytes of output dropped]\n", summary.dropped);
    let (head, tail) = text.split_once(&mark).unwrap();
    assert_eq!((head.len(), tail.len() as u64), (50_000, summary.bytes - 50_000));
}

#[tokio::test]
async fn a_silent_run_leaves_no_file() {
    let node = Node::new().await;
    let run = node.shell("true").await;
    assert_eq!(run.outcome.unwrap().output, None);
    let left = walk(&node.path().join("output"));
    assert!(left.is_empty(), "{left:?}");
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn output_is_there_as_it_comes() {
    let node = Node::new().await;
    let gate = node.path().join("gate");
    rustix::fs::mkfifoat(rustix::fs::CWD, &gate, rustix::fs::Mode::RWXU).unwrap();
    let promise = node.begin(shell(&format!("echo one; cat {}; echo two", gate.display()))).await;
    let run = promise.id();
    let ended = {
        let promise = std::sync::Arc::clone(&promise);
        async move { drop(promise.wait().await) }
    };
    let mut frames = node.pool.outputs().follow(run, 0, std::sync::Arc::clone(&node.clock), ended);
    let first = within(frames.next()).await.unwrap().unwrap();
    assert_eq!(first.content.show().as_ref(), b"one\n");
    assert!(!promise.state().await.unwrap().is_terminal());
    std::fs::write(&gate, "gate\n").unwrap();
    let mut rest = Vec::new();
    while let Some(frame) = within(frames.next()).await {
        rest.extend(frame.unwrap().content.show().into_owned());
    }
    assert_eq!(rest, b"gate\ntwo\n");
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipe_does_not_hold_the_run() {
    let node = Node::new().await;
    let run = node.shell("sleep 1000 & echo $!").await;
    assert_eq!(run.state(), RunState::Succeeded);
    let pid = node.output(run.id);
    until(|| !is_alive(&pid)).await;
    let text: String = run.events.iter().map(|event| event.kind.text()).collect();
    assert!(text.contains("1 of its processes were left behind"), "{text}");
}
