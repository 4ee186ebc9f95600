//! What a handler may take as parameters.

use super::context::RunCtx;
use super::handlers::States;
use punctual_model::{Failure, FailureKind, Work};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::type_name;

/// A parameter of a handler, made from the run before the handler starts.
pub trait FromRun: Sized {
    /// Makes it.
    ///
    /// # Errors
    /// Why the attempt cannot start.
    fn from_run(context: &RunCtx, states: &States) -> Result<Self, Failure>;
}

/// The task's arguments with the run's parameters laid over them.
#[derive(Debug, Clone)]
pub struct Args<T>(pub T);

impl<T: DeserializeOwned> FromRun for Args<T> {
    fn from_run(context: &RunCtx, _states: &States) -> Result<Self, Failure> {
        let task = match &context.task().spec.work {
            Work::Handler { args, .. } => args,
            Work::Process { .. } | Work::Shell { .. } | Work::Http(_) => &Value::Null,
        };
        T::deserialize(lay_over(task, &context.run().params))
            .map(Self)
            .map_err(|error| Failure::new(FailureKind::Start, format!("arguments do not fit: {error}")))
    }
}

/// Lays parameters over arguments: field by field where both are objects, as a whole otherwise.
pub(super) fn lay_over(args: &Value, params: &Value) -> Value {
    match (args, params) {
        (args, Value::Null) => args.clone(),
        (Value::Object(args), Value::Object(params)) => {
            let mut whole = args.clone();
            whole.extend(params.iter().map(|(name, value)| (name.clone(), value.clone())));
            Value::Object(whole)
        }
        (_, params) => params.clone(),
    }
}

/// What the program gave to its handlers with `with_state`.
#[derive(Debug, Clone)]
pub struct State<S>(pub S);

impl<S: Clone + Send + Sync + 'static> FromRun for State<S> {
    fn from_run(_context: &RunCtx, states: &States) -> Result<Self, Failure> {
        let missing = || {
            let text = format!("no state of type {} was given to the handlers", type_name::<S>());
            Failure::new(FailureKind::Start, text)
        };
        states.get::<S>().cloned().map(Self).ok_or_else(missing)
    }
}

impl FromRun for RunCtx {
    fn from_run(context: &RunCtx, _states: &States) -> Result<Self, Failure> {
        Ok(context.clone())
    }
}
