//! What a task runs: one variant a driver.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What to run, and by which driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "snake_case")]
pub enum Work {
    /// An async function of the embedding program, by the name it was registered under.
    Handler {
        /// The registered name.
        name: String,
        /// Its arguments; parameters of a run are laid over them.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        args: Value,
    },
    /// A program with its arguments, without a shell.
    Process {
        /// Program and arguments, passed on byte for byte.
        argv: Vec<String>,
        /// Its surroundings.
        #[serde(flatten)]
        context: ProcessContext,
    },
    /// A script for a shell. Parameters reach it as environment variables, never as text.
    Shell {
        /// The script.
        script: String,
        /// What reads it, as program and arguments before the script's own argument.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interpreter: Option<Vec<String>>,
        /// Its surroundings.
        #[serde(flatten)]
        context: ProcessContext,
    },
}

/// The surroundings of a child process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessContext {
    /// Variables of the child, besides those that the engine sets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory; none means the daemon's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// What the child reads from its standard input; none means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
}

impl Work {
    /// The default interpreter of [`Work::Shell`].
    pub const SHELL: [&'static str; 2] = ["/bin/sh", "-c"];

    /// A handler without arguments.
    pub fn handler(name: impl Into<String>) -> Self {
        Self::Handler { name: name.into(), args: Value::Null }
    }

    /// A handler with arguments.
    pub fn handler_with(name: impl Into<String>, args: Value) -> Self {
        Self::Handler { name: name.into(), args }
    }

    /// A program with its arguments.
    pub fn process<I: IntoIterator<Item = S>, S: Into<String>>(argv: I) -> Self {
        Self::Process { argv: argv.into_iter().map(Into::into).collect(), context: ProcessContext::default() }
    }

    /// A script for `/bin/sh`.
    pub fn shell(script: impl Into<String>) -> Self {
        Self::Shell { script: script.into(), interpreter: None, context: ProcessContext::default() }
    }

    /// The name of the driver that runs it.
    #[must_use]
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Handler { .. } => "handler",
            Self::Process { .. } => "process",
            Self::Shell { .. } => "shell",
        }
    }
}
