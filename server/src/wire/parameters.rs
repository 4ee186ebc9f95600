//! What a run of a task takes, as its user writes it.

use super::twin;
use punctual_model::parameters;
use serde::{Deserialize, Serialize};

/// What a run takes that somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::Parameters`")]
pub struct Parameters {
    pub payload: Payload,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub optional: Vec<String>,
}

impl From<Parameters> for parameters::Parameters {
    fn from(Parameters { payload, required, optional }: Parameters) -> Self {
        Self { payload: payload.into(), required, optional }
    }
}

impl From<parameters::Parameters> for Parameters {
    fn from(parameters::Parameters { payload, required, optional }: parameters::Parameters) -> Self {
        Self { payload: payload.into(), required, optional }
    }
}

/// Whether parameters are to be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Payload {
    #[default]
    Optional,
    Required,
    Forbidden,
}
twin!(Payload, parameters::Payload { Optional, Required, Forbidden });
