//! What the node has done and how it stands, as numbers for a monitoring system.

use crate::api::Api;
use crate::caller::Caller;
use crate::metrics::{CONTENT_TYPE, render};
use crate::problem::Problem;
use crate::request::Query;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use punctual_model::ErrorCode;

pub(super) async fn metrics(_: Caller, State(api): State<Api>, query: Query) -> Result<Response, Problem> {
    query.only(&[])?;
    let text = render(&api).map_err(|error| Problem::new(ErrorCode::Internal, error))?;
    let content_type = HeaderValue::from_static(CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
