//! From a definition and a run to the request that is sent.

use crate::client::{Request, check_url, is_ours};
use crate::drivers::trace::traceparent;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use punctual_model::hook::{HttpBody, HttpCall};
use punctual_model::template::{Template, TemplateError, Use, render_json};
use punctual_model::{Failure, FailureKind, Run, Task};

/// The header that names the attempt.
const ATTEMPT: HeaderName = HeaderName::from_static("punctual-attempt");
/// The header by which a server knows that it is asked the same thing again (an Internet draft; Stripe and others).
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header that joins traces (W3C Trace Context).
const TRACE: HeaderName = HeaderName::from_static("traceparent");

/// Puts the run's parameters in and adds the headers that tell which run asks; what the task gives under the same
/// name takes their place.
pub(super) fn build(call: &HttpCall, run: &Run, task: &Task, key: &str) -> Result<Request, Failure> {
    let wrong = |what: &str, why: &dyn std::fmt::Display| {
        Failure::new(FailureKind::Start, format!("the request cannot be made: {what}: {why}"))
    };
    let fill = |text: &str, used: Use| -> Result<String, TemplateError> {
        Template::parse(text, used)?.render(run, task, used)
    };
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|error| wrong("method", &error))?;
    let url = fill(&call.url, Use::Url).map_err(|error| wrong("url", &error))?;
    let url = check_url(&url).map_err(|error| wrong("url", &error))?;

    let mut headers = HeaderMap::new();
    let mut ours = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    ours(KEY, key);
    ours(ATTEMPT, &run.life.attempt.to_string());
    ours(TRACE, &traceparent(run, task));
    match &call.body {
        Some(HttpBody::Json(_)) => ours(header::CONTENT_TYPE, "application/json"),
        Some(HttpBody::Text(_)) => ours(header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        None => {}
    }
    for (name, value) in &call.headers {
        let what = format!("header {name}");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&what, &error))?;
        if is_ours(&name) {
            return Err(wrong(&what, &"the connection sets it"));
        }
        let value = fill(value, Use::Header).map_err(|error| wrong(&what, &error))?;
        let visible = value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
        let value = HeaderValue::from_str(&value).ok().filter(|_| visible).ok_or_else(|| {
            wrong(&what, &"its value has characters other than visible ASCII; `${…|url}` writes them as %XX")
        })?;
        headers.insert(name, value);
    }
    let body = match &call.body {
        None => Bytes::new(),
        Some(HttpBody::Text(text)) => {
            fill(text, Use::Body).map_err(|error| wrong("body", &error))?.into_bytes().into()
        }
        Some(HttpBody::Json(value)) => {
            let value = render_json(value, run, task).map_err(|error| wrong("body", &error))?;
            value.to_string().into_bytes().into()
        }
    };
    // Whoever expects a redirect wants to see it.
    let follow = !(300..400).any(|status| call.expects(status));
    Ok(Request { method, url, headers, body, follow })
}
