//! What a definition must be to be accepted: everything that can be judged without a clock and without
//! parsing a schedule (the scheduler judges those).
//!
//! All problems are collected, so that a person mends a file once. Each names the field by its path, what
//! was expected there, and where there is one a hint. Stored definitions are never judged again.

mod around;
mod parameters;
mod surroundings;

use crate::duration;
use crate::error::{Error, ErrorCode};
use crate::id::TaskId;
use crate::number::Decimal;
use crate::overlap::Overlap;
use crate::restart::{Backoff, RestartMode, RestartPolicy};
use crate::run::Run;
use crate::schedule::{CatchUp, MAX_SCHEDULES, MAX_SPAN, MIN_EVERY, Schedule};
use crate::task::{Concurrency, Kill, Metadata, Retention, TaskSpec};
use crate::work::Work;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

pub use around::{MAX_FAILURES, MAX_SHUTDOWN_DELAY, MIN_STATS};
pub use parameters::run_parameters;

/// Most dues that one catch-up may turn into runs: they are born in one commit.
pub const MAX_CATCH_UP: u32 = 10_000;
/// Most runs of a task that may wait under `queue_all`: more is a backlog nobody will look at.
pub const MAX_WAITING: u32 = 1_000_000;
/// Most finished runs kept of a task.
pub const MAX_RETAINED: u32 = 1_000_000;
/// Largest metadata in bytes of JSON: what [`TaskSpec::MAX_SIZE`] leaves of a record of 64 KiB, with room for
/// the task's own fields.
pub const MAX_METADATA: usize = 12 << 10;
/// Longest name of a handler.
pub const MAX_HANDLER: usize = 128;

/// Signals that can ask work to end, those that the process driver knows. Those that only freeze it or tell of a
/// child are left out: after them the grace would pass in vain.
pub const KILL_SIGNALS: [&str; 11] =
    ["TERM", "INT", "KILL", "HUP", "QUIT", "USR1", "USR2", "ABRT", "ALRM", "PIPE", "WINCH"];

/// One thing that is wrong with what a user gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a path: `work.argv`, `schedules[2].every`.
    pub field: String,
    /// What was expected there.
    pub expected: String,
    /// What to write instead, or what was found.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.field, self.expected)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

/// All that is wrong with one definition, in the order of its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn add(&mut self, field: impl Into<String>, expected: impl Into<String>, hint: Option<String>) {
        self.0.push(Problem { field: field.into(), expected: expected.into(), hint });
    }

    /// Adds one unless the condition holds.
    fn require(&mut self, holds: bool, field: &str, expected: impl Into<String>, hint: Option<&str>) {
        if !holds {
            self.add(field, expected, hint.map(str::to_owned));
        }
    }

    /// The problems.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    /// Nothing if nothing is wrong.
    ///
    /// # Errors
    /// One error of code `invalid` that joins all problems behind the words `what`.
    pub fn check(&self, what: &str) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Invalid, format!("invalid {what}: {self}")))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "; " })?;
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// Judges a definition.
#[must_use]
pub fn task(spec: &TaskSpec) -> Problems {
    let mut found = Problems::default();
    name(&spec.name, &mut found);
    let description = spec.description.len() <= TaskSpec::MAX_DESCRIPTION && !spec.description.contains('\0');
    let expected = format!("at most {} bytes without NUL", TaskSpec::MAX_DESCRIPTION);
    found.require(description, "description", expected, None);
    labels(spec, &mut found);
    schedules(&spec.schedules, &mut found);
    spans(spec, &mut found);
    catch_up(&spec.catch_up, &mut found);
    if let Overlap::QueueAll { max } = spec.overlap {
        let expected = format!("1 to {MAX_WAITING} waiting runs");
        found.require(
            (1..=MAX_WAITING).contains(&max),
            "overlap.queue_all.max",
            expected,
            Some("to queue none, use skip"),
        );
    }
    parameters::declared(spec, &mut found);
    if let Some(concurrency) = &spec.concurrency {
        limit(concurrency, &mut found);
    }
    restart(&spec.restart, &mut found);
    kill(&spec.kill, &mut found);
    retention(&spec.retention, &mut found);
    around::around(spec, &mut found);
    work(&spec.work, &mut found);
    size(spec, &mut found);
    found
}

