//! The environment of a child as its driver gets it: places in the task's variables and working directory are filled
//! with what the run has, what hooks have made ready is laid over, and of the daemon's own environment only what the
//! task names is let through.
//!
//! Places are those of requests (`${run.id}`, `${params.region:-eu}`). Arguments, scripts and standard input have
//! none: those are read by programs that have a language of their own.

use crate::driver::Attempt;
use punctual_model::process::ProcessContext;
use punctual_model::template::{Template, TemplateError, Use};
use punctual_model::{Failure, FailureKind, Task, Work};
use std::sync::Arc;

/// The attempt with everything in its place.
///
/// # Errors
/// If a place has nothing to be filled with: no other attempt goes better.
pub(crate) fn fill(attempt: &Attempt) -> Result<Attempt, Failure> {
    let Some(context) = attempt.task.spec.work.context() else { return Ok(attempt.clone()) };
    let nothing_to_do = attempt.setup.is_none()
        && context.inherit_env.is_empty()
        && !context.env.values().chain(&context.cwd).any(|text| text.contains("${"));
    if nothing_to_do {
        return Ok(attempt.clone());
    }
    let mut task = Task::clone(&attempt.task);
    if let Work::Process { context, .. } | Work::Shell { context, .. } = &mut task.spec.work {
        fill_context(context, attempt)?;
    }
    Ok(Attempt { task: Arc::new(task), ..attempt.clone() })
}

fn fill_context(context: &mut ProcessContext, attempt: &Attempt) -> Result<(), Failure> {
    // That a variable could not be filled may be what a follow-up is to tell: it goes without.
    let is_lenient = attempt.run.trigger.follows().is_some();
    let mut unfilled_by = None;
    context.env.retain(|name, value| match fill_text(value, attempt) {
        Ok(()) => true,
        Err(_) if is_lenient => false,
        Err(error) => {
            unfilled_by.get_or_insert_with(|| unfilled(&format!("the variable {name}"), &error));
            true
        }
    });
    unfilled_by.map_or(Ok(()), Err)?;
    if let Some(cwd) = &mut context.cwd {
        fill_text(cwd, attempt).map_err(|error| unfilled("the working directory", &error))?;
    }
    for name in &context.inherit_env {
        // What is no text cannot be handed on as it is, and is left out like what is not there.
        if let Ok(value) = std::env::var(name) {
            context.env.entry(name.clone()).or_insert(value);
        }
    }
    if let Some(setup) = &attempt.setup {
        context.env.extend(setup.env.clone());
        if context.cwd.is_none() {
            context.cwd = setup.work_dir.as_ref().map(|path| path.display().to_string());
        }
    }
    Ok(())
}

/// A text that is not read as one with places stays as it is: it was accepted before there were any.
fn fill_text(text: &mut String, attempt: &Attempt) -> Result<(), TemplateError> {
    if let Ok(template) = Template::parse(text, Use::Body) {
        *text = template.render(&attempt.run, &attempt.task, Use::Body)?;
    }
    Ok(())
}

fn unfilled(what: &str, error: &TemplateError) -> Failure {
    Failure::new(FailureKind::Start, format!("{what}: {error}"))
}
