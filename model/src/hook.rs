//! What a task does around its work: hooks of its user, calls that tell of its ends, files that it needs.

use crate::duration;
use crate::number::Codes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The hooks of a task, in each phase in the order in which they run. (The phases are Nomad's.)
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// Before each start of the work, one after the other; the first error aborts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<UserHook>,
    /// After each start of the work, beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<UserHook>,
    /// Before work is asked to end, also for a restart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prekill: Vec<UserHook>,
    /// After each end of an attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exited: Vec<UserHook>,
    /// When the run will not go on, whatever came before; they may run more than once and must not mind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<UserHook>,
}

impl Hooks {
    /// Most hooks of a phase.
    pub const MAX: usize = 16;

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        HookPhase::ALL.iter().all(|phase| self.of(*phase).is_empty())
    }

    /// Those of one phase, in order.
    #[must_use]
    pub fn of(&self, phase: HookPhase) -> &[UserHook] {
        match phase {
            HookPhase::Prestart => &self.prestart,
            HookPhase::Poststart => &self.poststart,
            HookPhase::Prekill => &self.prekill,
            HookPhase::Exited => &self.exited,
            HookPhase::Stop => &self.stop,
        }
    }
}

/// When in the life of an attempt a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPhase {
    /// Before each start of the work.
    Prestart,
    /// After each start of the work.
    Poststart,
    /// Before the work is asked to end.
    Prekill,
    /// After each end of an attempt.
    Exited,
    /// When the run will not go on.
    Stop,
}

impl HookPhase {
    /// All of them, in the order of an attempt's life.
    pub const ALL: [Self; 5] = [Self::Prestart, Self::Poststart, Self::Prekill, Self::Exited, Self::Stop];

    /// The name as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::Poststart => "poststart",
            Self::Prekill => "prekill",
            Self::Exited => "exited",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for HookPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A hook that a user wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserHook {
    /// By which events and logs call it; unique within its phase.
    pub name: String,
    /// What it does.
    pub run: Call,
    /// Longest time that it may take.
    #[serde(
        default = "UserHook::usual_timeout",
        with = "duration::text",
        skip_serializing_if = "UserHook::is_usual_timeout"
    )]
    pub timeout: Duration,
    /// What its error means for the attempt; none means as usual in its phase, see [`Self::on_error`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnHookError>,
}

impl UserHook {
    /// Default [`Self::timeout`]: a hook prepares or tells something; what takes longer is work.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// Longest [`Self::timeout`]: a run that is to end waits for its hooks.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

    /// A hook with defaults.
    pub fn new(name: impl Into<String>, run: Call) -> Self {
        Self { name: name.into(), run, timeout: Self::TIMEOUT, on_error: None }
    }

    /// What its error means for the attempt: before the start it fails it unless told otherwise, afterwards it is an
    /// event unless told otherwise.
    #[must_use]
    pub fn on_error(&self, phase: HookPhase) -> OnHookError {
        self.on_error.unwrap_or(match phase {
            HookPhase::Prestart => OnHookError::Fail,
            HookPhase::Poststart | HookPhase::Prekill | HookPhase::Exited | HookPhase::Stop => {
                OnHookError::Ignore
            }
        })
    }

    fn usual_timeout() -> Duration {
        Self::TIMEOUT
    }

    fn is_usual_timeout(timeout: &Duration) -> bool {
        *timeout == Self::TIMEOUT
    }
}

/// What the error of a hook means for the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnHookError {
    /// The attempt fails, as one that could go better another time.
    Fail,
    /// It is an event of the run, and nothing else.
    Ignore,
}

/// Something short to be done: `{"command": ["notify", "oncall"]}` or `{"http": {"url": "https://…"}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// A program with its arguments, without a shell.
    Command(Vec<String>),
    /// An HTTP request.
    Http(HttpCall),
}

/// An HTTP request: the work of the driver `http`, and a form of [`Call`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpCall {
    /// One of [`HttpCall::METHODS`].
    #[serde(default = "HttpCall::usual_method")]
    pub method: String,
    /// Where to: `http://` or `https://`.
    pub url: String,
    /// Header fields, besides those that the engine sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What is sent along; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<HttpBody>,
    /// The statuses that mean success; none given means 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Codes>,
    /// Longest time from the first look-up of the name to the last byte of the answer.
    #[serde(
        default = "HttpCall::usual_timeout",
        with = "duration::text",
        skip_serializing_if = "HttpCall::is_usual_timeout"
    )]
    pub timeout: Duration,
    /// Most bytes of the answer that are read; the rest is not waited for.
    #[serde(default = "HttpCall::usual_response", skip_serializing_if = "HttpCall::is_usual_response")]
    pub max_response: u64,
}

