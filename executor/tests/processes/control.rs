//! What a process may be and use.

use super::Node;
use crate::node::shell;
use punctual_model::process::{ProcessContext, Rlimit};
use punctual_model::{FailureKind, Run, RunState, TaskSpec, Work};

fn with(script: &str, change: impl FnOnce(&mut ProcessContext)) -> TaskSpec {
    let mut spec = shell(script);
    let Work::Shell { context, .. } = &mut spec.work else { unreachable!() };
    change(context);
    spec
}

/// Whether another user's work can be started here; if not, what is not shown for it is said.
fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: {what}: needs root, and this is user {:?}", rustix::process::geteuid());
    }
    is_root
}

fn refused(run: &Run) -> (String, bool) {
    let failure = run.outcome.clone().unwrap().error.unwrap();
    assert_eq!((run.state(), failure.kind), (RunState::Failed, FailureKind::Start), "{}", failure.message);
    (failure.message, failure.recoverable)
}

#[tokio::test]
async fn limits_niceness_mask_and_no_new_rights_are_those_of_the_task() {
    let node = Node::new().await;
    let script = "umask; ulimit -Sn; ulimit -Hn; ulimit -c; nice; grep NoNewPrivs /proc/self/status";
    let run = node
        .run(with(script, |it| {
            it.umask = Some("027".to_owned());
            it.rlimits.insert("nofile".to_owned(), Rlimit { soft: 64, hard: 128 });
            it.rlimits.insert("core".to_owned(), Rlimit { soft: 0, hard: 0 });
            // Everybody may give way.
            it.nice = Some(19);
            it.no_new_privs = true;
        }))
        .await;
    assert_eq!(node.output(run.id), "0027\n64\n128\n0\n19\nNoNewPrivs:\t1\n");
}

#[tokio::test]
async fn without_settings_the_process_is_as_the_daemon() {
    let node = Node::new().await;
    let run = node.shell("umask; nice; id -u; id -g; grep Groups /proc/self/status").await;
    let ours = std::process::Command::new("/bin/sh")
        .args(["-c", "umask; nice; id -u; id -g; grep Groups /proc/self/status"])
        .output()
        .unwrap();
    assert_eq!(node.output(run.id), String::from_utf8(ours.stdout).unwrap());
}

#[tokio::test]
async fn a_limit_is_the_process_own_and_ends_it() {
    let node = Node::new().await;
    let limit = |it: &mut ProcessContext| {
        it.rlimits.insert("fsize".to_owned(), Rlimit { soft: 4096, hard: 4096 });
    };
    let file = node.path().join("large");
    let script = format!("head -c 100000 /dev/zero >{}; echo $?", file.display());
    let run = node.run(with(&script, limit)).await;
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 4096);
    assert_ne!(node.output(run.id), "0\n");
}

#[tokio::test]
async fn what_cannot_be_set_fails_the_start_and_says_what_it_was() {
    let node = Node::new().await;
    // Above what the kernel lets anybody have, root included.
    let most = Rlimit { soft: 1 << 40, hard: 1 << 40 };
    let run = node.run(with("echo ran", |it| it.rlimits = [("nofile".to_owned(), most)].into())).await;
    let (text, recoverable) = refused(&run);
    assert!(text.starts_with("its limit \"nofile\" cannot be set") && !recoverable, "{text}");
    assert_eq!(node.output(run.id), "");
    let nobody = || "no-such-account-here".to_owned();
    for (spec, what) in [
        (with("echo ran", |it| it.user = Some(nobody())), "user"),
        (with("echo ran", |it| it.group = Some(nobody())), "group"),
        (with("echo ran", |it| it.groups = Some(vec![nobody()])), "group"),
    ] {
        let run = node.run(spec).await;
        let expect = format!("there is no {what} \"no-such-account-here\" on this machine");
        assert_eq!(refused(&run), (expect, false));
        assert_eq!(node.output(run.id), "");
    }
}

#[tokio::test]
async fn another_user_needs_the_right_to_it_and_nothing_runs_without() {
    let node = Node::new().await;
    let run = node.run(with("id -u", |it| it.user = Some("nobody".to_owned()))).await;
    if rustix::process::geteuid().is_root() {
        let uid = std::process::Command::new("id").args(["-u", "nobody"]).output().unwrap().stdout;
        assert_eq!(node.output(run.id).as_bytes(), uid);
        return;
    }
    let (text, recoverable) = refused(&run);
    assert!(text.contains("cannot be") && text.contains("has not the right") && !recoverable, "{text}");
    assert_eq!(node.output(run.id), "");
}

#[tokio::test]
async fn its_own_user_by_name_needs_no_right() {
    let node = Node::new().await;
    let us = rustix::process::geteuid().as_raw().to_string();
    let run = node
        .run(with("id -u; id -g", |it| {
            it.user = Some(us.clone());
            it.group = Some(rustix::process::getegid().as_raw().to_string());
            let ours = rustix::process::getgroups().unwrap();
            it.groups = Some(ours.into_iter().map(|group| group.as_raw().to_string()).collect());
        }))
        .await;
    let gid = rustix::process::getegid().as_raw();
    assert_eq!(node.output(run.id), format!("{us}\n{gid}\n"));
}

#[tokio::test]
async fn another_user_has_its_own_groups_home_and_output_and_no_way_back() {
    if !is_root("another user has its own groups, home and output") {
        return;
    }
    let node = Node::new().await;
    let script = "id -u; id -g; grep Groups /proc/self/status; echo $HOME $USER $LOGNAME
        echo anew >/dev/stdout; grep -E '^(Uid|CapEff|CapAmb)' /proc/self/status; cat /etc/shadow 2>/dev/null; echo end";
    let run = node.run(with(script, |it| it.user = Some("nobody".to_owned()))).await;
    let output = node.output(run.id);
    let asked = "id -u nobody; id -g nobody; echo ~nobody";
    let about = std::process::Command::new("/bin/sh").args(["-c", asked]).output().unwrap().stdout;
    let about = String::from_utf8(about).unwrap();
    let [uid, gid, home] = about.lines().collect::<Vec<_>>()[..] else { panic!("{about}") };
    let expect = format!(
        "{uid}\n{gid}\nGroups:\t{gid} \n{home} nobody nobody\nanew\n\
        Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\nend\n"
    );
    assert_eq!(output, expect);
    // What the task says wins.
    let run = node
        .run(with("echo $HOME $USER; id -G", |it| {
            it.user = Some("nobody".to_owned());
            it.group = Some("1".to_owned());
            it.groups = Some(vec!["2".to_owned(), "3".to_owned()]);
            it.env.insert("HOME".to_owned(), "/mine".to_owned());
        }))
        .await;
    assert_eq!(node.output(run.id), "/mine nobody\n1 2 3\n");
}

#[tokio::test]
async fn another_users_work_is_ended_with_all_of_it() {
    if !is_root("another user's work is ended with all of it") {
        return;
    }
    let node = Node::new().await;
    let script = "trap '' TERM; sleep 1000 & echo $!; echo $$; echo ready; wait";
    let promise = node.begin(with(script, |it| it.user = Some("nobody".to_owned()))).await;
    node.wrote(promise.id(), "ready").await;
    promise.cancel().await.unwrap();
    crate::node::within(promise.wait()).await.unwrap();
    let output = node.output(promise.id());
    for pid in output.lines().take(2) {
        assert!(!crate::node::is_alive(pid), "{pid}");
    }
}
