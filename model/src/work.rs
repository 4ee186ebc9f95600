//! What a task runs: one variant a driver.

use crate::hook::HttpCall;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::process::ProcessContext;

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
    /// An HTTP request. Its answer is the output, its status decides.
    Http(HttpCall),
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

    /// An HTTP request by `GET`.
    pub fn http(url: impl Into<String>) -> Self {
        Self::Http(HttpCall::get(url))
    }

    /// The surroundings of the process, if the work is one.
    #[must_use]
    pub fn context(&self) -> Option<&ProcessContext> {
        match self {
            Self::Process { context, .. } | Self::Shell { context, .. } => Some(context),
            Self::Handler { .. } | Self::Http(_) => None,
        }
    }

    /// The name of the driver that runs it.
    #[must_use]
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Handler { .. } => "handler",
            Self::Process { .. } => "process",
            Self::Shell { .. } => "shell",
            Self::Http(_) => "http",
        }
    }
}
