//! What a run has written: the whole, or following until its end. Memory is bounded, however slowly it is read.

use super::runs::run_id;
use crate::api::Api;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::{Query, Target};
use crate::wire::LogLine;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream::{BoxStream, StreamExt as _, iter, once, unfold};
use punctual_clock::{Clock, Wait};
use punctual_executor::RunPromise;
use punctual_executor::Stream;
use punctual_executor::output::{Content, Frame, Search};
use punctual_model::{ErrorCode, RunId};
use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// After how long without output a follower is told that the connection is alive: below what proxies and
/// firewalls take for dead.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The bytes as they were written, with a line for people where some are gone.
    Text,
    /// The bytes of one stream, and nothing else.
    Raw,
    /// One JSON object a line.
    Lines,
    /// Server-sent events.
    Events,
}

impl Form {
    fn asked(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("text/event-stream") {
            Self::Events
        } else if accept.contains("application/x-ndjson") {
            Self::Lines
        } else {
            Self::Text
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Raw => "application/octet-stream",
            Self::Text => "text/plain; charset=utf-8",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        })
    }

    fn frame(self, frame: Frame) -> Bytes {
        match self {
            Self::Text | Self::Raw => frame.content.show().into_owned().into(),
            Self::Lines | Self::Events => {
                let sequence = frame.sequence;
                self.line(&LogLine::of(frame), Some(sequence))
            }
        }
    }

    fn line(self, line: &LogLine, sequence: Option<u64>) -> Bytes {
        // These types have no form that is no JSON.
        let json = serde_json::to_string(line).unwrap_or_default();
        match (self, line) {
            (Self::Text | Self::Raw, _) => Bytes::new(),
            (Self::Lines, _) => format!("{json}\n").into(),
            (Self::Events, LogLine::Heartbeat) => Bytes::from_static(b":\n\n"),
            (Self::Events, line) => {
                let id = sequence.map(|sequence| format!("id: {sequence}\n")).unwrap_or_default();
                let name = match line {
                    LogLine::End { .. } => "end",
                    LogLine::Error(_) => "error",
                    _ => "log",
                };
                format!("{id}event: {name}\ndata: {json}\n\n").into()
            }
        }
    }
}

pub(super) async fn logs(
    _: Caller,
    State(api): State<Api>,
    Target(run): Target,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.only(&["follow", "from_seq", "raw", "search"])?;
    let id = run_id(&run)?;
    let raw = query.with("raw", "stdout, stderr or log", Stream::parse)?;
    let search = query.text("search")?.map(Search::new);
    let (follow, form) =
        (query.flag("follow")?, if raw.is_some() { Form::Raw } else { Form::asked(&headers) });
    let from = match query.parsed("from_seq", "a number")? {
        Some(from) => from,
        None => last_seen(&headers).map_or(0, |seen| seen.saturating_add(1)),
    };
    let outputs = &api.parts().outputs;
    let chosen = |frames| only(frames, raw, search);
    let promise = api.tasks().promise(id).await?;
    still_there(&api, id).await?;
    let body = if follow {
        let ended = {
            let promise = Arc::clone(&promise);
            async move { drop(promise.wait().await) }
        };
        let frames = outputs.follow(id, from, Arc::clone(&api.parts().clock), ended);
        followed(chosen(frames), promise, Arc::clone(&api.parts().clock), form)
    } else {
        let frames = outputs.follow(id, from, Arc::clone(&api.parts().clock), ready(()));
        Body::from_stream(chosen(frames).map(move |frame| frame.map(|frame| form.frame(frame))))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, form.content_type());
    Ok(response)
}

/// Says so if the run has written something and nothing of it is kept: an empty answer would be a lie.
async fn still_there(api: &Api, id: RunId) -> Result<(), Problem> {
    let outputs = api.parts().outputs.clone();
    let is_kept = tokio::task::spawn_blocking(move || outputs.is_kept(id)).await;
    // Of whoever died while looking nothing is known; reading will tell.
    if is_kept.unwrap_or(true) {
        return Ok(());
    }
    let run = api.tasks().run(id).await?;
    match run.outcome.and_then(|outcome| outcome.output) {
        Some(output) if output.bytes > 0 && run.life.state.is_terminal() => Err(gone(id)),
        _ => Ok(()),
    }
}

fn gone(run: RunId) -> Problem {
    let message = format!("the output of run {run} was removed by its retention");
    Problem::new(ErrorCode::NotFound, message).with_status(StatusCode::GONE)
}

/// Of these frames, those that were asked for: of one stream, with nothing in place of what is gone; or the lines
/// that contain a text.
fn only(
    frames: BoxStream<'static, io::Result<Frame>>,
    raw: Option<Stream>,
    search: Option<Search>,
) -> BoxStream<'static, io::Result<Frame>> {
    let frames = match raw {
        None => frames,
        Some(raw) => frames
            .filter(move |frame| {
                let is_of =
                    |content: &Content| matches!(content, Content::Bytes { stream, .. } if *stream == raw);
                ready(frame.as_ref().map_or(true, |frame| is_of(&frame.content)))
            })
            .boxed(),
    };
    let Some(search) = search else { return frames };
    let with_end = frames.map(Some).chain(once(ready(None)));
    let found = with_end.scan(search, |search, next| {
        let lines: Vec<io::Result<Frame>> = match next {
            Some(Ok(frame)) => search.take(frame).into_iter().map(Ok).collect(),
            Some(Err(error)) => vec![Err(error)],
            None => search.rest().into_iter().map(Ok).collect(),
        };
        ready(Some(iter(lines)))
    });
    found.flatten().boxed()
}

/// Where a browser's event source has got to before it lost the connection.
fn last_seen(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

struct Following {
    frames: BoxStream<'static, io::Result<Frame>>,
    promise: Arc<dyn RunPromise>,
    clock: Arc<dyn Clock>,
    quiet: Wait,
    form: Form,
}

fn followed(
    frames: BoxStream<'static, io::Result<Frame>>,
    promise: Arc<dyn RunPromise>,
    clock: Arc<dyn Clock>,
    form: Form,
) -> Body {
    let quiet = clock.sleep(HEARTBEAT);
    let following = Following { frames, promise, clock, quiet, form };
    let stream = unfold(Some(following), async |following| {
        let mut following = following?;
        match following.next().await {
            Ok(Step::More(bytes)) => Some((Ok(bytes), Some(following))),
            Ok(Step::Last(bytes)) => Some((Ok(bytes), None)),
            Err(error) => Some((Err(error), None)),
        }
    });
    Body::from_stream(stream)
}

enum Step {
    More(Bytes),
    Last(Bytes),
}

impl Following {
    async fn next(&mut self) -> io::Result<Step> {
        let form = self.form;
        tokio::select! {
            biased;
            frame = self.frames.next() => match frame {
                Some(frame) => {
                    self.quiet = self.clock.sleep(HEARTBEAT);
                    Ok(Step::More(form.frame(frame?)))
                }
                None => Ok(Step::Last(form.line(&end(&*self.promise).await, None))),
            },
            () = &mut self.quiet => {
                self.quiet = self.clock.sleep(HEARTBEAT);
                Ok(Step::More(form.line(&LogLine::Heartbeat, None)))
            }
        }
    }
}

/// The last line. The promise has resolved, or never will here.
async fn end(promise: &dyn RunPromise) -> LogLine {
    match promise.wait().await {
        Ok(run) => LogLine::End { run: run.id, state: run.state().name() },
        Err(error) => LogLine::Error(Problem::from(error).into_error()),
    }
}
