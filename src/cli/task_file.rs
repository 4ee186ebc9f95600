//! Tasks as TOML: a list of `[[task]]` tables with short forms for what people write most.
//!
//! ```toml
//! [[task]]
//! name = "backup"
//! cron = "30 2 * * *"
//! timezone = "Europe/Berlin"
//! shell = "restic backup /home"
//! ```

use jiff::{SignedDuration, Timestamp};
use punctual::model::hook::{Artifact, Call, Hooks, HttpCall};
use punctual::model::process::{Resources, Rlimit, WorkDir};
use punctual::model::restart::RestartPolicy;
use punctual::model::schedule::{CatchUp, CatchUpPolicy, Cron, Every, Schedule};
use punctual::model::task::{Concurrency, Kill, Output, Retention, TaskStatus};
use punctual::model::work::ProcessContext;
use punctual::model::{Overlap, Parameters, TaskSpec, Work, duration, form};
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest task file: a thousand tasks fit many times; more is a mistake or an attack.
const MAX_FILE: u64 = 16 << 20;

/// The tasks of one file.
#[derive(Debug)]
pub(crate) struct TaskFile {
    pub(crate) path: PathBuf,
    pub(crate) tasks: Vec<TaskSpec>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    task: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    paused: bool,

    cron: Option<OneOrMany<Cron>>,
    every: Option<OneOrMany<Every>>,
    at: Option<OneOrMany<Instant>>,
    timezone: Option<String>,
    #[serde(default, with = "duration::signed")]
    offset: SignedDuration,
    #[serde(default, with = "duration::text")]
    jitter: Duration,
    #[serde(default, with = "duration::text")]
    splay: Duration,
    #[serde(default, with = "duration::optional")]
    grace: Option<Duration>,
    catch_up: Option<CatchUpEntry>,
    #[serde(default)]
    overlap: Overlap,

    #[serde(default)]
    parameters: Parameters,
    concurrency: Option<ConcurrencyEntry>,
    #[serde(default, deserialize_with = "form::priority")]
    priority: i8,
    #[serde(default, deserialize_with = "RestartPolicy::named_or_table")]
    restart: RestartPolicy,
    #[serde(default)]
    idempotent: bool,
    #[serde(default, with = "duration::optional")]
    timeout: Option<Duration>,
    #[serde(default)]
    kill: Kill,
    #[serde(default)]
    retention: Retention,
    max_output: Option<u64>,
    #[serde(default)]
    output: Output,
    #[serde(default)]
    hooks: Hooks,
    #[serde(default)]
    artifacts: Vec<Artifact>,
    #[serde(default, with = "duration::text")]
    shutdown_delay: Duration,
    on_failure: Option<Call>,
    on_recovered: Option<Call>,
    pause_after_failures: Option<u32>,
    #[serde(default, with = "duration::optional")]
    stats_every: Option<Duration>,

    shell: Option<String>,
    interpreter: Option<Vec<String>>,
    argv: Option<Vec<String>>,
    #[serde(default, deserialize_with = "http_call")]
    http: Option<HttpCall>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    inherit_env: Vec<String>,
    cwd: Option<String>,
    work_dir: Option<WorkDir>,
    stdin: Option<String>,
    payload_file: Option<String>,
    user: Option<String>,
    group: Option<String>,
    groups: Option<Vec<String>>,
    #[serde(default)]
    no_new_privs: bool,
    umask: Option<String>,
    nice: Option<i8>,
    #[serde(default)]
    rlimits: BTreeMap<String, Rlimit>,
    #[serde(default)]
    resources: Resources,
    shim: Option<bool>,
}

/// `http = "https://…"` or a table.
fn http_call<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HttpCall>, D::Error> {
    let expecting = "a URL, or a table with url, method, headers, body, expect, timeout and max_response";
    form::text_or_table(deserializer, expecting, |url| Ok(HttpCall::get(url))).map(Some)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(item) => vec![item],
            Self::Many(items) => items,
        }
    }
}

/// `catch_up = "all"` or a table with the policy and its bounds.
#[derive(Deserialize)]
#[serde(untagged)]
enum CatchUpEntry {
    Policy(CatchUpPolicy),
    Full(CatchUp),
}