impl HttpCall {
    /// The methods that can be asked for; the first one is the default.
    pub const METHODS: [&'static str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    /// Default [`Self::timeout`]: what proxies and load balancers on the way usually allow.
    pub const TIMEOUT: Duration = Duration::from_secs(60);
    /// Default [`Self::max_response`]: enough for what a person reads of an answer.
    pub const MAX_RESPONSE: u64 = 1 << 20;
    /// Longest URL in bytes, as servers and proxies commonly take them.
    pub const MAX_URL: usize = 8 << 10;
    /// Statuses that mean success where none are given.
    pub const SUCCESS: Codes = Codes::range(200, 299);

    /// A `GET` with defaults.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: Self::usual_method(),
            url: url.into(),
            headers: BTreeMap::new(),
            body: None,
            expect: Vec::new(),
            timeout: Self::TIMEOUT,
            max_response: Self::MAX_RESPONSE,
        }
    }

    /// Whether an answer with this status is a success.
    #[must_use]
    pub fn expects(&self, status: u16) -> bool {
        let status = i32::from(status);
        match self.expect.as_slice() {
            [] => Self::SUCCESS.contains(status),
            expect => expect.iter().any(|codes| codes.contains(status)),
        }
    }

    fn usual_method() -> String {
        Self::METHODS[0].to_owned()
    }

    fn usual_timeout() -> Duration {
        Self::TIMEOUT
    }

    fn is_usual_timeout(timeout: &Duration) -> bool {
        *timeout == Self::TIMEOUT
    }

    fn usual_response() -> u64 {
        Self::MAX_RESPONSE
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_usual_response(bytes: &u64) -> bool {
        *bytes == Self::MAX_RESPONSE
    }
}

/// What a request sends along; the run's parameters are put in where it names them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HttpBody {
    /// Text as it is.
    Text(String),
    /// JSON; any value that is not a text.
    Json(Value),
}

/// A file that is fetched before the work starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Where from: `http://…`, `https://…`, or the absolute path of a file.
    pub source: String,
    /// Where to: a path relative to the run's own directory, within it.
    pub dest: String,
    /// What it must be: `sha256:` and 64 hexadecimal digits. None means whatever comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Its mode in octal (`"755"`); none means `644`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

impl Artifact {
    /// Most artifacts of a task.
    pub const MAX: usize = 32;
    /// The mode of one that names none.
    pub const MODE: u32 = 0o644;

    /// The 64 digits of the checksum, in lower case, where there is a good one.
    #[must_use]
    pub fn sha256(&self) -> Option<String> {
        let digits = self.checksum.as_deref()?.strip_prefix("sha256:")?;
        let good = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| digits.to_ascii_lowercase())
    }
}

/// The mode bits of a text in octal, up to 7777.
#[must_use]
pub fn octal(text: &str) -> Option<u32> {
    let good = (1..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = good.then(|| u32::from_str_radix(text, 8).ok()).flatten()?;
    (mode <= 0o7777).then_some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_hook_is_a_name_and_a_call_and_its_phase_says_the_rest() {
        let hook: UserHook =
            serde_json::from_value(json!({"name": "warm", "run": {"command": ["true"]}})).unwrap();
        assert_eq!(hook, UserHook::new("warm", Call::Command(vec!["true".to_owned()])));
        assert_eq!(hook.on_error(HookPhase::Prestart), OnHookError::Fail);
        assert_eq!(hook.on_error(HookPhase::Stop), OnHookError::Ignore);
        let told = UserHook { on_error: Some(OnHookError::Ignore), ..hook };
        assert_eq!(told.on_error(HookPhase::Prestart), OnHookError::Ignore);
    }

    #[test]
    fn a_request_is_a_url_and_its_answers_are_good_from_200_to_299() {
        let call: HttpCall = serde_json::from_value(json!({"url": "http://localhost/"})).unwrap();
        assert_eq!(call, HttpCall::get("http://localhost/"));
        assert!(call.expects(204) && !call.expects(301));
        let call: HttpCall =
            serde_json::from_value(json!({"url": "http://x/", "expect": [404, "500-599"], "body": {"a": 1}}))
                .unwrap();
        assert!(call.expects(404) && call.expects(503) && !call.expects(200));
        assert_eq!(call.body, Some(HttpBody::Json(json!({"a": 1}))));
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(octal("755"), Some(0o755));
        assert_eq!(octal("0027"), Some(0o27));
        for bad in ["", "8", "rwx", "-1", "77777", "000000"] {
            assert_eq!(octal(bad), None, "{bad}");
        }
    }
}
