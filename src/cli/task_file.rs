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
use punctual::model::restart::RestartPolicy;
use punctual::model::schedule::{CatchUp, CatchUpPolicy, Cron, Every, Schedule};
use punctual::model::task::{Concurrency, Kill, Retention, TaskStatus};
use punctual::model::work::ProcessContext;
use punctual::model::{Overlap, TaskSpec, Work, duration};
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;
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

    concurrency: Option<ConcurrencyEntry>,
    #[serde(default)]
    priority: i8,
    #[serde(default)]
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

    shell: Option<String>,
    interpreter: Option<Vec<String>>,
    argv: Option<Vec<String>>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    stdin: Option<String>,
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
    fn into_spec(self) -> Result<TaskSpec, String> {
        let context = ProcessContext { env: self.env, cwd: self.cwd, stdin: self.stdin };
        let work = match (self.shell, self.argv, self.interpreter) {
            (Some(script), None, interpreter) => Work::Shell { script, interpreter, context },
            (None, Some(argv), None) => Work::Process { argv, context },
            (None, Some(_), Some(_)) => return Err("`interpreter` goes with `shell`, not with `argv`".into()),
            (Some(_), Some(_), _) => {
                return Err("has both `shell` and `argv`; it can do only one thing".into());
            }
            (None, None, _) => {
                return Err(
                    "has nothing to do; give it `shell = \"…\"` or `argv = [\"program\", \"argument\"]`"
                        .into(),
                );
            }
        };
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
    fn mistakes_are_named_with_their_place() {
        for (text, part) in [
            ("[[task]]\nname = \"a\"\nshell = \"x\"\nevry = \"5m\"", "task.0.evry"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\nrestart = { atempts = 1 }", "task.0.restart.atempts"),
            ("[[task]]\nname = \"a\"", "nothing to do"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\nargv = [\"y\"]", "both"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\n[[task]]\nname = \"a\"\nshell = \"x\"", "two tasks"),
            ("[[task]]\nname = \"a\"\nshell = \"x\"\ntimeout = \"1y\"", "line 4"),
            ("[[task]\n", "line 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{part:?} not in: {error}");
        }
    }
}
