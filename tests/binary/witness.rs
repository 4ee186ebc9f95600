//! What jobs tell, as they tell it: one line a fact, through a named pipe.

use crate::process::PATIENCE;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// Defines `tell`, for jobs. One write of a line below the size of a pipe's buffer arrives whole.
pub(crate) const TELL: &str = r#"
tell() {
  echo "$1 $$ $PUNCTUAL_TASK $PUNCTUAL_RUN_ID $PUNCTUAL_ATTEMPT $PUNCTUAL_FENCE $PUNCTUAL_SCHEDULED_FOR" >"$HOME/witness"
}
"#;

/// One line of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) word: String,
    pub(crate) pid: i32,
    pub(crate) task: String,
    pub(crate) run: String,
    pub(crate) attempt: u32,
    pub(crate) fence: String,
    pub(crate) scheduled_for: String,
}

impl Fact {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [word, pid, task, run, attempt, fence, scheduled_for] = words[..] else {
            panic!("a job tells {line:?}");
        };
        Self {
            word: word.to_owned(),
            pid: pid.parse().expect("a pid"),
            task: task.to_owned(),
            run: run.to_owned(),
            attempt: attempt.parse().expect("an attempt"),
            fence: fence.to_owned(),
            scheduled_for: scheduled_for.to_owned(),
        }
    }
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct Witness {
    lines: Receiver<String>,
    /// Everything told so far.
    facts: Vec<Fact>,
    /// How far each word of each task was asked for.
    asked: HashMap<(String, String), usize>,
}

impl Witness {
    pub(crate) fn at(path: &Path) -> Self {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a named pipe");
        // Open for writing as well, so that it never ends and no job ever waits for a reader.
        let pipe = OpenOptions::new().read(true).write(true).open(path).expect("open the pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines, facts: Vec::new(), asked: HashMap::new() }
    }

    /// The next fact of this word and task that was not asked for yet.
    #[track_caller]
    pub(crate) fn next(&mut self, word: &str, task: &str) -> Fact {
        #[expect(clippy::disallowed_methods, reason = "a bound on real waiting")]
        let start = Instant::now();
        loop {
            let asked = self.asked.entry((word.to_owned(), task.to_owned())).or_default();
            let is_meant = |fact: &&Fact| fact.word == word && fact.task == task;
            if let Some(fact) = self.facts.iter().filter(is_meant).nth(*asked) {
                *asked += 1;
                return fact.clone();
            }
            match self.lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
                Ok(line) => self.facts.push(Fact::parse(&line)),
                Err(error) => panic!("nobody told {word:?} of {task:?} ({error}): {:#?}", self.facts),
            }
        }
    }

    /// The same, of what is told from now on.
    #[track_caller]
    pub(crate) fn fresh(&mut self, word: &str, task: &str) -> Fact {
        let told = self.of(word, task).len();
        self.asked.insert((word.to_owned(), task.to_owned()), told);
        self.next(word, task)
    }

    /// Everything told until now.
    pub(crate) fn all(&mut self) -> &[Fact] {
        while let Ok(line) = self.lines.try_recv() {
            self.facts.push(Fact::parse(&line));
        }
        &self.facts
    }

    /// What was told with this word by this task until now.
    pub(crate) fn of(&mut self, word: &str, task: &str) -> Vec<Fact> {
        self.all().iter().filter(|fact| fact.word == word && fact.task == task).cloned().collect()
    }
}