/// Judges the metadata of a task.
#[must_use]
pub fn metadata(metadata: &Metadata) -> Problems {
    let mut found = Problems::default();
    let size = json_size(metadata);
    found.require(
        size <= MAX_METADATA,
        "metadata",
        format!("at most {MAX_METADATA} bytes of JSON"),
        Some(&format!("it has {size}")),
    );
    found
}

/// Judges what a caller gives along with a run.
#[must_use]
pub fn run_request(params: &Value, idempotency_key: Option<&str>) -> Problems {
    let mut found = Problems::default();
    found.require(
        matches!(params, Value::Null | Value::Object(_)),
        "params",
        "an object",
        Some("its members are laid over the task's arguments"),
    );
    let size = if params.is_null() { 0 } else { json_size(params) };
    let expected = format!("at most {} bytes of JSON", Run::MAX_PARAMS);
    found.require(size <= Run::MAX_PARAMS, "params", expected, Some(&format!("they have {size}")));
    if let Some(key) = idempotency_key {
        let expected = format!("1 to {} bytes", Run::MAX_KEY);
        found.require((1..=Run::MAX_KEY).contains(&key.len()), "idempotency_key", expected, None);
    }
    found
}

/// Letters, digits, space, dot, underscore and minus, beginning and ending with a letter or digit: safe in a
/// shell, a URL, a file name and a table without quoting. A name that reads as an id would hide a task.
fn name(name: &str, found: &mut Problems) {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'.' | b'_' | b'-');
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let good = bytes.len() <= TaskSpec::MAX_NAME
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().copied().all(allowed);
    found.require(
        good,
        "name",
        format!(
            "1 to {} letters, digits, spaces, dots, underscores or minus signs, a letter or digit at both ends",
            TaskSpec::MAX_NAME
        ),
        Some(if name.is_empty() {
            "a name is required"
        } else {
            "other characters belong in the description"
        }),
    );
    let expected = "a name that is not 16 hexadecimal digits";
    found.require(name.parse::<TaskId>().is_err(), "name", expected, Some("that is how ids look"));
}

fn labels(spec: &TaskSpec, found: &mut Problems) {
    let expected = format!("at most {} labels", TaskSpec::MAX_LABELS);
    found.require(spec.labels.len() <= TaskSpec::MAX_LABELS, "labels", expected, None);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    for (key, value) in &spec.labels {
        let field = format!("labels[{key:?}]");
        let good = (1..=TaskSpec::MAX_NAME).contains(&key.len()) && key.bytes().all(allowed);
        found.require(
            good,
            &field,
            format!(
                "a key of 1 to {} letters, digits, dots, underscores, slashes or minus signs",
                TaskSpec::MAX_NAME
            ),
            None,
        );
        let good = value.len() <= TaskSpec::MAX_NAME && !value.chars().any(char::is_control);
        let expected = format!("a value of at most {} bytes without control characters", TaskSpec::MAX_NAME);
        found.require(good, &field, expected, None);
    }
}

fn schedules(schedules: &[Schedule], found: &mut Problems) {
    let expected = format!("at most {MAX_SCHEDULES} schedules");
    found.require(schedules.len() <= MAX_SCHEDULES, "schedules", expected, None);
    for (n, schedule) in schedules.iter().enumerate() {
        if let Schedule::Every(every) = schedule {
            let good = every.interval.subsec_nanos() == 0 && (MIN_EVERY..=MAX_SPAN).contains(&every.interval);
            let (least, most) = (duration::format(MIN_EVERY), duration::format(MAX_SPAN));
            found.require(
                good,
                &format!("schedules[{n}].every"),
                format!("whole seconds from {least} to {most}"),
                None,
            );
        }
    }
}

