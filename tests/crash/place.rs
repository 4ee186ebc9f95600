//! One data directory with everything around it: its daemons, the witness of its jobs, what callers were told, and
//! the records as they were looked at.

use crate::callers::Callers;
use crate::chance::Chance;
use crate::checker::history::{History, Line, Record, Rules, Word, records};
use crate::checker::rule::SECOND;
use crate::daemon::{self, Daemon};
use crate::scenarios::Met;
use crate::tasks::More;
use crate::{checker, tasks, time};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long nothing may end while something is left, once nothing new begins: many times what the slowest task takes.
const CONVERGES: Duration = Duration::from_secs(60);
/// Longest time for which a daemon is let work before somebody looks whether everything has ended.
const LONGEST_PAUSE: Duration = Duration::from_secs(12);
/// Dues younger than this need no record yet when they are judged: the daemon may be writing it.
const EPSILON: i64 = 2 * SECOND;

pub(crate) struct Place {
    pub(crate) name: &'static str,
    root: PathBuf,
    pub(crate) more: More,
    rules: Rules,
    /// Looks at the records until now.
    looks: usize,
    /// In which state kills have met runs.
    pub(crate) met: BTreeMap<&'static str, usize>,
    /// How long daemons took to be ready.
    pub(crate) ready: Vec<Duration>,
}

