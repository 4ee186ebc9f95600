//! What a task runs, as its user writes it.

use super::around::HttpCall;
use super::twin;
use punctual_model::number::Decimal;
use punctual_model::process::{self, Rlimit};
use punctual_model::work;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What to run, and by which driver: `{"driver": "shell", "script": "…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::Work`")]
pub enum Work {
    Handler(Handler),
    Process(Process),
    Shell(Shell),
    Http(HttpCall),
}

/// A handler of the embedding program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Handler {
    pub name: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
}

/// A struct of its own fields and those of the surroundings of a process, which stand beside them. (What is
/// flattened could not refuse unknown fields.)
macro_rules! in_surroundings {
    ($(#[$doc:meta])* $name:ident { $($(#[$serde:meta])* $own:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::work::ProcessContext`")]
        pub struct $name {
            $($(#[$serde])* pub $own: $type,)+
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            pub env: BTreeMap<String, String>,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub inherit_env: Vec<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub cwd: Option<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub work_dir: Option<WorkDir>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub stdin: Option<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub payload_file: Option<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub user: Option<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub group: Option<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub groups: Option<Vec<String>>,
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub no_new_privs: bool,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub umask: Option<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub nice: Option<i8>,
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            pub rlimits: BTreeMap<String, Rlimit>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub resources: Option<Resources>,
            #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
            pub shim: bool,
        }

        impl $name {
            /// Its own fields, and the surroundings.
            fn apart(self) -> (($($type,)+), work::ProcessContext) {
                let Self {
                    $($own,)+ env, inherit_env, cwd, work_dir, stdin, payload_file, user, group, groups,
                    no_new_privs, umask, nice, rlimits, resources, shim,
                } = self;
                let context = work::ProcessContext {
                    env, inherit_env, cwd, work_dir: work_dir.map(Into::into), stdin, payload_file, user, group,
                    groups, no_new_privs, umask, nice, rlimits,
                    resources: resources.map(Into::into).unwrap_or_default(), shim,
                };
                (($($own,)+), context)
            }

            fn together(($($own,)+): ($($type,)+), context: work::ProcessContext) -> Self {
                let work::ProcessContext {
                    env, inherit_env, cwd, work_dir, stdin, payload_file, user, group, groups, no_new_privs,
                    umask, nice, rlimits, resources, shim,
                } = context;
                Self {
                    $($own,)+ env, inherit_env, cwd, work_dir: work_dir.map(Into::into), stdin, payload_file, user,
                    group, groups, no_new_privs, umask, nice, rlimits,
                    resources: (!resources.is_unlimited()).then(|| resources.into()), shim,
                }
            }
        }
    };
}

in_surroundings! {
    /// A program with its arguments, without a shell.
    Process { argv: Vec<String> }
}

in_surroundings! {
    /// A script for a shell.
    Shell {
        script: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interpreter: Option<Vec<String>>,
    }
}

fn yes() -> bool {
    true
}

/// What a child and all that it starts may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Resources {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Decimal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl From<Resources> for process::Resources {
    fn from(Resources { memory, cpu, pids }: Resources) -> Self {
        Self { memory, cpu, pids }
    }
}

impl From<process::Resources> for Resources {
    fn from(process::Resources { memory, cpu, pids }: process::Resources) -> Self {
        Self { memory, cpu, pids }
    }
}

/// A directory of the run's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct WorkDir {
    #[serde(default)]
    pub keep: KeepDir,
}

impl From<WorkDir> for process::WorkDir {
    fn from(WorkDir { keep }: WorkDir) -> Self {
        Self { keep: keep.into() }
    }
}

impl From<process::WorkDir> for WorkDir {
    fn from(process::WorkDir { keep }: process::WorkDir) -> Self {
        Self { keep: keep.into() }
    }
}

/// Whether it stays when the run has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum KeepDir {
    #[default]
    Never,
    OnFailure,
    Always,
}
twin!(KeepDir, process::KeepDir { Never, OnFailure, Always });

impl From<Work> for work::Work {
    fn from(value: Work) -> Self {
        match value {
            Work::Handler(Handler { name, args }) => Self::Handler { name, args },
            Work::Process(process) => {
                let ((argv,), context) = process.apart();
                Self::Process { argv, context }
            }
            Work::Shell(shell) => {
                let ((script, interpreter), context) = shell.apart();
                Self::Shell { script, interpreter, context }
            }
            Work::Http(call) => Self::Http(call.into()),
        }
    }
}

impl From<work::Work> for Work {
    fn from(value: work::Work) -> Self {
        match value {
            work::Work::Handler { name, args } => Self::Handler(Handler { name, args }),
            work::Work::Process { argv, context } => Self::Process(Process::together((argv,), context)),
            work::Work::Shell { script, interpreter, context } => {
                Self::Shell(Shell::together((script, interpreter), context))
            }
            work::Work::Http(call) => Self::Http(call.into()),
        }
    }
}
