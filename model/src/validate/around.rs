//! Judges what a task does around its work: hooks, calls, artifacts, and the output it leaves.

use super::surroundings::inside;
use super::{MAX_RETAINED, Problems, no_nul, program};
use crate::duration;
use crate::hook::{Artifact, Call, HookPhase, HttpBody, HttpCall, UserHook, octal};
use crate::schedule::MAX_SPAN;
use crate::task::{Output, TaskSpec};
use crate::template::{Template, TemplateError, Use, check_json};
use std::time::Duration;

/// Longest [`TaskSpec::shutdown_delay`]: a stop must end within the patience of whoever asked for it.
pub const MAX_SHUTDOWN_DELAY: Duration = Duration::from_secs(3600);
/// Most failures in a row after which a task may be paused.
pub const MAX_FAILURES: u32 = 1_000_000;
/// Shortest [`TaskSpec::stats_every`]: what is measured more often says more about the measuring.
pub const MIN_STATS: Duration = Duration::from_secs(1);
/// Most header fields of a request, as servers commonly bound them.
const MAX_HEADERS: usize = 100;
/// Largest answer that may be asked for: it is kept in memory while it comes.
const MAX_RESPONSE: u64 = 64 << 20;
/// The statuses of HTTP.
const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;

pub(super) fn around(spec: &TaskSpec, found: &mut Problems) {
    output(spec, found);
    for phase in HookPhase::ALL {
        hooks(phase, spec.hooks.of(phase), found);
    }
    artifacts(spec, found);
    let expected = format!("at most {}", duration::format(MAX_SHUTDOWN_DELAY));
    found.require(spec.shutdown_delay <= MAX_SHUTDOWN_DELAY, "shutdown_delay", expected, None);
    for (field, told) in [("on_failure", &spec.on_failure), ("on_recovered", &spec.on_recovered)] {
        if let Some(told) = told {
            call(told, field, found);
        }
    }
    if let Some(failures) = spec.pause_after_failures {
        let good = (1..=MAX_FAILURES).contains(&failures);
        let hint = "leave it out and the task is never paused by itself";
        found.require(good, "pause_after_failures", format!("1 to {MAX_FAILURES}"), Some(hint));
    }
    if let Some(every) = spec.stats_every {
        let (least, most) = (duration::format(MIN_STATS), duration::format(MAX_SPAN));
        let good = (MIN_STATS..=MAX_SPAN).contains(&every);
        found.require(good, "stats_every", format!("{least} to {most}"), None);
    }
}

fn output(spec: &TaskSpec, found: &mut Problems) {
    let Output { rotate_at, files, age, runs } = spec.output;
    if let Some(bytes) = rotate_at {
        let expected = format!("at least {} bytes", Output::MIN_ROTATE);
        found.require(bytes >= Output::MIN_ROTATE, "output.rotate_at", expected, None);
        let most = spec.max_output;
        let hint = "no run has more output than that";
        found.require(bytes <= most, "output.rotate_at", format!("at most max_output ({most})"), Some(hint));
        let least = most / u64::from(Output::MAX_FILES);
        let hint =
            format!("a run has at most {} files; or say in `files` how many to keep", Output::MAX_FILES);
        let good = files.is_some() || bytes >= least || bytes < Output::MIN_ROTATE;
        found.require(good, "output.rotate_at", format!("at least {least} bytes"), Some(&hint));
        let all = bytes.saturating_mul(files.unwrap_or(1).into());
        let expected = format!("so many that `rotate_at` times `files` is at most max_output ({most})");
        let good = files.is_none() || bytes > most || all <= most;
        found.require(good, "output.files", expected, Some("of what is over max_output nothing is kept"));
    }
    if let Some(files) = files {
        let good = (1..=Output::MAX_FILES).contains(&files);
        found.require(good, "output.files", format!("1 to {}", Output::MAX_FILES), None);
        let hint = "without it there is one file a run";
        found.require(rotate_at.is_some(), "output.files", "rotate_at beside it", Some(hint));
    }
    if let Some(age) = age {
        let expected = format!("more than 0 and at most {}", duration::format(MAX_SPAN));
        found.require(!age.is_zero() && age <= MAX_SPAN, "output.age", expected, None);
    }
    if let Some(runs) = runs {
        let good = (1..=MAX_RETAINED).contains(&runs);
        found.require(good, "output.runs", format!("1 to {MAX_RETAINED}"), None);
    }
}

fn hooks(phase: HookPhase, hooks: &[UserHook], found: &mut Problems) {
    let path = format!("hooks.{phase}");
    let expected = format!("at most {} hooks", crate::hook::Hooks::MAX);
    found.require(hooks.len() <= crate::hook::Hooks::MAX, &path, expected, None);
    for (n, hook) in hooks.iter().enumerate() {
        let path = format!("{path}[{n}]");
        let good =
            (1..=TaskSpec::MAX_NAME).contains(&hook.name.len()) && !hook.name.chars().any(char::is_control);
        let expected = format!("1 to {} bytes without control characters", TaskSpec::MAX_NAME);
        found.require(good, &format!("{path}.name"), expected, None);
        let once = !hooks[..n].iter().any(|other| other.name == hook.name);
        let expected = "a name that no other hook of the phase has";
        found.require(once, &format!("{path}.name"), expected, Some("events call a hook by its name"));
        call(&hook.run, &format!("{path}.run"), found);
        let good = !hook.timeout.is_zero() && hook.timeout <= UserHook::MAX_TIMEOUT;
        let expected = format!("more than 0 and at most {}", duration::format(UserHook::MAX_TIMEOUT));
        found.require(good, &format!("{path}.timeout"), expected, None);
    }
}