fn spans(spec: &TaskSpec, found: &mut Problems) {
    let most = duration::format(MAX_SPAN);
    let good = spec.offset.subsec_nanos() == 0 && spec.offset.unsigned_abs() <= MAX_SPAN;
    let hint = "a start between seconds is what jitter and splay are for";
    found.require(good, "offset", format!("whole seconds up to {most}, either way"), Some(hint));
    for (field, span) in [("jitter", spec.jitter), ("splay", spec.splay)] {
        let good = span.subsec_nanos().is_multiple_of(1_000_000) && span <= MAX_SPAN;
        found.require(good, field, format!("whole milliseconds up to {most}"), None);
    }
    found.require(
        (TaskSpec::MIN_GRACE..=MAX_SPAN).contains(&spec.grace),
        "grace",
        format!("{} to {most}", duration::format(TaskSpec::MIN_GRACE)),
        Some("every due is looked at a moment after its time; with less it would always be late"),
    );
    if let Some(timeout) = spec.timeout {
        let good = !timeout.is_zero() && timeout <= MAX_SPAN;
        let expected = format!("more than 0 and at most {most}");
        found.require(good, "timeout", expected, Some("leave it out for no timeout"));
    }
}

fn catch_up(catch_up: &CatchUp, found: &mut Problems) {
    let most = duration::format(MAX_SPAN);
    found.require(catch_up.window <= MAX_SPAN, "catch_up.window", format!("at most {most}"), None);
    for (field, value) in [("catch_up.limit", catch_up.limit), ("catch_up.rate", catch_up.rate)] {
        let good = (1..=MAX_CATCH_UP).contains(&value);
        let hint = "to catch up nothing, use the policy skip";
        found.require(good, field, format!("1 to {MAX_CATCH_UP}"), Some(hint));
    }
}

fn limit(concurrency: &Concurrency, found: &mut Problems) {
    let hint = "to run nothing, pause the task";
    found.require(concurrency.limit >= 1, "concurrency.limit", "at least 1", Some(hint));
    if let Some(key) = &concurrency.key {
        let good = (1..=TaskSpec::MAX_NAME).contains(&key.len()) && !key.chars().any(char::is_control);
        let expected = format!("1 to {} bytes without control characters", TaskSpec::MAX_NAME);
        found.require(good, "concurrency.key", expected, None);
    }
}

/// Nomad's rules for a restart policy, and what follows from them for pauses that grow.
fn restart(policy: &RestartPolicy, found: &mut Problems) {
    let expected = format!("at most {}", RestartPolicy::MAX_ATTEMPTS);
    found.require(policy.attempts <= RestartPolicy::MAX_ATTEMPTS, "restart.attempts", expected, None);
    let good = (RestartPolicy::MIN_INTERVAL..=MAX_SPAN).contains(&policy.interval);
    let (least, most) = (duration::format(RestartPolicy::MIN_INTERVAL), duration::format(MAX_SPAN));
    found.require(good, "restart.interval", format!("{least} to {most}"), None);
    let none = policy.attempts == 0;
    found.require(
        !(none && policy.mode == RestartMode::Delay),
        "restart.mode",
        "fail when there are no attempts",
        Some("delay with 0 attempts is ambiguous: give attempts, or leave the mode out"),
    );
    found.require(
        !(none && policy.on_success),
        "restart.on_success",
        "false when there are no attempts",
        Some("work that shall go on after its success needs attempts: else its first success ends it as failed"),
    );
    found.require(
        pauses(policy) <= policy.interval,
        "restart.interval",
        if policy.backoff.is_some() {
            "at least all pauses together"
        } else {
            "at least attempts times delay"
        },
        Some("else the attempts can never be used up within one interval"),
    );
    found.require(policy.jitter <= Decimal::ONE, "restart.jitter", "0 to 1", Some("a share of the pause"));
    if let Some(Backoff { factor, max }) = policy.backoff {
        let good = (Decimal::ONE..=Backoff::MAX_FACTOR).contains(&factor);
        let expected = format!("{} to {}", Decimal::ONE, Backoff::MAX_FACTOR);
        found.require(good, "restart.backoff.factor", expected, None);
        let good = (policy.delay..=MAX_SPAN.max(policy.delay)).contains(&max);
        let expected = format!("from the delay ({}) to {most}", duration::format(policy.delay));
        found.require(good, "restart.backoff.max", expected, None);
        let good = !policy.delay.is_zero() || factor <= Decimal::ONE;
        found.require(
            good,
            "restart.delay",
            "more than 0 beside a backoff",
            Some("nothing times two is nothing"),
        );
    }
    if let Some(most_time) = policy.max_time {
        let good = !most_time.is_zero() && most_time <= MAX_SPAN;
        found.require(good, "restart.max_time", format!("more than 0 and at most {most}"), None);
    }
    classes(policy, found);
}

