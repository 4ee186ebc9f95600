//! What a task runs, as its user writes it.

use punctual_model::work;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What to run, and by which driver: `{"driver": "shell", "script": "…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::Work`")]
pub enum Work {
    Handler {
        name: String,
        #[serde(default, skip_serializing_if = "Value::is_null")]
        args: Value,
    },
    Process {
        argv: Vec<String>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        env: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stdin: Option<String>,
    },
    Shell {
        script: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interpreter: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        env: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stdin: Option<String>,
    },
}

impl From<Work> for work::Work {
    fn from(value: Work) -> Self {
        let context = |env, cwd, stdin| work::ProcessContext { env, cwd, stdin };
        match value {
            Work::Handler { name, args } => Self::Handler { name, args },
            Work::Process { argv, env, cwd, stdin } => {
                Self::Process { argv, context: context(env, cwd, stdin) }
            }
            Work::Shell { script, interpreter, env, cwd, stdin } => {
                Self::Shell { script, interpreter, context: context(env, cwd, stdin) }
            }
        }
    }
}

impl From<work::Work> for Work {
    fn from(value: work::Work) -> Self {
        match value {
            work::Work::Handler { name, args } => Self::Handler { name, args },
            work::Work::Process { argv, context: work::ProcessContext { env, cwd, stdin } } => {
                Self::Process { argv, env, cwd, stdin }
            }
            work::Work::Shell { script, interpreter, context: work::ProcessContext { env, cwd, stdin } } => {
                Self::Shell { script, interpreter, env, cwd, stdin }
            }
        }
    }
}