/// `concurrency = 3` or `concurrency = { limit = 3, key = "database" }`.
#[derive(Deserialize)]
#[serde(untagged)]
enum ConcurrencyEntry {
    Limit(u32),
    Full(Concurrency),
}

/// An instant as a TOML date-time or as text.
struct Instant(Timestamp);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Toml(toml::value::Datetime),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::Toml(datetime) => datetime.to_string(),
        };
        text.parse().map(Self).map_err(|error| {
            de::Error::custom(format!("{error}; expected an instant such as 2027-03-28T01:30:00Z"))
        })
    }
}

impl Entry {
    fn work(&mut self) -> Result<Work, String> {
        let context = ProcessContext {
            env: mem::take(&mut self.env),
            inherit_env: mem::take(&mut self.inherit_env),
            cwd: self.cwd.take(),
            work_dir: self.work_dir,
            stdin: self.stdin.take(),
            payload_file: self.payload_file.take(),
            user: self.user.take(),
            group: self.group.take(),
            groups: self.groups.take(),
            no_new_privs: self.no_new_privs,
            umask: self.umask.take(),
            nice: self.nice,
            rlimits: mem::take(&mut self.rlimits),
            resources: self.resources,
            shim: self.shim.unwrap_or(true),
        };
        let interpreter = self.interpreter.take();
        if interpreter.is_some() && self.shell.is_none() {
            return Err("has an `interpreter`, which goes with `shell` only".into());
        }
        match (self.shell.take(), self.argv.take(), self.http.take()) {
            (Some(script), None, None) => Ok(Work::Shell { script, interpreter, context }),
            (None, Some(argv), None) => Ok(Work::Process { argv, context }),
            (None, None, Some(_)) if context != ProcessContext::default() => {
                Err("has settings of a process, such as `env` or `user`, and an `http` request is none"
                    .into())
            }
            (None, None, Some(call)) => Ok(Work::Http(call)),
            (None, None, None) => {
                Err("has nothing to do; give it `shell = \"…\"`, `argv = [\"program\", \"argument\"]` or \
                 `http = \"https://…\"`"
                    .into())
            }
            (shell, argv, http) => {
                let given = [("shell", shell.is_some()), ("argv", argv.is_some()), ("http", http.is_some())];
                let given: Vec<_> =
                    given.iter().filter(|(_, is)| *is).map(|(name, _)| format!("`{name}`")).collect();
                Err(format!("has both {}; it can do only one thing", given.join(" and ")))
            }
        }
    }

    fn into_spec(mut self) -> Result<TaskSpec, String> {
        let work = self.work()?;
        let mut spec = TaskSpec::new(self.name, work);
        spec.description = self.description;
        spec.labels = self.labels;
        if self.paused {
            spec.status = TaskStatus::Paused;
        }
        let cron = self.cron.map(OneOrMany::into_vec).unwrap_or_default();
        let every = self.every.map(OneOrMany::into_vec).unwrap_or_default();
        let at = self.at.map(OneOrMany::into_vec).unwrap_or_default();
        spec.schedules.extend(cron.into_iter().map(Schedule::Cron));
        spec.schedules.extend(every.into_iter().map(Schedule::Every));
        spec.schedules.extend(at.into_iter().map(|Instant(at)| Schedule::At(at)));
        spec.timezone = self.timezone;
        spec.offset = self.offset;
        spec.jitter = self.jitter;
        spec.splay = self.splay;
        spec.grace = self.grace.unwrap_or(spec.grace);
        spec.catch_up = match self.catch_up {
            None => spec.catch_up,
            Some(CatchUpEntry::Policy(policy)) => policy.into(),
            Some(CatchUpEntry::Full(catch_up)) => catch_up,
        };
        spec.overlap = self.overlap;
        spec.parameters = self.parameters;
        spec.concurrency = self.concurrency.map(|entry| match entry {
            ConcurrencyEntry::Limit(limit) => Concurrency { limit, key: None },
            ConcurrencyEntry::Full(concurrency) => concurrency,
        });
        spec.priority = self.priority;
        spec.restart = self.restart;
        spec.idempotent = self.idempotent;
        spec.timeout = self.timeout;
        spec.kill = self.kill;
        spec.retention = self.retention;
        spec.max_output = self.max_output.unwrap_or(spec.max_output);
        spec.output = self.output;
        spec.hooks = self.hooks;
        spec.artifacts = self.artifacts;
        spec.shutdown_delay = self.shutdown_delay;
        spec.on_failure = self.on_failure;
        spec.on_recovered = self.on_recovered;
        spec.pause_after_failures = self.pause_after_failures;
        spec.stats_every = self.stats_every;
        Ok(spec)
    }
}

