//! The error that leaves the house: a code for programs, a message for people.
//!
//! The 13 codes and the rules of nesting are InfluxDB's. Inside, each crate has its own enum; at the edge it
//! becomes one of these.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of error it is, for whoever has to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ErrorCode {
    #[serde(rename = "internal error")]
    Internal,
    #[serde(rename = "not implemented")]
    NotImplemented,
    #[serde(rename = "not found")]
    NotFound,
    #[serde(rename = "conflict")]
    Conflict,
    #[serde(rename = "invalid")]
    Invalid,
    #[serde(rename = "unprocessable entity")]
    UnprocessableEntity,
    #[serde(rename = "empty value")]
    EmptyValue,
    #[serde(rename = "unavailable")]
    Unavailable,
    #[serde(rename = "forbidden")]
    Forbidden,
    #[serde(rename = "too many requests")]
    TooManyRequests,
    #[serde(rename = "unauthorized")]
    Unauthorized,
    #[serde(rename = "method not allowed")]
    MethodNotAllowed,
    #[serde(rename = "request too large")]
    RequestTooLarge,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Internal,
        Self::NotImplemented,
        Self::NotFound,
        Self::Conflict,
        Self::Invalid,
        Self::UnprocessableEntity,
        Self::EmptyValue,
        Self::Unavailable,
        Self::Forbidden,
        Self::TooManyRequests,
        Self::Unauthorized,
        Self::MethodNotAllowed,
        Self::RequestTooLarge,
    ];

    /// The code as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal error",
            Self::NotImplemented => "not implemented",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::UnprocessableEntity => "unprocessable entity",
            Self::EmptyValue => "empty value",
            Self::Unavailable => "unavailable",
            Self::Forbidden => "forbidden",
            Self::TooManyRequests => "too many requests",
            Self::Unauthorized => "unauthorized",
            Self::MethodNotAllowed => "method not allowed",
            Self::RequestTooLarge => "request too large",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An error with an optional code, message and cause. Stays a tree inside; flattened only at the edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<ErrorCode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
}

/// What an error came from: one of ours, or the text of any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Cause {
    Text(String),
    Error(Box<Error>),
}

impl Error {
    /// The text that an error without a code shows to the outside; its own text goes to the log only.
    pub const INTERNAL_MESSAGE: &'static str = "an internal error has occurred; the server's log says more";

    /// An error of this kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: Some(code), message: Some(message.into()), cause: None }
    }

    /// An error of this kind that needs no words of its own.
    #[must_use]
    pub fn of(code: ErrorCode) -> Self {
        Self { code: Some(code), message: None, cause: None }
    }

    /// Puts words in front of another error and leaves its code to it.
    pub fn context(message: impl Into<String>, cause: Error) -> Self {
        Self { code: None, message: Some(message.into()), cause: Some(Cause::Error(Box::new(cause))) }
    }

    /// An error of which only its text is known.
    pub fn untyped(cause: impl fmt::Display) -> Self {
        Self { code: None, message: None, cause: Some(Cause::Text(cause.to_string())) }
    }

    /// The same error because of another one of ours.
    #[must_use]
    pub fn because(mut self, cause: Error) -> Self {
        self.cause = Some(Cause::Error(Box::new(cause)));
        self
    }

    /// The same error because of some other one.
    #[must_use]
    pub fn because_text(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(Cause::Text(cause.to_string()));
        self
    }

    /// The outermost code there is; an error without any is internal.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.find_code().unwrap_or(ErrorCode::Internal)
    }

    fn find_code(&self) -> Option<ErrorCode> {
        match (&self.code, &self.cause) {
            (Some(code), _) => Some(*code),
            (None, Some(Cause::Error(cause))) => cause.find_code(),
            (None, _) => None,
        }
    }

    /// What the outside sees: the code, and the messages in one line, outer first. Of an error without any
    /// code only that something internal went wrong.
    #[must_use]
    pub fn flatten(&self) -> Flat {
        match self.find_code() {
            Some(code) => Flat { code, message: self.to_string() },
            None => Flat { code: ErrorCode::Internal, message: Self::INTERNAL_MESSAGE.to_owned() },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.message, &self.cause) {
            (Some(message), None) => f.write_str(message),
            (Some(message), Some(cause)) => write!(f, "{message}: {cause}"),
            (None, Some(cause)) => write!(f, "{cause}"),
            (None, None) => write!(f, "<{}>", self.code()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Error(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

/// An error as it leaves the house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flat {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// ER01
    #[test]
    fn er01_message_forms() {
        let eof = || Error::new(ErrorCode::Invalid, "EOF");
        assert_eq!(Error::of(ErrorCode::NotFound).to_string(), "<not found>");
        assert_eq!(Error::new(ErrorCode::NotFound, "task not found").to_string(), "task not found");
        assert_eq!(Error::untyped("EOF").to_string(), "EOF");
        assert_eq!(Error::of(ErrorCode::Internal).because(eof()).to_string(), "EOF");
        let plain = Error::new(ErrorCode::Internal, "something bad happened").because_text("EOF");
        let typed = Error::new(ErrorCode::Internal, "something bad happened").because(eof());
        assert_eq!(plain.to_string(), "something bad happened: EOF");
        assert_eq!(typed.to_string(), "something bad happened: EOF");
    }

    /// ER03
    #[test]
    fn er03_json_keeps_the_nesting() {
        let error = Error::context(
            "failed to decode request",
            Error::new(ErrorCode::NotFound, "org not found").because_text("EOF"),
        );
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<Error>(&text).unwrap(), error);
    }

    #[test]
    fn the_outermost_code_wins_and_an_untyped_error_keeps_its_text_to_itself() {
        let inner = Error::new(ErrorCode::NotFound, "task not found");
        let outer = Error::new(ErrorCode::Invalid, "bad request").because(inner.clone());
        assert_eq!(outer.code(), ErrorCode::Invalid);
        assert_eq!(
            serde_json::to_value(outer.flatten()).unwrap(),
            json!({"code": "invalid", "message": "bad request: task not found"})
        );
        assert_eq!(Error::context("outer", inner).flatten().code, ErrorCode::NotFound);
        let secret = Error::untyped("password is 1234").flatten();
        assert_eq!(secret.code, ErrorCode::Internal);
        assert!(!secret.message.contains("1234"));
    }

    #[test]
    fn all_thirteen_codes_are_written_as_they_are_read() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), json!(code.as_str()));
        }
    }
}
