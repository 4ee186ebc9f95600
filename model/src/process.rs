//! The surroundings of a child process: what it sees, who it is, and what it may use.

use crate::number::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The surroundings of a child process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessContext {
    /// Variables of the child, besides those that the engine sets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of variables of the daemon's own environment that the child gets too; what is not there is left out.
    /// By default none but the few that every program needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inherit_env: Vec<String>,
    /// Working directory; none means the daemon's, or the run's own if there is a [`Self::work_dir`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// A directory of the run's own; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<WorkDir>,
    /// What the child reads from its standard input; none means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// The run's parameters are written, as JSON, to this file before the child starts; a path relative to the
    /// run's own directory, so it needs [`Self::work_dir`]. None by default. (Nomad's `dispatch_payload`.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_file: Option<String>,
    /// Whose rights the child has: a name or a number. None means the daemon's user; another one needs a daemon
    /// with the right to change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its main group: a name or a number. None means the user's own where one is given, else the daemon's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its supplementary groups, names or numbers, in place of the user's own. None means those of the user where one
    /// is given, else the daemon's; an empty list means none at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Whether no program that the child starts may gain rights (set-user-id, file capabilities); `false` by default,
    /// as `PR_SET_NO_NEW_PRIVS` of Linux, which is never taken back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privs: bool,
    /// The mode bits that new files do not get, in octal (`"027"`); none means the daemon's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<String>,
    /// How willingly it gives way to others, -20 (not at all) to 19; none means as the daemon does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i8>,
    /// Limits of the child's own, by the names of [`RLIMITS`]; what is not named is as the daemon's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rlimits: BTreeMap<String, Rlimit>,
    /// What the child and all that it starts may use together.
    #[serde(skip_serializing_if = "Resources::is_unlimited")]
    pub resources: Resources,
    /// Whether a small process of its own holds the work, so that it outlives the daemon and is found again; `true` by
    /// default. Without one the work ends with the daemon.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub shim: bool,
}

impl Default for ProcessContext {
    fn default() -> Self {
        Self {
            env: BTreeMap::new(),
            inherit_env: Vec::new(),
            cwd: None,
            work_dir: None,
            stdin: None,
            payload_file: None,
            user: None,
            group: None,
            groups: None,
            no_new_privs: false,
            umask: None,
            nice: None,
            rlimits: BTreeMap::new(),
            resources: Resources::default(),
            shim: true,
        }
    }
}

/// The names of the limits that a process has, as `setrlimit` and `ulimit` call them, in lower case.
/// Sizes are in bytes, `cpu` in seconds.
pub const RLIMITS: [&str; 15] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "sigpending",
    "stack",
];

/// A soft limit, which holds, and a hard one, up to which the child may raise it. Written as one number for both, as
/// `"unlimited"`, or as `{ soft, hard }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RlimitWritten", into = "RlimitWritten")]
pub struct Rlimit {
    /// What holds.
    pub soft: u64,
    /// Up to where it may be raised.
    pub hard: u64,
}

impl Rlimit {
    /// No limit; the number that the kernel takes for it.
    pub const UNLIMITED: u64 = u64::MAX;
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, \"unlimited\", or { soft, hard } of them")]
enum RlimitWritten {
    Both(Bound),
    Each(Bounds),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    soft: Bound,
    hard: Bound,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bound {
    Number(u64),
    Text(String),
}

impl From<u64> for Bound {
    fn from(number: u64) -> Self {
        if number == Rlimit::UNLIMITED { Self::Text("unlimited".to_owned()) } else { Self::Number(number) }
    }
}

impl TryFrom<Bound> for u64 {
    type Error = String;

    fn try_from(bound: Bound) -> Result<Self, String> {
        match bound {
            Bound::Number(number) => Ok(number),
            Bound::Text(text) if text == "unlimited" => Ok(Rlimit::UNLIMITED),
            Bound::Text(text) => Err(format!("{text:?}: expected a number or \"unlimited\"")),
        }
    }
}

impl From<Rlimit> for RlimitWritten {
    fn from(Rlimit { soft, hard }: Rlimit) -> Self {
        if soft == hard {
            Self::Both(soft.into())
        } else {
            Self::Each(Bounds { soft: soft.into(), hard: hard.into() })
        }
    }
}

impl TryFrom<RlimitWritten> for Rlimit {
    type Error = String;

    fn try_from(written: RlimitWritten) -> Result<Self, String> {
        match written {
            RlimitWritten::Both(bound) => {
                let bound = u64::try_from(bound)?;
                Ok(Self { soft: bound, hard: bound })
            }
            RlimitWritten::Each(Bounds { soft, hard }) => {
                Ok(Self { soft: soft.try_into()?, hard: hard.try_into()? })
            }
        }
    }
}

/// What a child and all that it starts may use together; what is none is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Most memory in bytes; above it the kernel kills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processor time as a number of cores: `0.5` is half of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Decimal>,
    /// Most processes and threads at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl Resources {
    /// Least memory: with less not even a shell starts.
    pub const MIN_MEMORY: u64 = 1 << 20;
    /// Least share of a core: the kernel's least quota is a millisecond of its period of 100 ms.
    pub const MIN_CPU: Decimal = Decimal::thousandths(10);

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// A directory of the run's own, made before its first attempt starts and empty then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkDir {
    /// Whether it stays when the run has ended.
    pub keep: KeepDir,
}

/// Whether a run's directory stays when the run has ended. What stays goes with the run's record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepDir {
    /// It goes at once.
    #[default]
    Never,
    /// It stays unless the run succeeded.
    OnFailure,
    /// It stays.
    Always,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn surroundings_without_settings_are_written_as_nothing() {
        assert_eq!(serde_json::to_value(ProcessContext::default()).unwrap(), json!({}));
        let read: ProcessContext = serde_json::from_value(json!({})).unwrap();
        assert_eq!(read, ProcessContext::default());
        assert!(read.shim);
    }

    #[test]
    fn limits_have_a_short_and_a_long_form() {
        let read = |text| serde_json::from_value::<Rlimit>(text);
        assert_eq!(read(json!(5)).unwrap(), Rlimit { soft: 5, hard: 5 });
        let long = json!({"soft": 5, "hard": "unlimited"});
        let limit = Rlimit { soft: 5, hard: Rlimit::UNLIMITED };
        assert_eq!(read(long.clone()).unwrap(), limit);
        assert_eq!(serde_json::to_value(limit).unwrap(), long);
        for bad in [json!("much"), json!(-1), json!({"soft": 1}), json!({"soft": 1, "hard": 1, "x": 1})] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
