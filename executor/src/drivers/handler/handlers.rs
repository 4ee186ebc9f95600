//! The handlers of a program, by name, with the state that they share.

use super::context::RunCtx;
use super::error::TaskError;
use super::extract::FromRun;
use futures_util::future::BoxFuture;
use punctual_model::{Failure, Outcome};
use serde::Serialize;
use serde_json::Value;
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Async functions by name. A function takes any of [`super::Args`], [`super::State`] and [`RunCtx`], and gives
/// back a `Result` of something that serde writes, or of an error.
#[derive(Default, Clone)]
pub struct Handlers {
    table: BTreeMap<String, Arc<dyn Registered>>,
    states: States,
}

/// Values by their type.
#[derive(Default, Clone)]
pub struct States(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    /// The value of this type, if one was given.
    #[must_use]
    pub fn get<S: 'static>(&self) -> Option<&S> {
        self.0.get(&TypeId::of::<S>()).and_then(|state| state.downcast_ref())
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").field("count", &self.0.len()).finish()
    }
}

impl Handlers {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives all handlers a value, which those with a [`super::State`] of its type get a clone of. One a type;
    /// a later one replaces an earlier one.
    #[must_use]
    pub fn with_state<S: Clone + Send + Sync + 'static>(mut self, state: S) -> Self {
        self.states.0.insert(TypeId::of::<S>(), Arc::new(state));
        self
    }

    /// Registers a function under the name that tasks use; a later one replaces an earlier one.
    #[must_use]
    pub fn add<P: 'static>(mut self, name: impl Into<String>, handler: impl Handler<P>) -> Self {
        self.table.insert(name.into(), Arc::new(Typed { handler, parameters: PhantomData::<fn(P)> }));
        self
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.table.keys().map(String::as_str)
    }

    pub(super) fn find(&self, name: &str) -> Option<&dyn Registered> {
        self.table.get(name).map(Arc::as_ref)
    }

    pub(super) fn states(&self) -> &States {
        &self.states
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("names", &self.table.keys()).finish_non_exhaustive()
    }
}

type Ended = BoxFuture<'static, Result<Value, TaskError>>;

/// A handler whose parameters are known to nobody but itself.
pub(super) trait Registered: Send + Sync {
    fn call(&self, context: &RunCtx, states: &States) -> Result<Ended, Failure>;
}

struct Typed<H, P> {
    handler: H,
    parameters: PhantomData<fn(P)>,
}

impl<P: 'static, H: Handler<P>> Registered for Typed<H, P> {
    fn call(&self, context: &RunCtx, states: &States) -> Result<Ended, Failure> {
        self.handler.call(context, states)
    }
}

/// An async function that can be a handler; implemented for all functions of up to four parameters.
pub trait Handler<P>: Send + Sync + 'static {
    /// Makes the parameters and begins.
    ///
    /// # Errors
    /// Why a parameter could not be made.
    fn call(&self, context: &RunCtx, states: &States) -> Result<Ended, Failure>;
}

macro_rules! handler {
    ($($parameter:ident),*) => {
        impl<F, Fut, R, $($parameter,)*> Handler<($($parameter,)*)> for F
        where
            F: Fn($($parameter),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoResult,
            $($parameter: FromRun,)*
        {
            #[allow(unused_variables, reason = "a function without parameters takes nothing of it")]
            fn call(&self, context: &RunCtx, states: &States) -> Result<Ended, Failure> {
                let future = self($($parameter::from_run(context, states)?),*);
                Ok(Box::pin(async move { future.await.into_result() }))
            }
        }
    };
}

handler!();
handler!(A);
handler!(A, B);
handler!(A, B, C);
handler!(A, B, C, D);

/// What a handler may give back.
pub trait IntoResult: Send {
    /// The result as it is stored.
    ///
    /// # Errors
    /// The handler's own, or that its result cannot be stored.
    fn into_result(self) -> Result<Value, TaskError>;
}

impl<T: Serialize + Send, E: Into<TaskError> + Send> IntoResult for Result<T, E> {
    fn into_result(self) -> Result<Value, TaskError> {
        let value = serde_json::to_value(self.map_err(Into::into)?)
            .map_err(|error| TaskError::fail(format!("the result is no JSON: {error}")))?;
        // The work is done; a result that does not fit must not make it undone.
        if size_of(&value) > Outcome::MAX_RESULT {
            return Ok(Value::String(format!("result left out: more than {} bytes", Outcome::MAX_RESULT)));
        }
        Ok(value)
    }
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        _ => value.to_string().len(),
    }
}