fn classes(policy: &RestartPolicy, found: &mut Problems) {
    let lists = [("restart.retry_on", &policy.retry_on), ("restart.fail_on", &policy.fail_on)];
    for (field, classes) in lists {
        let expected = format!("at most {} classes", RestartPolicy::MAX_CLASSES);
        found.require(classes.len() <= RestartPolicy::MAX_CLASSES, field, expected, None);
        let hint = "without attempts nothing is retried";
        found.require(classes.is_empty() || policy.attempts > 0, field, "attempts beside it", Some(hint));
    }
    for class in policy.retry_on.iter().filter(|class| policy.fail_on.contains(class)) {
        found.add("restart.fail_on", format!("no class that is in retry_on too, such as {class}"), None);
    }
}

/// All pauses of one interval together, without what chance adds.
fn pauses(policy: &RestartPolicy) -> Duration {
    let Some(backoff) = policy.backoff else {
        return policy.delay.checked_mul(policy.attempts).unwrap_or(Duration::MAX);
    };
    let (mut all, mut pause) = (Duration::ZERO, policy.delay);
    for number in 0..policy.attempts {
        let longer = backoff.after(pause);
        // From the longest on they are all the same.
        if longer == pause {
            let rest = pause.checked_mul(policy.attempts - number).unwrap_or(Duration::MAX);
            return all.saturating_add(rest);
        }
        all = all.saturating_add(pause);
        pause = longer;
    }
    all
}

fn kill(kill: &Kill, found: &mut Problems) {
    let upper = kill.signal.to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    found.require(
        KILL_SIGNALS.contains(&plain),
        "kill.signal",
        "the name of a signal that can end a process, such as SIGTERM or INT",
        None,
    );
    let expected = format!("at most {}", duration::format(Kill::MAX_GRACE));
    found.require(kill.grace <= Kill::MAX_GRACE, "kill.grace", expected, None);
}

fn retention(retention: &Retention, found: &mut Problems) {
    let expected = format!("1 to {MAX_RETAINED}");
    let hint = "the last run is needed to answer who waits for it";
    found.require((1..=MAX_RETAINED).contains(&retention.runs), "retention.runs", expected, Some(hint));
    let good = !retention.age.is_zero() && retention.age <= MAX_SPAN;
    let expected = format!("more than 0 and at most {}", duration::format(MAX_SPAN));
    found.require(good, "retention.age", expected, None);
}

fn work(work: &Work, found: &mut Problems) {
    match work {
        Work::Handler { name, args: _ } => {
            let good = (1..=MAX_HANDLER).contains(&name.len()) && !name.chars().any(char::is_control);
            let expected = format!("1 to {MAX_HANDLER} bytes without control characters");
            found.require(good, "work.name", expected, None);
        }
        Work::Process { argv, context } => {
            program(argv, "work.argv", found);
            surroundings::surroundings(context, found);
        }
        Work::Shell { script, interpreter, context } => {
            found.require(!script.trim().is_empty(), "work.script", "a script", None);
            no_nul(script, "work.script", found);
            if let Some(interpreter) = interpreter {
                program(interpreter, "work.interpreter", found);
            }
            surroundings::surroundings(context, found);
        }
        Work::Http(call) => around::http(call, "work", found),
    }
}

fn program(argv: &[String], field: &str, found: &mut Problems) {
    let good = argv.first().is_some_and(|program| !program.is_empty());
    found.require(good, field, "a program, then its arguments", None);
    for (n, argument) in argv.iter().enumerate() {
        no_nul(argument, &format!("{field}[{n}]"), found);
    }
}

fn no_nul(text: &str, field: &str, found: &mut Problems) {
    let hint = "the operating system ends a text there";
    found.require(!text.contains('\0'), field, "a text without NUL", Some(hint));
}

fn size(spec: &TaskSpec, found: &mut Problems) {
    let size = json_size(spec);
    let hint = format!("it has {size}; a long script belongs in a file");
    let expected = format!("at most {} bytes of JSON in all", TaskSpec::MAX_SIZE);
    found.require(size <= TaskSpec::MAX_SIZE, "task", expected, Some(&hint));
}

/// What cannot be written at all counts as too large.
fn json_size(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
