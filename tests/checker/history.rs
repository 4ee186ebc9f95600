//! A history, and how it is read from a directory.
//!
//! | file | what |
//! |---|---|
//! | `rules.json` | [`Rules`]: the tasks, and between which instants their dues are judged |
//! | `witness` | a line of a job each: `word number run task attempt fence due pid monotonic wall code` |
//! | `told` | a JSON object a line: [`Told`] |
//! | `runs-0.json` … | what `run list --output json` printed, in the order of time; the last but one at the end, the last after one more start |

use super::rule::Rule;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that is known from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) rules: Rules,
    pub(crate) witness: Vec<Line>,
    pub(crate) told: Vec<Told>,
    /// The records as they were in between, oldest first.
    pub(crate) earlier: Vec<Records>,
    /// The records when everything had ended.
    pub(crate) records: Records,
    /// The same after one more start.
    pub(crate) again: Records,
}

/// The tasks, and when they were watched. Instants are nanoseconds of the epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) tasks: Vec<Rule>,
    /// Before this none of the tasks was there.
    pub(crate) made_after: i64,
    /// From here on each due has a record …
    pub(crate) from: i64,
    /// … up to here.
    pub(crate) to: i64,
    /// Times that the daemon was killed.
    #[serde(default)]
    pub(crate) kills: usize,
}

/// Records by run.
pub(crate) type Records = BTreeMap<String, Record>;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) task: String,
    pub(crate) trigger: String,
    pub(crate) scheduled_for: i64,
    /// When it was written: what was decided together was written together.
    pub(crate) accepted_at: i64,
    pub(crate) state: String,
    pub(crate) attempt: u64,
    pub(crate) epoch: u64,
    pub(crate) missed: Option<Missed>,
    pub(crate) key: Option<String>,
    pub(crate) raw: Value,
}

/// Dues without a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) count: u64,
}

/// What a job said. Its place in the file is the order in which it happened: lines are appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) word: Word,
    /// Counts the lines of one process from 0.
    pub(crate) number: u64,
    pub(crate) run: String,
    pub(crate) task: String,
    pub(crate) attempt: u64,
    pub(crate) fence: String,
    pub(crate) due: i64,
    pub(crate) pid: i32,
    /// Nanoseconds since the machine started.
    pub(crate) monotonic: i64,
    pub(crate) wall: i64,
    /// With which code it is about to exit, if it says its end.
    pub(crate) code: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Start,
    Alive,
    End,
}

/// What a caller knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// A run was accepted for this key.
    Accepted { task: String, key: String, run: String },
    /// The end of a run.
    Ended { run: String, state: String },
    /// A cancel was asked for; whether it came through is not known.
    CancelWanted { run: String },
    /// A cancel was answered while the run was in this state.
    Canceled { run: String, state: String },
}

impl Record {
    pub(crate) fn read(raw: &Value) -> Result<Self, String> {
        let text = |name: &str| {
            let value = raw[name].as_str().ok_or_else(|| format!("no {name} in {raw}"));
            value.map(str::to_owned)
        };
        let number = |name: &str| raw["life"][name].as_u64().ok_or_else(|| format!("no {name} in {raw}"));
        let missed = match &raw["life"]["state"]["missed"] {
            Value::Null => None,
            missed => Some(Missed {
                from: instant(&missed["from"])?,
                to: instant(&missed["to"])?,
                count: missed["count"].as_u64().ok_or_else(|| format!("no count in {raw}"))?,
            }),
        };
        let trigger = match &raw["trigger"] {
            Value::Object(fields) => fields.keys().next().cloned(),
            plain => plain.as_str().map(str::to_owned),
        };
        Ok(Self {
            id: text("id")?,
            task: text("task_name")?,
            trigger: trigger.ok_or_else(|| format!("no trigger in {raw}"))?,
            scheduled_for: instant(&raw["scheduled_for"])?,
            accepted_at: instant(&raw["accepted_at"])?,
            state: text("state")?,
            attempt: number("attempt")?,
            epoch: number("epoch")?,
            missed,
            key: raw["idempotency_key"].as_str().map(str::to_owned),
            raw: raw.clone(),
        })
    }

    pub(crate) fn is_terminal(&self) -> bool {
        !matches!(self.state.as_str(), "scheduled" | "queued" | "starting" | "running" | "stopping")
    }

    /// Whether it stands for due times.
    pub(crate) fn is_due(&self) -> bool {
        matches!(self.trigger.as_str(), "schedule" | "catch_up")
    }
}

/// Reads what `run list --output json` printed.
pub(crate) fn records(listed: &Value) -> Result<Records, String> {
    let runs = listed["runs"].as_array().ok_or("there is no list of runs")?;
    runs.iter().map(|raw| Record::read(raw).map(|record| (record.id.clone(), record))).collect()
}

fn instant(value: &Value) -> Result<i64, String> {
    let text = value.as_str().ok_or_else(|| format!("{value} is no instant"))?;
    parse(text)
}

fn parse(text: &str) -> Result<i64, String> {
    let at: jiff::Timestamp = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
    i64::try_from(at.as_nanosecond()).map_err(|error| format!("{text:?}: {error}"))
}

impl Line {
    pub(crate) fn read(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [word, number, run, task, attempt, fence, due, pid, monotonic, wall, code] = words[..] else {
            return Err(format!("{line:?} is no line of a job"));
        };
        let wrong = |error: std::num::ParseIntError| format!("{line:?}: {error}");
        Ok(Self {
            word: match word {
                "S" => Word::Start,
                "A" => Word::Alive,
                "E" => Word::End,
                _ => return Err(format!("{line:?} begins with an unknown word")),
            },
            number: number.parse().map_err(wrong)?,
            run: run.to_owned(),
            task: task.to_owned(),
            attempt: attempt.parse().map_err(wrong)?,
            fence: fence.to_owned(),
            due: parse(due)?,
            pid: pid.parse().map_err(wrong)?,
            monotonic: monotonic.parse().map_err(wrong)?,
            wall: wall.parse().map_err(wrong)?,
            code: code.parse().map_err(wrong)?,
        })
    }
}

impl History {
    /// Reads all of it.
    pub(crate) fn read(directory: &Path) -> Result<Self, String> {
        let file = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let json = |text: &str| serde_json::from_str(text).map_err(|error| error.to_string());
        let rules = serde_json::from_str(&file("rules.json")?).map_err(|error| error.to_string())?;
        let witness = file("witness")?.lines().map(Line::read).collect::<Result<_, _>>()?;
        let told = file("told").unwrap_or_default();
        let told = told.lines().map(|line| serde_json::from_str(line).map_err(|error| error.to_string()));
        let mut seen = Vec::new();
        while let Ok(text) = file(&format!("runs-{}.json", seen.len())) {
            seen.push(records(&json(&text)?)?);
        }
        let again = seen.pop().ok_or("there are no records")?;
        let records = seen.pop().ok_or("the records were not read once more after another start")?;
        Ok(Self { rules, witness, told: told.collect::<Result<_, _>>()?, earlier: seen, records, again })
    }
}
