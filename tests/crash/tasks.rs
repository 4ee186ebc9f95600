//! Twenty tasks with all that policies know, as the daemon reads them and as the checker has to know them.

use crate::checker::rule::{Dues, Rule};
use std::fmt::Write;
use std::path::Path;

/// One task: its TOML but for the work, how long it works, its exit codes, and its rule.
struct Task {
    toml: &'static str,
    work: Work,
    milliseconds: u64,
    codes: &'static str,
    rule: Rule,
}

#[derive(PartialEq, Eq)]
enum Work {
    Argv,
    Shell,
    /// Takes 300 ms to obey SIGTERM, so that kills find it being stopped.
    Lingering,
}

fn rule(task: &str, dues: Dues) -> Rule {
    Rule {
        task: task.to_owned(),
        dues,
        at_once: None,
        shared: None,
        restarts: 0,
        repeats_lost: false,
        times_out: false,
        displaced: false,
        caught_up: None,
    }
}

fn task(name: &str, toml: &'static str, milliseconds: u64, codes: &'static str) -> Task {
    let rule = rule(name, Dues::Every(1));
    Task { toml, work: Work::Argv, milliseconds, codes, rule }
}

impl Task {
    fn rule(mut self, change: impl FnOnce(&mut Rule)) -> Self {
        change(&mut self.rule);
        self
    }

    fn work(mut self, work: Work) -> Self {
        self.work = work;
        self
    }
}

const SECONDLY: &str = "every = \"1s\"\n";

fn all() -> Vec<Task> {
    let one = |rule: &mut Rule| rule.at_once = Some(1);
    vec![
        task("tick", SECONDLY, 5, "0"),
        task("shell", SECONDLY, 5, "0").work(Work::Shell),
        task("skip", "every = \"1s\"\noverlap = \"skip\"\n", 150, "0").rule(one),
        task("slow-skip", "every = \"1s\"\noverlap = \"skip\"\n", 3000, "0").rule(one),
        task("queue-one", "every = \"1s\"\noverlap = \"queue_one\"\n", 1400, "0").rule(one),
        task("queue-all", "every = \"1s\"\noverlap = { queue_all = { max = 2 } }\n", 1200, "0").rule(one),
        task("replace", "every = \"1s\"\noverlap = \"replace\"\n", 1500, "0").rule(|rule| {
            (rule.at_once, rule.displaced) = (Some(1), true);
        }),
        task("limit", "every = \"1s\"\nconcurrency = 2\n", 1100, "0").rule(|rule| rule.at_once = Some(2)),
        task("keyed-a", "every = \"1s\"\nconcurrency = { limit = 1, key = \"both\" }\n", 100, "0")
            .rule(|rule| rule.shared = Some(("both".to_owned(), 1))),
        task("keyed-b", "every = \"1s\"\nconcurrency = { limit = 1, key = \"both\" }\n", 100, "0")
            .rule(|rule| rule.shared = Some(("both".to_owned(), 1))),
        task("failing", SECONDLY, 20, "7"),
        task("flaky", "every = \"1s\"\nrestart = { attempts = 2, delay = \"200ms\" }\n", 30, "1,1,0")
            .rule(|rule| rule.restarts = 2),
        task("exhausted", "every = \"1s\"\noverlap = \"skip\"\nrestart = { attempts = 1, delay = \"1s\" }\n", 30, "1")
            .rule(|rule| (rule.restarts, rule.at_once) = (1, Some(1))),
        task("idempotent", "every = \"1s\"\nidempotent = true\n", 30, "0").rule(|rule| rule.repeats_lost = true),
        task("slow-idempotent", "every = \"1s\"\noverlap = \"skip\"\nidempotent = true\n", 2000, "0")
            .rule(|rule| (rule.repeats_lost, rule.at_once) = (true, Some(1))),
        task("on-lost", "every = \"1s\"\noverlap = \"skip\"\nrestart = { on_lost = \"restart\" }\n", 900, "0")
            .rule(|rule| (rule.repeats_lost, rule.at_once) = (true, Some(1))),
        task("timeout", "every = \"1s\"\noverlap = \"skip\"\ntimeout = \"250ms\"\n", 2000, "0")
            .rule(|rule| (rule.times_out, rule.at_once) = (true, Some(1))),
        task("lingering", "every = \"1s\"\noverlap = \"skip\"\ntimeout = \"100ms\"\n", 2000, "0")
            .rule(|rule| (rule.times_out, rule.at_once) = (true, Some(1)))
            .work(Work::Lingering),
        task(
            "timeout-again",
            "every = \"1s\"\noverlap = \"skip\"\ntimeout = \"200ms\"\nrestart = { attempts = 1, delay = \"100ms\" }\n",
            2000,
            "0",
        )
        .rule(|rule| (rule.times_out, rule.restarts, rule.at_once) = (true, 1, Some(1))),
        task("cron", "cron = \"*/3 * * * * *\"\ncatch_up = { policy = \"all\", limit = 5 }\n", 50, "0").rule(|rule| {
            rule.dues = Dues::Seconds((0..60).step_by(3).collect());
        }),
    ]
}

