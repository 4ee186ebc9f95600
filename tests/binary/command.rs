//! The binary as a command, and what it printed. Shared by the tests that start it.

use serde_json::Value;
use std::process::{Command, Output, Stdio};

/// The binary, without the surroundings of whoever runs the tests.
pub(crate) fn punctual() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punctual"));
    for name in ["PUNCTUAL_DATA", "PUNCTUAL_SERVER", "PUNCTUAL_TOKEN", "PUNCTUAL_LOG", "TZ"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Printed {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Printed {
    /// What it printed, if it ended with this code.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        &self.out
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.ends(0)).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the exit code and parts of what was said to people.
    #[track_caller]
    pub(crate) fn refuses(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in {}", self.err);
        }
    }
}