impl Place {
    pub(crate) fn new(name: &'static str, more: More) -> Self {
        let root =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{}-{name}", std::process::id()));
        fs::create_dir_all(&root).expect("a directory");
        for empty in ["witness", "told"] {
            fs::write(root.join(empty), "").expect("write");
        }
        let rules = Rules { tasks: tasks::rules(more), made_after: time::wall(), ..Rules::default() };
        let place = Self { name, root, more, rules, looks: 0, met: BTreeMap::new(), ready: Vec::new() };
        place.write_tasks(false, 100_000);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn write_tasks(&self, paused: bool, kept: u32) {
        let text = tasks::toml(&self.path("witness"), self.more, paused, kept);
        // Never half a file, should a daemon read it now.
        fs::write(self.path("tasks.new"), text).expect("write");
        fs::rename(self.path("tasks.new"), self.path("tasks.toml")).expect("rename");
    }

    /// A daemon at work; or none if it was to crash on its way.
    pub(crate) fn serve(&mut self, crash_at: Option<&str>) -> Result<Daemon, daemon::Ended> {
        let begun = time::monotonic();
        let mut daemon = self.start(&self.data(), crash_at);
        daemon.until("tasks of ")?;
        if self.rules.from == 0 {
            self.rules.from = time::wall();
        }
        self.ready.push(Duration::from_nanos((time::monotonic() - begun).unsigned_abs()));
        Ok(daemon)
    }

    /// The same, and it must come.
    pub(crate) fn served(&mut self) -> Daemon {
        match self.serve(None) {
            Ok(daemon) => daemon,
            Err(ended) => panic!("{}: the daemon does not start: {ended:?}", self.name),
        }
    }

    /// A daemon that may or may not come up.
    pub(crate) fn start(&self, data: &Path, crash_at: Option<&str>) -> Daemon {
        let seats: &[&str] = if self.more.outliving { &["--max-processes", "200"] } else { &[] };
        Daemon::start(data, &self.path("tasks.toml"), &self.path("log"), seats, crash_at)
    }

    /// So many callers at its door, whether there is a daemon behind it or not.
    pub(crate) fn callers(&self, count: u64, chance: &mut Chance) -> Callers {
        Callers::start(count, &self.data().join("punctual.sock"), &self.path("told"), chance)
    }

    /// `kill -9`, and a look at what it met if wanted.
    pub(crate) fn kill(&mut self, daemon: Daemon, look: bool) {
        daemon.kill();
        self.killed(look);
    }

    /// The daemon died just now.
    pub(crate) fn killed(&mut self, look: bool) {
        self.rules.kills += 1;
        if look {
            // What jobs told until now, and then what the records say.
            let witness = self.witness();
            let states = ["scheduled", "queued", "starting", "running", "stopping"];
            let seen = self.look(&states);
            self.meet(&witness, &seen);
        }
    }

    fn meet(&mut self, witness: &[Line], seen: &[Record]) {
        for record in seen {
            let told = |word: Word| {
                let is_it = |line: &Line| line.run == record.id && line.attempt == record.attempt;
                witness.iter().any(|line| is_it(line) && line.word == word)
            };
            let met = match record.state.as_str() {
                "scheduled" | "queued" => "waiting",
                "stopping" => "stopping",
                _ if told(Word::End) => "between exit and record",
                _ if told(Word::Start) => "running",
                _ => "starting",
            };
            *self.met.entry(met).or_default() += 1;
        }
    }

    pub(crate) fn witness(&self) -> Vec<Line> {
        let text = fs::read_to_string(self.path("witness")).expect("the witness");
        // A job may be writing at this moment; at the end every line is whole, or the checker says so.
        text.lines().filter_map(|line| Line::read(line).ok()).collect()
    }

    /// Looks at the records, with no daemon at work, and keeps them for the checker.
    pub(crate) fn look(&mut self, states: &[&str]) -> Vec<Record> {
        let printed = daemon::list(&self.data(), states);
        let listed: Value = serde_json::from_str(&printed).expect("JSON");
        fs::write(self.path(&format!("runs-{}.json", self.looks)), &printed).expect("write");
        self.looks += 1;
        records(&listed).expect("records").into_values().collect()
    }

    /// Lets everything end: catches up, pauses, and starts again until nothing is unfinished. Then starts once
    /// more. What follows is [`Self::judge`].
    pub(crate) fn heal(&mut self) {
        let mut daemon = self.served();
        time::pause(Duration::from_secs(3));
        self.rules.to = time::wall() - EPSILON;
        // Where the disk stands still, the dues before that wait to be written; paused now, they would be none.
        let to = self.rules.to;
        let has_later = |line: &Line| line.task == "tick" && line.due > to;
        if !self.more.outliving {
            let later = time::until(CONVERGES, || self.witness().iter().any(has_later).then_some(()));
            later.expect("a task that is due each second runs");
        }
        self.write_tasks(true, 100_000);
        daemon.reload();
        // A machine that does much else has more to catch up with, and is slower at it: what counts is that it gets less.
        let (mut least, mut stuck) = (usize::MAX, Duration::ZERO);
        let mut pause = Duration::from_millis(1500);
        loop {
            time::pause(pause);
            daemon.stop();
            let left = self.look(&[]).iter().filter(|record| !record.is_terminal()).count();
            stuck = if left < least { Duration::ZERO } else { stuck + pause };
            least = least.min(left);
            if left == 0 || stuck > CONVERGES {
                break;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            daemon = self.served();
        }
        self.served().stop();
        self.look(&[]);
    }

    /// What the checker has to say; panics if that is anything.
    pub(crate) fn judge(&self) {
        let rules = serde_json::to_string(&self.rules).expect("JSON");
        fs::write(self.path("rules.json"), rules).expect("write");
        let history = History::read(&self.root).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let found = checker::check(&history);
        let (records, lines) = (history.records.len(), history.witness.len());
        let (told, kills) = (history.told.len(), history.rules.kills);
        println!(
            "{}: {records} records, {lines} lines of jobs, {told} acknowledgements, {kills} deaths: {} violations",
            self.name,
            found.len()
        );
        for violation in found.iter().take(40) {
            println!("  {violation}");
        }
        assert!(found.is_empty(), "{}: the history is kept in {}", self.name, self.root.display());
    }

    /// The records at the last look.
    pub(crate) fn last(&self) -> Vec<Record> {
        let text = fs::read_to_string(self.path(&format!("runs-{}.json", self.looks - 1))).expect("a look");
        let listed: Value = serde_json::from_str(&text).expect("JSON");
        records(&listed).expect("records").into_values().collect()
    }

    /// Removes everything; not called when something was wrong, so that it can be looked at.
    pub(crate) fn done(self) -> Met {
        let _ = fs::remove_dir_all(&self.root);
        Met(self.met)
    }
}
