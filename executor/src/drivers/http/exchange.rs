//! One exchange: the request sent, its answer read up to its bound, and what that means.

use super::request;
use crate::client::{Client, ClientError, Request, Response, shown};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use punctual_clock::Clock;
use punctual_model::hook::HttpCall;
use punctual_model::{Failure, FailureKind, Outcome, Run, Task, duration};
use serde_json::{Map, Value, json};

/// The headers of an answer that its outcome keeps: those that say what it is and what to do next. Others may hold
/// secrets, such as cookies.
const KEPT: [header::HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::RETRY_AFTER,
];

/// Longest value of them in bytes, so that all of them fit into a result.
const MAX_KEPT: usize = 1024;

/// What came of it.
pub(super) struct Exchanged {
    pub(super) outcome: Outcome,
    /// For people.
    pub(super) told: String,
}

/// Sends the request of a definition for a run, and hands its answer's body to `out` piece by piece. `key` is what a
/// server may know a repetition by. Dropped, it closes its connection at once.
pub async fn call(
    client: &Client,
    clock: &dyn Clock,
    call: &HttpCall,
    (run, task): (&Run, &Task),
    key: &str,
    out: &mut (dyn FnMut(&[u8]) + Send),
) -> Outcome {
    match request::build(call, run, task, key) {
        Ok(request) => exchange(client, clock, call, &request, out).await.outcome,
        Err(failure) => Outcome::failed(failure),
    }
}

pub(super) async fn exchange(
    client: &Client,
    clock: &dyn Clock,
    call: &HttpCall,
    request: &Request,
    out: &mut (dyn FnMut(&[u8]) + Send),
) -> Exchanged {
    let begun = clock.monotonic();
    let asked = format!("{} {}", request.method, shown(&request.url));
    // What is known so far, should the time be up or the answer break off.
    let mut seen: Option<Seen> = None;
    let ended = tokio::select! {
        biased;
        ended = read(client, call, request, &mut seen, out) => ended.map_err(|error| {
            let failure = Failure::new(FailureKind::Work, error.to_string());
            if error.is_recoverable() { failure.recoverable() } else { failure }
        }),
        () = clock.sleep(call.timeout) => {
            let text = format!("{asked} had no whole answer within {}", duration::format(call.timeout));
            Err(Failure::new(FailureKind::Timeout, text).recoverable())
        }
    };
    let took = duration::format(std::time::Duration::from_millis(
        u64::try_from(clock.monotonic().saturating_sub(begun).as_millis()).unwrap_or(u64::MAX),
    ));
    let mut told = match &seen {
        Some(seen) => format!("{asked}: {seen} in {took}"),
        None => format!("{asked}: no answer in {took}"),
    };
    let error = match (ended, &seen) {
        (Err(failure), _) => {
            told = format!("{told}; {}", failure.message);
            Some(failure)
        }
        (Ok(()), Some(seen)) if !call.expects(seen.status.as_u16()) => {
            let failure = Failure::new(FailureKind::Work, format!("{asked} answered {}", seen.verdict()));
            Some(if is_worth_another(seen.status) { failure.recoverable() } else { failure })
        }
        (Ok(()), _) => None,
    };
    Exchanged { outcome: Outcome { error, result: seen.map(Seen::into_result), ..Outcome::default() }, told }
}

async fn read(
    client: &Client,
    call: &HttpCall,
    request: &Request,
    seen: &mut Option<Seen>,
    out: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<(), ClientError> {
    let mut response = client.send(request).await?;
    let seen = seen.insert(Seen::of(&response));
    while let Some(chunk) = response.chunk().await? {
        let room = usize::try_from(call.max_response - seen.bytes).unwrap_or(usize::MAX);
        let taken = &chunk[..chunk.len().min(room)];
        out(taken);
        seen.bytes += taken.len() as u64;
        if taken.len() < chunk.len() {
            seen.cut = true;
            break;
        }
    }
    Ok(())
}

/// Whether the server itself says that it may go better later: it was too slow, asked too often, or in trouble.
fn is_worth_another(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) || status.is_server_error()
}

/// What is known of an answer.
struct Seen {
    status: StatusCode,
    url: String,
    address: String,
    redirects: u32,
    headers: HeaderMap,
    retry_after: Option<u64>,
    bytes: u64,
    cut: bool,
}

impl Seen {
    fn of(response: &Response) -> Self {
        Self {
            status: response.status,
            url: shown(&response.url),
            address: response.peer.to_string(),
            redirects: response.redirects,
            headers: response.headers.clone(),
            retry_after: response.retry_after(),
            bytes: 0,
            cut: false,
        }
    }

    /// The status, and how long the server wants to be left alone.
    fn verdict(&self) -> String {
        match self.retry_after {
            Some(seconds) => format!("{}, and asks to be left alone for {seconds} s", self.status),
            None => self.status.to_string(),
        }
    }

    fn into_result(self) -> Value {
        let headers: Map<String, Value> = KEPT
            .iter()
            .filter_map(|name| {
                let value = self.headers.get(name)?.as_bytes();
                let value = String::from_utf8_lossy(&value[..value.len().min(MAX_KEPT)]);
                Some((name.to_string(), Value::String(value.into_owned())))
            })
            .collect();
        let mut result = json!({
            "status": self.status.as_u16(),
            "url": self.url,
            "address": self.address,
            "bytes": self.bytes,
            "headers": headers,
        });
        if self.redirects > 0 {
            result["redirects"] = Value::from(self.redirects);
        }
        if self.cut {
            result["truncated"] = Value::Bool(true);
        }
        if let Some(seconds) = self.retry_after {
            result["retry_after"] = Value::from(seconds);
        }
        result
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} from {}, {} bytes", self.verdict(), self.address, self.bytes)?;
        if self.redirects > 0 {
            write!(f, " after {} redirects", self.redirects)?;
        }
        f.write_str(if self.cut { ", the rest was not read" } else { "" })
    }
}
