//! Who is asking. A handler that does anything takes a [`Caller`] or a [`Writer`], which cannot be had without the
//! check: no path is protected by its spelling.

use crate::api::Api;
use crate::problem::Problem;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use punctual_model::ErrorCode;

/// Through which door a request came; every request carries one as an extension. Without it nobody gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A unix socket that only its owner can open, or a program that has checked the caller itself.
    Trusted,
    /// TCP on a loopback address, at this port.
    Loopback(u16),
}

/// Somebody who may ask.
#[derive(Debug)]
pub(crate) struct Caller(());

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let allowed = match parts.extensions.get::<Door>() {
            Some(Door::Trusted) => true,
            Some(Door::Loopback(_)) => {
                let token = api.parts().token.as_ref();
                token.zip(bearer(&parts.headers)).is_some_and(|(token, shown)| token.is(shown))
            }
            None => false,
        };
        if allowed { Ok(Self(())) } else { Err(Problem::unauthorized()) }
    }
}

/// The credential of an `Authorization` header; none if there are several.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, shown) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(shown.trim())
}

/// Somebody who may change things, while things can be changed.
#[derive(Debug)]
pub(crate) struct Writer(());

impl FromRequestParts<Api> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Caller::from_request_parts(parts, api).await?;
        if api.is_stopping() { Err(Problem::stopping()) } else { Ok(Self(())) }
    }
}

/// Before anything else of a request that came by TCP: it has to be meant for us, and by no other site. A browser
/// that was told a name with our address (DNS rebinding) sends that name; a page of another site says where it is
/// from.
pub(crate) async fn refuse_strangers(State(_): State<Api>, request: Request, next: Next) -> Response {
    if let Some(Door::Loopback(port)) = request.extensions().get::<Door>().copied()
        && let Err(problem) = meant_for_us(&request, port)
    {
        return problem.into_response();
    }
    next.run(request).await
}

fn meant_for_us(request: &Request, port: u16) -> Result<(), Problem> {
    let (headers, uri) = (request.headers(), request.uri());
    let mut hosts = headers.get_all(header::HOST).iter();
    let one = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(|host| is_us(host, port)),
        _ => false,
    };
    // The absolute form names it a second time.
    let also = uri.authority().is_none_or(|authority| is_us(authority.as_str(), port));
    if !one || !also {
        let message = format!("this is reached as 127.0.0.1:{port}, [::1]:{port} or localhost:{port} only");
        return Err(Problem::invalid(message).with_status(StatusCode::MISDIRECTED_REQUEST));
    }
    let foreign = Problem::new(ErrorCode::Forbidden, "a page of another site must not do this");
    for origin in headers.get_all(header::ORIGIN) {
        let ours = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        if !ours.is_some_and(|host| is_us(host, port)) {
            return Err(foreign);
        }
    }
    for site in headers.get_all("sec-fetch-site") {
        if !matches!(site.as_bytes(), b"same-origin" | b"none") {
            return Err(foreign);
        }
    }
    Ok(())
}

/// Whether this `Host` is a loopback name or address with our port.
fn is_us(host: &str, port: u16) -> bool {
    /// What a client leaves out.
    const HTTP: u16 = 80;
    let (name, named) = match host.rsplit_once(':') {
        Some((name, digits)) if !digits.ends_with(']') => {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            (name, plain.then(|| digits.parse().ok()).flatten())
        }
        _ => (host, Some(HTTP)),
    };
    let loopback = name.eq_ignore_ascii_case("localhost") || matches!(name, "127.0.0.1" | "[::1]");
    loopback && named == Some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_with_our_port_are_us() {
        for host in ["127.0.0.1:7878", "localhost:7878", "LocalHost:7878", "[::1]:7878"] {
            assert!(is_us(host, 7878), "{host}");
        }
        for host in [
            "",
            "evil.test",
            "evil.test:7878",
            "127.0.0.1",
            "localhost",
            "[::1]",
            "127.0.0.1:78780",
            "127.0.0.1:+7878",
            "127.0.0.1:7878.evil.test",
            "localhost.:7878",
            "localhost.evil.test:7878",
            "127.1:7878",
            "2130706433:7878",
            "0.0.0.0:7878",
            "[::]:7878",
            "::1:7878",
            "[::ffff:127.0.0.1]:7878",
            "user@127.0.0.1:7878",
            "127.0.0.1:",
            "127.0.0.2:7878",
            " 127.0.0.1:7878",
        ] {
            assert!(!is_us(host, 7878), "{host}");
        }
        assert!(is_us("localhost", 80) && is_us("[::1]", 80) && is_us("localhost:80", 80));
    }
}
