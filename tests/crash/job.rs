//! The work of all tasks here: this program once more, as `crash job WITNESS MILLISECONDS CODES`.
//!
//! It tells its start, every now and then that it lives, and its end, each line with one write to the witness. The
//! codes are the exit codes of the attempts, the last one of all further ones.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// How often it tells that it lives: often enough that two at once are seen.
const BEAT: Duration = Duration::from_millis(100);

/// Bytes of a line: a power of two, below the size of a page.
const LINE: usize = 256;

struct Teller {
    file: std::fs::File,
    about: String,
    number: u64,
}

impl Teller {
    fn tell(&mut self, word: &str, code: i32) {
        let (monotonic, wall) = (super::time::monotonic(), super::time::wall());
        let line = format!("{word} {} {} {monotonic} {wall} {code}", self.number, self.about);
        // One write: the place of the line in the file is the moment at which it was told. All lines are as long,
        // so that none lies across two pages: between those a kill can cut a write in two.
        let line = format!("{line:<width$}\n", width = LINE - 1);
        let written = self.file.write(line.as_bytes());
        assert_eq!(written.ok(), Some(LINE), "a line of the witness was not written whole");
        // The same as output. Who is not read any more has lost its daemon and its shim, and goes on until it is ended.
        let _ = writeln!(std::io::stdout(), "{word} {}", self.number);
        self.number += 1;
    }
}

/// Does it, and answers the exit code.
pub(crate) fn work(witness: &str, milliseconds: &str, codes: &str) -> i32 {
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    let attempt: usize = of("PUNCTUAL_ATTEMPT").parse().unwrap_or(1);
    let about = format!(
        "{} {} {attempt} {} {} {}",
        of("PUNCTUAL_RUN_ID"),
        of("PUNCTUAL_TASK"),
        of("PUNCTUAL_FENCE"),
        of("PUNCTUAL_SCHEDULED_FOR"),
        std::process::id()
    );
    let file = OpenOptions::new().append(true).create(true).open(Path::new(witness)).expect("the witness");
    let mut teller = Teller { file, about, number: 0 };
    teller.tell("S", 0);
    let mut left = Duration::from_millis(milliseconds.parse().expect("milliseconds"));
    while !left.is_zero() {
        let step = left.min(BEAT);
        super::time::pause(step);
        left -= step;
        if !left.is_zero() {
            teller.tell("A", 0);
        }
    }
    let codes: Vec<i32> = codes.split(',').map(|code| code.parse().expect("an exit code")).collect();
    let code = codes[attempt.min(codes.len()) - 1];
    teller.tell("E", code);
    code
}
