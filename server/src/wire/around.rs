//! What a task does around its work, as its user writes it: hooks, calls, artifacts, the files of its output.

use super::twin;
use punctual_model::number::Codes;
use punctual_model::{duration, hook, task};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

fn each<A, B: From<A>>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(Into::into).collect()
}

/// Hooks by phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::hook::Hooks`")]
pub struct Hooks {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<UserHook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<UserHook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prekill: Vec<UserHook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exited: Vec<UserHook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<UserHook>,
}

impl From<Hooks> for hook::Hooks {
    fn from(Hooks { prestart, poststart, prekill, exited, stop }: Hooks) -> Self {
        Self {
            prestart: each(prestart),
            poststart: each(poststart),
            prekill: each(prekill),
            exited: each(exited),
            stop: each(stop),
        }
    }
}

impl From<hook::Hooks> for Hooks {
    fn from(hook::Hooks { prestart, poststart, prekill, exited, stop }: hook::Hooks) -> Self {
        Self {
            prestart: each(prestart),
            poststart: each(poststart),
            prekill: each(prekill),
            exited: each(exited),
            stop: each(stop),
        }
    }
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct UserHook {
    pub name: String,
    pub run: Call,
    #[serde(default = "hook_timeout", with = "duration::text")]
    pub timeout: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnHookError>,
}

fn hook_timeout() -> Duration {
    hook::UserHook::TIMEOUT
}

impl From<UserHook> for hook::UserHook {
    fn from(UserHook { name, run, timeout, on_error }: UserHook) -> Self {
        Self { name, run: run.into(), timeout, on_error: on_error.map(Into::into) }
    }
}

impl From<hook::UserHook> for UserHook {
    fn from(hook::UserHook { name, run, timeout, on_error }: hook::UserHook) -> Self {
        Self { name, run: run.into(), timeout, on_error: on_error.map(Into::into) }
    }
}

/// What the error of a hook means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum OnHookError {
    Fail,
    Ignore,
}
twin!(OnHookError, hook::OnHookError { Fail, Ignore });

/// Something short to be done: `{"command": […]}` or `{"http": {"url": "…"}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Call {
    Command(Vec<String>),
    Http(HttpCall),
}

impl From<Call> for hook::Call {
    fn from(value: Call) -> Self {
        match value {
            Call::Command(argv) => Self::Command(argv),
            Call::Http(call) => Self::Http(call.into()),
        }
    }
}

impl From<hook::Call> for Call {
    fn from(value: hook::Call) -> Self {
        match value {
            hook::Call::Command(argv) => Self::Command(argv),
            hook::Call::Http(call) => Self::Http(call.into()),
        }
    }
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct HttpCall {
    #[serde(default = "method")]
    pub method: String,
    pub url: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A text as it is, or JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Codes>,
    #[serde(default = "timeout", with = "duration::text")]
    pub timeout: Duration,
    #[serde(default = "max_response")]
    pub max_response: u64,
}

fn method() -> String {
    hook::HttpCall::METHODS[0].to_owned()
}

fn timeout() -> Duration {
    hook::HttpCall::TIMEOUT
}

fn max_response() -> u64 {
    hook::HttpCall::MAX_RESPONSE
}

impl From<HttpCall> for hook::HttpCall {
    fn from(value: HttpCall) -> Self {
        let HttpCall { method, url, headers, body, expect, timeout, max_response } = value;
        let body = body.map(|body| match body {
            Value::String(text) => hook::HttpBody::Text(text),
            json => hook::HttpBody::Json(json),
        });
        Self { method, url, headers, body, expect, timeout, max_response }
    }
}

impl From<hook::HttpCall> for HttpCall {
    fn from(value: hook::HttpCall) -> Self {
        let hook::HttpCall { method, url, headers, body, expect, timeout, max_response } = value;
        let body = body.map(|body| match body {
            hook::HttpBody::Text(text) => Value::String(text),
            hook::HttpBody::Json(json) => json,
        });
        Self { method, url, headers, body, expect, timeout, max_response }
    }
}

/// A file that is fetched before the work starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Artifact {
    pub source: String,
    pub dest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

impl From<Artifact> for hook::Artifact {
    fn from(Artifact { source, dest, checksum, mode }: Artifact) -> Self {
        Self { source, dest, checksum, mode }
    }
}

impl From<hook::Artifact> for Artifact {
    fn from(hook::Artifact { source, dest, checksum, mode }: hook::Artifact) -> Self {
        Self { source, dest, checksum, mode }
    }
}

/// The files of a run's output, and how long they are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u32>,
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
}

impl From<Output> for task::Output {
    fn from(Output { rotate_at, files, age, runs }: Output) -> Self {
        Self { rotate_at, files, age, runs }
    }
}

impl From<task::Output> for Output {
    fn from(task::Output { rotate_at, files, age, runs }: task::Output) -> Self {
        Self { rotate_at, files, age, runs }
    }
}
