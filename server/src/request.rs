//! What a request says, read strictly: an unknown parameter or field is a mistake and is told, with what may have
//! been meant.

use crate::api::Api;
use crate::problem::Problem;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use punctual_model::{ErrorCode, duration};
use serde::de::DeserializeOwned;
use std::error::Error as _;
use std::str::FromStr;
use std::time::Duration;

/// Largest body: the largest definition is a twentieth of it.
pub const MAX_BODY: usize = 1 << 20;

/// How long a body may take to arrive: a slow line, but no connection that is held for nothing.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// How alike two words have to be (Jaro-Winkler) for one to be taken for a slip of the other.
const ALIKE: f64 = 0.8;

/// The last part of the path: an id or a name, perhaps with `:verb` behind it.
#[derive(Debug)]
pub(crate) struct Target(pub(crate) String);

impl FromRequestParts<Api> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, api).await {
            Ok(Path(target)) => Ok(Self(target)),
            Err(_) => Err(Problem::invalid("the path is not UTF-8")),
        }
    }
}

/// The parameters behind the `?`.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl FromRequestParts<Api> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let text = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
    }
}

impl Query {
    /// Refuses every parameter but these.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(self),
            Some((name, _)) => {
                let hint = hint(name, known.iter().copied());
                Err(Problem::invalid(format_args!("unknown parameter {name:?}{hint}")))
            }
        }
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Problem> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (value, None) => Ok(value),
            _ => Err(Problem::invalid(format_args!("parameter {name:?} is given twice"))),
        }
    }

    /// The parameter as what it stands for; `expected` says what that is.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        self.with(name, expected, |text| text.parse().ok())
    }

    pub(crate) fn with<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let wrong = || Problem::invalid(format_args!("parameter {name:?}: {text:?}, expected {expected}"));
        read(text).map(Some).ok_or_else(wrong)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        let read = |text: &str| match text {
            "" | "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        };
        Ok(self.with(name, "true or false", read)?.unwrap_or(false))
    }

    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        self.with(name, "a duration such as 30s", |text| duration::parse(text).ok())
    }
}

/// The body as JSON; none if it is empty.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) Option<T>);

impl<T> Json<T> {
    /// The body, where there has to be one.
    pub(crate) fn required(self) -> Result<T, Problem> {
        self.0.ok_or_else(|| Problem::new(ErrorCode::EmptyValue, "this needs a body of JSON"))
    }
}

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let bytes = body(request.into_body(), api).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        // A page of another site can send a form or plain text without asking, and no JSON.
        if !is_json {
            return Err(Problem::invalid("the body has to be JSON, with `Content-Type: application/json`"));
        }
        parse(&bytes).map(|value| Self(Some(value)))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn body(body: Body, api: &Api) -> Result<axum::body::Bytes, Problem> {
    let read = tokio::select! {
        read = to_bytes(body, MAX_BODY) => read,
        () = api.clock().sleep(BODY_PATIENCE) => {
            let message = "the body did not arrive in time";
            return Err(Problem::invalid(message).with_status(StatusCode::REQUEST_TIMEOUT));
        }
    };
    read.map_err(|error| {
        // The only error of ours; all others are the connection's.
        let too_large = error.source().is_some_and(|source| source.to_string().contains("length limit"));
        if too_large {
            Problem::new(ErrorCode::RequestTooLarge, format_args!("a body has at most {MAX_BODY} bytes"))
        } else {
            Problem::invalid("the body could not be read")
        }
    })
}

/// Reads JSON into a closed type.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let hint = unknown_field(&text).unwrap_or_default();
        Problem::invalid(format_args!("{text}{hint}"))
    })
}

/// What may have been meant by a field that serde does not know. Its own words name the field and all known ones in
/// backticks; were they ever to change, only the hint would be missing.
fn unknown_field(text: &str) -> Option<String> {
    let rest = text.strip_prefix("unknown ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let given = quoted.next()?;
    Some(hint(given, quoted))
}

/// `; did you mean "x"?` if one of the known words is like the given one.
pub(crate) fn hint<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let scored = known.map(|word| (strsim::jaro_winkler(given, word), word));
    let best = scored.filter(|(score, _)| *score >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, word)| format!("; did you mean {word:?}?")).unwrap_or_default()
}

/// The revision that `If-Match` names: `"r17"`; none if the header is missing or `*`.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut all = headers.get_all(header::IF_MATCH).iter();
    let text = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().unwrap_or_default().trim(),
        _ => "",
    };
    if text == "*" {
        return Ok(None);
    }
    let revision = text.strip_prefix("\"r").and_then(|rest| rest.strip_suffix('"'));
    let revision = revision.and_then(|digits| digits.parse().ok());
    let wrong = || Problem::invalid("If-Match: expected the ETag of an earlier answer, such as \"r17\"");
    revision.map(Some).ok_or_else(wrong)
}
