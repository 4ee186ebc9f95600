//! How a request fails: a status and `{"code", "message"}`. An untyped error never shows its own text; that goes
//! to the log.

use crate::wire;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use punctual_coordinator as coordinator;
use punctual_model::{Error as Edge, ErrorCode};
use std::fmt::Display;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    error: wire::Error,
}

impl Problem {
    pub(crate) fn new(code: ErrorCode, message: impl Display) -> Self {
        Self { status: status(code), error: wire::Error { code, message: message.to_string() } }
    }

    pub(crate) fn invalid(message: impl Display) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "this needs the header `Authorization: Bearer TOKEN`; the token is in the file admin-token of \
                       the data directory";
        Self::new(ErrorCode::Unauthorized, message)
    }

    pub(crate) fn stopping() -> Self {
        Self::new(ErrorCode::Unavailable, "the node is stopping; ask again when it is back")
    }

    /// The same with a status that says it more exactly than the code does.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// What a stream that has begun already says in place of an answer.
    pub(crate) fn into_error(self) -> wire::Error {
        self.error
    }

    /// An error of ours, its text to the log if nobody outside may see it.
    pub(crate) fn of(error: Edge) -> Self {
        let flat = error.flatten();
        if flat.code == ErrorCode::Internal {
            tracing::error!(%error, "a request failed");
        }
        Self::new(flat.code, flat.message)
    }
}

impl From<coordinator::Error> for Problem {
    fn from(error: coordinator::Error) -> Self {
        Self::of(error.into())
    }
}

impl From<punctual_executor::Error> for Problem {
    fn from(error: punctual_executor::Error) -> Self {
        coordinator::Error::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, error } = self;
        let mut response = json(status, &error);
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"punctual\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            let text = format!(r#"{{"code":"internal error","message":"{}"}}"#, Edge::INTERNAL_MESSAGE);
            (StatusCode::INTERNAL_SERVER_ERROR, text.into_bytes())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The status of each code. A conflict is 409 here; the compatible API has it as 422.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::Invalid | ErrorCode::EmptyValue => StatusCode::BAD_REQUEST,
        ErrorCode::UnprocessableEntity => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    }
}