/// Reads the tasks of a text.
///
/// # Errors
/// The place in the text and what was expected there.
pub(crate) fn parse(text: &str) -> Result<Vec<TaskSpec>, String> {
    let deserializer = toml::Deserializer::parse(text).map_err(|error| error.to_string())?;
    let mut unknown = Vec::new();
    let file: File = serde_ignored::deserialize(deserializer, |path| unknown.push(path.to_string()))
        .map_err(|error| error.to_string())?;
    if !unknown.is_empty() {
        return Err(format!("unknown key {}; is it misspelled?", unknown.join(", ")));
    }
    let mut tasks = Vec::with_capacity(file.task.len());
    for entry in file.task {
        let name = entry.name.clone();
        let spec = entry.into_spec().map_err(|why| format!("task {name:?} {why}"))?;
        tasks.push(spec);
    }
    let mut names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two tasks are named {:?}", twice[0]));
    }
    Ok(tasks)
}

/// Reads one file.
///
/// # Errors
/// Names the file, the place and what was expected.
pub(crate) fn read(path: &Path) -> Result<TaskFile, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(|error| told(&error))?.len();
    if size > MAX_FILE {
        return Err(told(&format_args!("{size} bytes; a task file has at most {MAX_FILE}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    let tasks = parse(&text).map_err(|error| told(&error))?;
    Ok(TaskFile { path: path.to_owned(), tasks })
}

/// Reads a file, or all `.toml` files of a directory in the order of their names.
///
/// # Errors
/// As [`read`], for the first file that is wrong; or if two files name the same task.
pub(crate) fn read_all(path: &Path) -> Result<Vec<TaskFile>, String> {
    if !path.is_dir() {
        return Ok(vec![read(path)?]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", path.display()))?;
        let file = entry.path();
        // Hidden ones are what editors leave beside a file that is being written.
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|extension| extension == "toml") {
            paths.push(file);
        }
    }
    paths.sort();
    let files: Vec<TaskFile> = paths.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let mut known: BTreeMap<&str, &Path> = BTreeMap::new();
    for (file, task) in files.iter().flat_map(|file| file.tasks.iter().map(move |task| (file, task))) {
        if let Some(other) = known.insert(&task.name, &file.path) {
            let (name, path) = (&task.name, file.path.display());
            return Err(format!("{path}: task {name:?} is in {} too", other.display()));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms_become_the_same_definition() {
        let tasks = parse(
            r#"
            [[task]]
            name = "short"
            cron = "30 2 * * *"
            catch_up = "all"
            concurrency = 3
            shell = "echo hi"

            [[task]]
            name = "long"
            cron = [{ expr = "30 2 * * *" }]
            every = [{ interval = "1h", anchor = "2026-01-01T00:00:00Z" }, "5m"]
            at = 2027-03-28T01:30:00Z
            catch_up = { policy = "all", limit = 5 }
            concurrency = { limit = 3, key = "db" }
            overlap = { queue_all = { max = 4 } }
            restart = { attempts = 2, delay = "1s" }
            argv = ["true"]
            env = { A = "b" }
            "#,
        )
        .unwrap();
        assert_eq!(tasks[0].schedules, [Schedule::Cron(Cron::new("30 2 * * *"))]);
        assert_eq!(tasks[0].catch_up.policy, CatchUpPolicy::All);
        assert_eq!(tasks[0].concurrency, Some(Concurrency { limit: 3, key: None }));
        assert_eq!(tasks[1].schedules.len(), 4);
        assert_eq!(tasks[1].catch_up.limit, 5);
        assert_eq!(tasks[1].catch_up.rate, CatchUp::RATE);
        assert_eq!(tasks[1].overlap, Overlap::QueueAll { max: 4 });
        assert_eq!(tasks[1].restart.attempts, 2);
    }

    #[test]
    fn a_task_may_say_all_that_its_surroundings_are() {
        let tasks = parse(
            r#"
            [[task]]
            name = "all"
            argv = ["work"]
            user = "nobody"
            groups = ["adm", "4"]
            umask = "027"
            nice = 10
            rlimits = { nofile = 1024, core = { soft = 0, hard = "unlimited" } }
            resources = { memory = 1073741824, cpu = 0.5, pids = 100 }
            inherit_env = ["LANG"]
            work_dir = { keep = "on_failure" }
            payload_file = "in/params.json"
            restart = "service"
            output = { rotate_at = 1048576, files = 3, age = "7d", runs = 10 }
            artifacts = [{ source = "https://example.org/a", dest = "a", mode = "755" }]
            shutdown_delay = "2s"
            on_failure = { command = ["notify"] }
            on_recovered = { http = { url = "https://example.org/ok", method = "POST", body = { ok = true } } }
            pause_after_failures = 3
            stats_every = "10s"
            parameters = { payload = "required", optional = ["b"] }

            [[task.hooks.prestart]]
            name = "warm"
            run = { command = ["warm"] }
            on_error = "ignore"

            [[task]]
            name = "short"
            http = "https://example.org/"

            [[task]]
            name = "long"
            http = { url = "https://example.org/", expect = [200, "300-399"], timeout = "5s" }
            "#,
        )
        .unwrap();
        let context = tasks[0].work.context().unwrap();
        assert_eq!(context.rlimits["core"], Rlimit { soft: 0, hard: Rlimit::UNLIMITED });
        assert_eq!(f64::from(context.resources.cpu.unwrap()), 0.5);
        assert_eq!(context.groups.as_ref().unwrap().len(), 2);
        assert!(context.shim);
        assert_eq!(tasks[0].restart, RestartPolicy::service());
        assert_eq!(tasks[0].hooks.prestart[0].name, "warm");
        assert_eq!(tasks[0].parameters.to_string(), "b, at least one");
        assert_eq!(tasks[0].output.age, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(tasks[1].work, Work::http("https://example.org/"));
        let Work::Http(call) = &tasks[2].work else { panic!("{:?}", tasks[2].work) };
        assert!(call.expects(302) && !call.expects(404));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, part) in [
            ("[[task]]\nname = \"a\"\nshell = \"x\"\npriority = 128", "expected -128 to 127, not 128"),
            (
                "[[task]]\nname = \"a\"\nshell = \"x\"\nparameters = { require = [] }",
                "task.0.parameters.require",
            ),
            (
                "[[task]]\nname = \"a\"\nshell = \"x\"\nparameters.payload = \"must\"",
                "`optional`, `required`",
            ),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\nevry = \"5m\"", "task.0.evry"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\nrestart = { atempts = 1 }", "task.0.restart.atempts"),
            ("[[task]]\nname = \"a\"", "nothing to do"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\nargv = [\"y\"]", "both"),
            ("[[task]]\nname = \"a\"\nhttp = \"http://x/\"\nargv = [\"y\"]", "both `argv` and `http`"),
            ("[[task]]\nname = \"a\"\nhttp = \"http://x/\"\nuser = \"y\"", "settings of a process"),
            ("[[task]]\nname = \"a\"\nargv = [\"x\"]\ninterpreter = [\"y\"]", "`shell` only"),
            ("[[task]]\nname = \"a\"\nhttp = { uri = \"x\" }", "url"),
            ("[[task]]\nname = \"a\"\nhttp = { url = \"x\", verb = 1 }", "task.0.http.verb"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\nrestart = \"often\"", "none, batch, service"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\nhooks.stop = [{ nam = 1 }]", "hooks"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\n[[task]]\nname = \"a\"\nshell = \"x\"", "two tasks"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\ntimeout = \"1y\"", "line 4"),
            ("[[task]\n", "line 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{part:?} not in: {error}");
        }
    }
}
