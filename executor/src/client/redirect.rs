//! Which redirects are followed, and with what.
//!
//! Within one origin a request goes on as it is. To another one it goes on without anything that the task gave
//! it: headers may hold credentials under any name, and a body is meant for whom it was written to.

use super::{ClientError, Request, Response, url};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, StatusCode};

/// What follows an answer.
pub(super) enum Next {
    /// Nothing: it is the answer.
    Answer,
    /// Another request.
    Follow(Box<Request>),
}

/// Headers that say nothing but what kind of answer is wanted: they may go to another origin.
const HARMLESS: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_LANGUAGE, header::USER_AGENT];

/// Decides. A redirect without a location, or one that would change what is asked for, is the answer.
pub(super) fn next(request: &Request, response: &Response) -> Result<Next, ClientError> {
    let Some(location) = response.headers.get(header::LOCATION) else { return Ok(Next::Answer) };
    if !request.follow {
        return Ok(Next::Answer);
    }
    let safe = matches!(request.method, Method::GET | Method::HEAD);
    let method = match response.status {
        StatusCode::SEE_OTHER if !safe => Method::GET,
        StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
            request.method.clone()
        }
        // For other methods clients differ in what they send on; whoever wants that gives the right URL.
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if safe => request.method.clone(),
        _ => return Ok(Next::Answer),
    };
    let refused = |why: String| Err(ClientError::Redirect(why));
    let Ok(location) = location.to_str() else {
        return refused("the location is not visible ASCII".to_owned());
    };
    let to = match url::resolve(&request.url, location) {
        Ok(to) => to,
        Err(error) => return refused(format!("the location leads nowhere: {error}")),
    };
    let (from, shown) = (url::shown(&request.url), url::shown(&to));
    if request.url.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
        return refused(format!("{from} leads to {shown}, which is not encrypted"));
    }
    let keeps_body = method == request.method;
    let mut headers = request.headers.clone();
    if !url::same_origin(&request.url, &to) {
        if keeps_body && !safe {
            return refused(format!(
                "{from} leads to {shown}, and a {method} is not sent to another server than the one it was \
                 written for"
            ));
        }
        headers = headers.into_iter().fold((HeaderMap::new(), None), only_harmless).0;
    }
    let body = if keeps_body {
        request.body.clone()
    } else {
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_ENCODING);
        Bytes::new()
    };
    // A GET may have a body too; to another origin it does not go along.
    let body = if url::same_origin(&request.url, &to) { body } else { Bytes::new() };
    Ok(Next::Follow(Box::new(Request { method, url: to, headers, body, follow: true })))
}

/// A map gives the name only with its first value.
fn only_harmless(
    (mut kept, mut last): (HeaderMap, Option<HeaderName>),
    (name, value): (Option<HeaderName>, header::HeaderValue),
) -> (HeaderMap, Option<HeaderName>) {
    last = name.or(last);
    if let Some(name) = last.as_ref().filter(|name| HARMLESS.contains(name)) {
        kept.append(name.clone(), value);
    }
    (kept, last)
}