fn call(call: &Call, field: &str, found: &mut Problems) {
    match call {
        Call::Command(argv) => program(argv, &format!("{field}.command"), found),
        Call::Http(request) => http(request, &format!("{field}.http"), found),
    }
}

/// Judges a request.
pub(super) fn http(call: &HttpCall, field: &str, found: &mut Problems) {
    let methods = HttpCall::METHODS;
    let hint = "methods are written in capitals";
    let known = methods.contains(&call.method.as_str());
    found.require(known, &format!("{field}.method"), format!("one of {}", methods.join(", ")), Some(hint));
    url(&call.url, &format!("{field}.url"), found);
    places(Template::parse(&call.url, Use::Url), &format!("{field}.url"), found);
    let expected = format!("at most {MAX_HEADERS} fields");
    found.require(call.headers.len() <= MAX_HEADERS, &format!("{field}.headers"), expected, None);
    for (name, value) in &call.headers {
        header(name, value, &format!("{field}.headers[{name:?}]"), found);
        places(Template::parse(value, Use::Header), &format!("{field}.headers[{name:?}]"), found);
    }
    if let Some(body) = &call.body {
        let bare = matches!(call.method.as_str(), "GET" | "HEAD");
        let hint = "give the method: POST, PUT, PATCH or DELETE";
        found.require(!bare, &format!("{field}.body"), "a method that sends something along", Some(hint));
        match body {
            HttpBody::Text(text) => {
                let hint = "leave it out to send nothing";
                found.require(!text.is_empty(), &format!("{field}.body"), "a text or JSON", Some(hint));
                places(Template::parse(text, Use::Body), &format!("{field}.body"), found);
            }
            HttpBody::Json(value) => places(check_json(value), &format!("{field}.body"), found),
        }
    }
    for (n, codes) in call.expect.iter().enumerate() {
        let good =
            STATUSES.contains(&codes.first) && STATUSES.contains(&codes.last) && codes.first <= codes.last;
        let expected = "a status from 100 to 599, or a range such as \"200-299\"";
        found.require(good, &format!("{field}.expect[{n}]"), expected, None);
    }
    let good = !call.timeout.is_zero() && call.timeout <= MAX_SPAN;
    let expected = format!("more than 0 and at most {}", duration::format(MAX_SPAN));
    found.require(good, &format!("{field}.timeout"), expected, None);
    let good = (1..=MAX_RESPONSE).contains(&call.max_response);
    found.require(good, &format!("{field}.max_response"), format!("1 to {MAX_RESPONSE} bytes"), None);
}

/// The places for a run's parameters.
fn places<T>(read: Result<T, TemplateError>, field: &str, found: &mut Problems) {
    if let Err(error) = read {
        found.add(field, "places such as `${params.region}` that a run can fill", Some(error.to_string()));
    }
}

/// What can be seen of a URL without taking it apart; whoever sends the request does that.
fn url(url: &str, field: &str, found: &mut Problems) {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let plain = !url.chars().any(|c| c.is_control() || c.is_whitespace());
    let good = host.is_some_and(|host| !host.is_empty()) && plain && url.len() <= HttpCall::MAX_URL;
    let expected =
        format!("http:// or https:// and a host, at most {} bytes without spaces", HttpCall::MAX_URL);
    found.require(good, field, expected, Some("such as https://example.org/path"));
}

/// A name is a token of RFC 9110; a value must not end its line.
fn header(name: &str, value: &str, field: &str, found: &mut Problems) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let good = !name.is_empty() && name.bytes().all(token);
    found.require(good, field, "a name of letters, digits and minus signs", None);
    let good = !value.chars().any(|c| c.is_control() && c != '\t');
    found.require(good, field, "a value in one line", None);
    let own = ["host", "content-length", "transfer-encoding", "connection"];
    let good = !own.contains(&name.to_ascii_lowercase().as_str());
    found.require(good, field, "a field that the request itself does not set", None);
}

fn artifacts(spec: &TaskSpec, found: &mut Problems) {
    let artifacts = &spec.artifacts;
    let expected = format!("at most {} artifacts", Artifact::MAX);
    found.require(artifacts.len() <= Artifact::MAX, "artifacts", expected, None);
    let has_dir = spec.work.context().is_some_and(|context| context.work_dir.is_some());
    let hint = "artifacts are put into the run's own directory; add work_dir to a process or a shell";
    found.require(artifacts.is_empty() || has_dir, "artifacts", "a task with a work_dir", Some(hint));
    for (n, artifact) in artifacts.iter().enumerate() {
        let path = format!("artifacts[{n}]");
        let field = format!("{path}.source");
        if artifact.source.starts_with('/') {
            no_nul(&artifact.source, &field, found);
        } else if artifact.source.contains("://") {
            url(&artifact.source, &field, found);
        } else {
            found.add(&field, "a URL, or the absolute path of a file", None);
        }
        inside(&artifact.dest, &format!("{path}.dest"), found);
        let once = !artifacts[..n].iter().any(|other| other.dest == artifact.dest);
        found.require(once, &format!("{path}.dest"), "a place that no other artifact has", None);
        let good = artifact.checksum.is_none() || artifact.sha256().is_some();
        let expected = "sha256: and 64 hexadecimal digits";
        found.require(good, &format!("{path}.checksum"), expected, Some("as sha256sum prints them"));
        let good = artifact.mode.as_deref().is_none_or(|mode| octal(mode).is_some_and(|bits| bits <= 0o777));
        found.require(good, &format!("{path}.mode"), "three octal digits, up to 777", Some("such as 755"));
    }
}
