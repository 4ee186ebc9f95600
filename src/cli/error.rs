//! How a command fails: an exit code for scripts and a message for people.

use std::fmt;

/// Exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something went wrong that is none of the others.
    Failed = 1,
    /// The command line, a file or an expression is wrong; clap uses the same code.
    Usage = 2,
    /// What was asked for is not there, or several things are.
    NotFound = 3,
    /// The daemon knows no such caller, or does not let it do that.
    Denied = 4,
    /// Somebody else holds it, or has changed it meanwhile.
    Conflict = 5,
    /// No daemon answers, or it is stopping.
    Unreachable = 6,
    /// The store failed; nothing more was acknowledged. A supervisor starts the daemon again.
    StoreFailed = 70,
    /// The time that the caller gave has run out.
    OutOfTime = 124,
    /// While waiting for a run: punctual itself failed, not the run.
    OurFault = 125,
    /// Ctrl-C.
    Interrupted = 130,
}

/// Why a command ended.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    /// The exit code where it is a run's and none of ours.
    code: Option<u8>,
    message: String,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, code: None, message: message.to_string() }
    }

    /// An end with this code about which all has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self { exit: Exit::Failed, code: Some(code), message: String::new() }
    }

    /// The same while a run is waited for, whose exit code the process takes: ours has to be another one.
    pub(crate) fn while_waiting(mut self) -> Self {
        if self.code.is_none() && !matches!(self.exit, Exit::OutOfTime | Exit::Interrupted) {
            self.exit = Exit::OurFault;
        }
        self
    }

    pub(crate) fn code(&self) -> u8 {
        self.code.unwrap_or(self.exit as u8)
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_empty()
    }

    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
