//! `apply`: makes tasks of a daemon what files say. Shows the plan first; one mistake changes nothing.

use super::client::{Ask, Client};
use super::find::Task;
use super::target::Target;
use crate::cli::error::{CliError, Exit};
use crate::cli::{Output, OutputArg, print_json, print_text, task_file};
use clap::Args;
use punctual_server::wire;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A TOML file of tasks, or a directory of them
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also delete the tasks with this label (key=value) that no file names; those that the files name get it
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::run::pair)]
    prune: Option<(String, String)>,
    #[command(flatten)]
    output: OutputArg,
}

/// What is to be done with one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
    Delete,
    Keep,
}

impl Verb {
    fn mark(self) -> char {
        match self {
            Self::Create => '+',
            Self::Update => '~',
            Self::Delete => '-',
            Self::Keep => '=',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Keep => "keep",
        }
    }
}

struct Step {
    verb: Verb,
    name: String,
    spec: Option<wire::TaskSpec>,
    stored: Option<Task>,
    /// Names of the settings that differ.
    changed: Vec<String>,
}

impl Apply {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let specs = self.specs()?;
        let client = self.target.client()?;
        let steps = self.plan(&client, specs).await?;
        let mut wrong = Vec::new();
        for step in &steps {
            if let Err(error) = judge(&client, step).await {
                if error.exit == Exit::Unreachable {
                    return Err(error);
                }
                wrong.push(format!("task {:?}: {error}", step.name));
            }
        }
        if !wrong.is_empty() {
            return Err(CliError::usage(format_args!("nothing was changed:\n  {}", wrong.join("\n  "))));
        }
        if !self.dry_run {
            for step in &steps {
                carry_out(&client, step).await.map_err(|error| {
                    CliError::new(
                        error.exit,
                        format_args!("task {:?}, with those before it done: {error}", step.name),
                    )
                })?;
            }
        }
        self.tell(&steps)
    }

    fn specs(&self) -> Result<Vec<wire::TaskSpec>, CliError> {
        let mut specs: Vec<wire::TaskSpec> = Vec::new();
        for path in &self.files {
            for file in task_file::read_all(path).map_err(CliError::usage)? {
                for mut spec in file.tasks {
                    if let Some((key, value)) = &self.prune {
                        spec.labels.insert(key.clone(), value.clone());
                    }
                    if specs.iter().any(|other| other.name == spec.name) {
                        return Err(CliError::usage(format_args!("task {:?} is named twice", spec.name)));
                    }
                    specs.push(spec.into());
                }
            }
        }
        Ok(specs)
    }

    async fn plan(&self, client: &Client, specs: Vec<wire::TaskSpec>) -> Result<Vec<Step>, CliError> {
        let mut steps = Vec::with_capacity(specs.len());
        for spec in specs {
            let stored = match client.ask::<Task>(Ask::get(&["tasks", &spec.name])).await {
                Ok(task) => Some(task),
                Err(failure) if failure.is_not_found() => None,
                Err(failure) => return Err(failure.into()),
            };
            let changed = stored.as_ref().map(|task| differing(&task.spec, &json!(spec))).unwrap_or_default();
            let verb = match &stored {
                None => Verb::Create,
                Some(_) if changed.is_empty() => Verb::Keep,
                Some(_) => Verb::Update,
            };
            steps.push(Step { verb, name: spec.name.clone(), spec: Some(spec), stored, changed });
        }
        if let Some((key, value)) = &self.prune {
            let ask = Ask::get(&["tasks"]).with("label", format!("{key}={value}"));
            for task in super::find::tasks(client, ask).await? {
                let name = super::find::name(&task).unwrap_or_default().to_owned();
                if steps.iter().all(|step| step.name != name) {
                    steps.push(Step {
                        verb: Verb::Delete,
                        name,
                        spec: None,
                        stored: Some(task),
                        changed: Vec::new(),
                    });
                }
            }
        }
        Ok(steps)
    }

    fn tell(&self, steps: &[Step]) -> Result<(), CliError> {
        if self.output.output == Output::Json {
            let steps = steps
                .iter()
                .map(|step| json!({"task": step.name, "action": step.verb.name(), "changed": step.changed}));
            return print_json(&json!({"dry_run": self.dry_run, "plan": steps.collect::<Vec<_>>()}));
        }
        let mut text = String::new();
        for step in steps {
            let changed = if step.changed.is_empty() {
                String::new()
            } else {
                format!("  ({})", step.changed.join(", "))
            };
            text.push_str(&format!("{} {}{changed}\n", step.verb.mark(), step.name));
        }
        let count = |verb| steps.iter().filter(|step| step.verb == verb).count();
        let counts = [
            (Verb::Create, "new"),
            (Verb::Update, "changed"),
            (Verb::Delete, "deleted"),
            (Verb::Keep, "unchanged"),
        ]
        .map(|(verb, word)| format!("{} {word}", count(verb)));
        let done = if self.dry_run { " (nothing was done)" } else { "" };
        text.push_str(&format!("{}{done}\n", counts.join(", ")));
        print_text(&text)
    }
}

/// The settings in which two definitions differ.
fn differing(a: &Value, b: &Value) -> Vec<String> {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return vec!["all of it".to_owned()] };
    let mut names: Vec<String> =
        a.keys().chain(b.keys()).filter(|name| a.get(*name) != b.get(*name)).cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// Whether it could be done.
async fn judge(client: &Client, step: &Step) -> Result<(), CliError> {
    if let (Some(Task { owner: wire::Owner::File(path), .. }), false) =
        (&step.stored, step.verb == Verb::Keep)
    {
        return Err(CliError::new(
            Exit::Denied,
            format_args!("it belongs to the daemon's own file {path}, change it there"),
        ));
    }
    let ask = match (step.verb, &step.spec, &step.stored) {
        (Verb::Create, Some(spec), _) => Ask::post(&["tasks"]).body(spec),
        (Verb::Update, Some(spec), Some(stored)) => Ask::put(&["tasks", &stored.id.to_string()]).body(spec),
        _ => return Ok(()),
    };
    let _: Value = client.ask(ask.with("dry_run", true)).await?;
    Ok(())
}

async fn carry_out(client: &Client, step: &Step) -> Result<(), CliError> {
    // Made for what was seen: whoever else changes it meanwhile is not overrun.
    let seen = |stored: &Task| format!("\"r{}\"", stored.revision);
    let ask = match (step.verb, &step.spec, &step.stored) {
        (Verb::Create, Some(spec), _) => Ask::post(&["tasks"]).body(spec),
        (Verb::Update, Some(spec), Some(stored)) => {
            Ask::put(&["tasks", &stored.id.to_string()]).body(spec).header("if-match", seen(stored))
        }
        (Verb::Delete, _, Some(stored)) => {
            Ask::delete(&["tasks", &stored.id.to_string()]).header("if-match", seen(stored))
        }
        _ => return Ok(()),
    };
    let _: Value = client.ask(ask).await?;
    Ok(())
}
