//! What a job finds around it: its own variables and none of the daemon's, no input, a group of its own.

use crate::place::Place;

#[test]
fn a_job_sees_nothing_of_the_daemons_environment_but_what_is_meant_for_it() {
    let mut place = Place::new();
    place.write(
        "tasks.toml",
        r#"
[[task]]
name = "look"
every = "1s"
overlap = "skip"
env = { MINE = "of the task", PUNCTUAL_ATTEMPT = "forged" }
shell = '''
. "$HOME/tell"
env >"$HOME/env.$PUNCTUAL_RUN_ID"
cat >"$HOME/stdin.$PUNCTUAL_RUN_ID"
cut -d' ' -f4-6 "/proc/$$/stat" | sed "s/^/$$ /" >"$HOME/stat.$PUNCTUAL_RUN_ID"
tell looked
'''

[[task]]
name = "open"
every = "1s"
argv = ["ls", "-l", "/proc/self/fd"]
"#,
    );
    // Started by somebody who holds a lock on descriptor 9, as wrapper scripts do.
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "exec 9>\"$HOME/wrapper.lock\"; exec \"$0\" serve --data \"$HOME/data\" --tasks \"$HOME/tasks.toml\""])
        .arg(env!("CARGO_BIN_EXE_punctual"))
        .env("HOME", place.path("").components().as_path());
    command.env("CANARY_TOKEN", "canary-4711").env("AWS_SECRET_ACCESS_KEY", "canary-4711");
    // Whoever starts the daemon may have something to say on its input; that is not for jobs either.
    let (input, mut ours) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut ours, b"canary-4711\n").unwrap();
    let mut daemon = crate::daemon::Daemon::start(command.stdin(input));
    let looked = place.witness.next("looked", "look");
    while !daemon.err.until("attempt ended").contains("\"open\"") {}
    daemon.stop();

    let read = |what: &str| std::fs::read_to_string(place.path(&format!("{what}.{}", looked.run))).unwrap();
    let environment = read("env");
    assert!(!environment.contains("canary-4711"), "{environment}");
    let mut names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    // What a shell sets by itself is none of ours.
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    let allowed = ["HOME", "LANG", "MINE", "PATH", "TRACEPARENT", "TZ", "USER"];
    for name in names {
        assert!(allowed.contains(&name) || name.starts_with("PUNCTUAL_"), "{name} in {environment}");
    }
    for line in [
        "MINE=of the task",
        "PUNCTUAL_TASK=look",
        "PUNCTUAL_ATTEMPT=1",
        "PUNCTUAL_TRIGGER=schedule",
        "PUNCTUAL_TASK_TYPE=system",
        "PUNCTUAL_TASK_REVISION=1",
        &format!("PUNCTUAL_RUN_ID={}", looked.run),
        &format!("PUNCTUAL_SCHEDULED_FOR={}", looked.scheduled_for),
    ] {
        assert!(environment.lines().any(|found| found == line), "{line} is not in {environment}");
    }
    let trace = environment.lines().find_map(|line| line.strip_prefix("TRACEPARENT=00-")).expect("a trace");
    assert_eq!(trace.get(16..32), Some(looked.run.as_str()), "{trace}");
    assert_eq!(read("stdin"), "");
    let stat = read("stat");
    let [pid, _parent, group, _session] = stat.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{stat}")
    };
    assert_eq!((pid, pid), (group, looked.pid.to_string().as_str()));
    // Nothing of the daemon's open files, nor of those that it was given: input, output, errors, and the listing.
    let run = &place.runs_of("open")[0];
    let shown = place.run(run["id"].as_str().unwrap());
    let open = shown["output"].as_str().unwrap();
    assert_eq!(open.lines().filter(|line| line.contains("->")).count(), 4, "{open}");
    assert!(open.contains("0 -> /dev/null") && !open.contains("wrapper.lock"), "{open}");
}

#[test]
fn a_job_gets_its_arguments_as_they_are_written_and_its_input() {
    let mut place = Place::new();
    let script = "printf '%s|' \"$@\" >\"$HOME/args\"; cat >>\"$HOME/args\"; . \"$HOME/tell\"; tell got";
    let task = format!(
        "[[task]]\nname = \"args\"\nevery = \"1s\"\noverlap = \"skip\"\nstdin = \"in\\nput\"\n\
         argv = [\"/bin/sh\", \"-c\", '''{script}''', \"sh\", \"$(id)\", \"a b\", \"; rm -rf /\", \"*\", \"-n\", \"\", \"é\\n\"]\n"
    );
    let daemon = place.serve(&task);
    place.witness.next("got", "args");
    daemon.stop();
    let got = std::fs::read_to_string(place.path("args")).unwrap();
    assert_eq!(got, "$(id)|a b|; rm -rf /|*|-n||é\n|in\nput");
}

#[test]
fn a_program_that_cannot_be_started_says_why() {
    let place = Place::new();
    place.write("plain", "no program");
    let plain = place.path("plain").display().to_string();
    let task = |name: &str, more: &str| {
        format!("[[task]]\nname = \"{name}\"\nevery = \"1s\"\noverlap = \"skip\"\n{more}\n")
    };
    let tasks = task("missing", "argv = [\"no-such-program\"]")
        + &task("plain", &format!("argv = [\"{plain}\"]"))
        + &task("nowhere", "argv = [\"true\"]\ncwd = \"/no/such/directory\"");
    let mut daemon = place.serve(&tasks);
    for task in ["missing", "plain", "nowhere"] {
        loop {
            let line = daemon.err.until("attempt ended");
            if line.contains(&format!("\"task.name\":\"{task}\"")) {
                break;
            }
            if daemon
                .err
                .seen
                .iter()
                .any(|line| line.contains("attempt ended") && line.contains(&format!("\"{task}\"")))
            {
                break;
            }
        }
    }
    daemon.stop();
    for (task, part) in
        [("missing", "no-such-program"), ("plain", "ermission denied"), ("nowhere", "/no/such/directory")]
    {
        let run = &place.runs_of(task)[0];
        assert_eq!(run["state"], "failed", "{run}");
        assert!(run["why"].as_str().unwrap().contains(part), "{run}");
        assert_eq!(run["outcome"]["error"]["kind"], "start", "{run}");
    }
}
