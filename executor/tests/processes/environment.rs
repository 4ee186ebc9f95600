use super::Node;
use crate::node::shell;
use punctual_model::Work;
use serde_json::json;
use std::collections::BTreeMap;

fn variables(output: &str) -> BTreeMap<&str, &str> {
    output.lines().filter_map(|line| line.split_once('=')).collect()
}

#[tokio::test]
async fn a_child_gets_what_the_task_says_its_run_and_little_else() {
    let node = Node::new().await;
    // Cargo sets this for tests: it stands for any secret in the daemon's environment.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let mut spec = shell("exec env");
    let Work::Shell { context, .. } = &mut spec.work else { unreachable!() };
    context.env.insert("OWN".to_owned(), "it's = mine".to_owned());
    context.env.insert("LANG".to_owned(), "C.UTF-8".to_owned());
    context.env.insert("PUNCTUAL_RUN_ID".to_owned(), "forged".to_owned());
    let task = node.task(spec).await;
    let mut run = node.run_of(&task);
    run.params = json!({"batch-size": 5, "name": "a b", "deep": {"x": [1]}});
    let promise = node.go_with(&task, run).await;
    let run = crate::node::within(promise.wait()).await.unwrap();
    let output = node.output(run.id);
    let all = variables(&output);
    let expect = [
        ("OWN", "it's = mine"),
        ("LANG", "C.UTF-8"),
        ("PUNCTUAL_RUN_ID", &run.id.to_string()),
        ("PUNCTUAL_TASK", "script"),
        ("PUNCTUAL_TASK_ID", &task.id.to_string()),
        ("PUNCTUAL_ATTEMPT", "1"),
        ("PUNCTUAL_FENCE", "00000000000000000001.0000000001"),
        ("PUNCTUAL_SCHEDULED_FOR", "2026-01-01T00:00:00Z"),
        ("PUNCTUAL_TRIGGER", "manual"),
        ("PUNCTUAL_PARAM_BATCH_SIZE", "5"),
        ("PUNCTUAL_PARAM_NAME", "a b"),
        ("PUNCTUAL_PARAM_DEEP", r#"{"x":[1]}"#),
    ];
    for (name, value) in expect {
        assert_eq!(all.get(name), Some(&value), "{name}");
    }
    assert_eq!(serde_json::from_str::<serde_json::Value>(all["PUNCTUAL_PARAMS"]).unwrap(), run.params);
    let allowed = ["PATH", "HOME", "TZ", "USER", "PWD", "OLDPWD", "SHLVL", "_", "OWN", "LANG", "TRACEPARENT"];
    for name in all.keys() {
        assert!(name.starts_with("PUNCTUAL_") || allowed.contains(name), "{name} should not be there");
    }
}

#[tokio::test]
async fn working_directory_and_input_are_the_tasks() {
    let node = Node::new().await;
    let mut spec = shell("pwd; cat; cat");
    let Work::Shell { context, .. } = &mut spec.work else { unreachable!() };
    context.cwd = Some("/".to_owned());
    context.stdin = Some("first\nsecond\n".to_owned());
    let run = node.run(spec).await;
    assert_eq!(node.output(run.id), "/\nfirst\nsecond\n");
    // Without input there is nothing to read, and nobody to wait for.
    let mut spec = shell("cat; echo done");
    spec.name = "no-input".to_owned();
    let run = node.run(spec).await;
    assert_eq!(node.output(run.id), "done\n");
    // Input that is not read is no error.
    let mut spec = shell("exec 0<&-; echo ignored it");
    spec.name = "ignores".to_owned();
    let Work::Shell { context, .. } = &mut spec.work else { unreachable!() };
    context.stdin = Some("x".repeat(40_000));
    let run = node.run(spec).await;
    assert!(run.outcome.unwrap().is_success());
}

#[tokio::test]
async fn a_child_leads_a_group_of_its_own_and_inherits_no_open_files() {
    let node = Node::new().await;
    let _open = std::fs::File::open("/proc/self/status").unwrap();
    // The listing is another process, so that its own open directory is not in it.
    let run = node.shell(r#"echo "$$ $(cut -d' ' -f5 /proc/$$/stat)"; ls /proc/$$/fd"#).await;
    let output = node.output(run.id);
    let (first, files) = output.split_once('\n').unwrap();
    let (pid, group) = first.split_once(' ').unwrap();
    assert_eq!(pid, group);
    let mut files: Vec<&str> = files.lines().collect();
    // What the test's own parent left open without close-on-exec is not ours to close.
    files.retain(|file| !inherited(file));
    assert_eq!(files, ["0", "1", "2"]);
}

/// Whether this process itself was started with that file open, and would hand it on.
fn inherited(number: &str) -> bool {
    let Ok(number) = number.parse::<u32>() else { return false };
    let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")) else { return false };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim).unwrap_or("0");
    // O_CLOEXEC, in octal as it stands there.
    number > 2 && u32::from_str_radix(flags, 8).is_ok_and(|flags| flags & 0o2_000_000 == 0)
}