/// Tasks that are late at once, so that a pause of the daemon makes them miss their dues.
fn impatient() -> Vec<Task> {
    let caught_up = |most| move |rule: &mut Rule| rule.caught_up = Some(most);
    vec![
        task("misses-all", "every = \"1s\"\ngrace = \"1s\"\ncatch_up = \"skip\"\n", 5, "0")
            .rule(caught_up(0)),
        // Any five seconds have two of its dues, of which the later one is not missed.
        task("misses-most", "every = \"2s\"\ngrace = \"1s\"\ncatch_up = \"latest\"\n", 5, "0")
            .rule(|rule| (rule.dues, rule.caught_up) = (Dues::Every(2), Some(1))),
        task(
            "misses-some",
            "every = \"1s\"\ngrace = \"1s\"\ncatch_up = { policy = \"all\", limit = 3 }\n",
            5,
            "0",
        )
        .rule(caught_up(3)),
    ]
}

/// Tasks that run only when somebody asks.
fn manual() -> Vec<Task> {
    let never = |rule: &mut Rule| rule.dues = Dues::Never;
    vec![task("asked", "", 10, "0").rule(never), task("asked-slow", "", 700, "0").rule(never)]
}

/// The name of the task that is there only if wanted, and deleted again.
pub(crate) const DOOMED: &str = "doomed";

/// Tasks whose processes outlive a daemon, by how long and with which end: two that end while none is there.
fn outliving() -> Vec<Task> {
    [("outlives-0", 600, "0"), ("outlives-1", 900, "3"), ("outlives-2", 6000, "0"), ("outlives-3", 7000, "5")]
        .map(|(name, milliseconds, codes)| {
            task(name, "", milliseconds, codes).rule(|rule| rule.dues = Dues::Never)
        })
        .into()
}

/// Which tasks a place has beside the twenty.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct More {
    /// Only those, and seats for all their runs at once.
    pub(crate) outliving: bool,
    pub(crate) impatient: bool,
    pub(crate) doomed: bool,
}

fn chosen(more: More) -> Vec<Task> {
    if more.outliving {
        return outliving();
    }
    let mut tasks = all();
    tasks.extend(manual());
    if more.impatient {
        tasks.extend(impatient());
    }
    if more.doomed {
        // None of them ends by itself before its task is deleted. The one of the next round is another task of that name:
        // it need not wait for the end of what the last one has left.
        let doomed = task(DOOMED, "concurrency = 1\n", 30_000, "0");
        tasks.push(doomed.rule(|rule| (rule.dues, rule.displaced) = (Dues::Never, true)));
    }
    tasks
}

/// What the checker has to know of them.
pub(crate) fn rules(more: More) -> Vec<Rule> {
    chosen(more).into_iter().map(|task| task.rule).collect()
}

/// The task file.
pub(crate) fn toml(witness: &Path, more: More, paused: bool, kept: u32) -> String {
    let exe = std::env::current_exe().expect("our own path").display().to_string();
    let witness = witness.display();
    let mut text = String::new();
    for Task { toml, work, milliseconds, codes, rule } in chosen(more) {
        let name = rule.task;
        let work = match work {
            Work::Argv => format!("argv = ['{exe}', 'job', '{witness}', '{milliseconds}', '{codes}']"),
            Work::Shell => format!("shell = 'exec \"{exe}\" job \"{witness}\" {milliseconds} {codes}'"),
            Work::Lingering => format!(
                "shell = 'trap \"sleep 0.3; exit 9\" TERM; \"{exe}\" job \"{witness}\" {milliseconds} {codes} & wait'"
            ),
        };
        let _ = writeln!(
            text,
            "[[task]]\nname = \"{name}\"\npaused = {paused}\nretention = {{ runs = {kept}, age = \"30d\" }}\n{toml}{work}\n"
        );
    }
    text
}
