//! `logs`: what a run has written.

use super::client::Ask;
use super::find;
use super::run::print_log;
use super::target::Target;
use super::wait::Waiter;
use crate::cli::error::{CliError, Exit};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The run, by id or a beginning of it; a task's name means its newest run
    run: String,
    #[command(flatten)]
    target: Target,
    /// Go on until the run ends; Ctrl-C leaves the run alone
    #[arg(short, long)]
    follow: bool,
    /// Only the exact bytes of one stream, with nothing in place of what is gone
    #[arg(long, value_name = "STREAM", value_parser = ["stdout", "stderr", "log"])]
    raw: Option<String>,
    /// Only lines that contain this text
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
}

impl Logs {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let client = self.target.client()?;
        let run = find::run(&client, &self.run).await?;
        let chosen = self.raw.is_some() || self.grep.is_some();
        let shown = async {
            if self.follow && !chosen {
                return Waiter::new(&client, &self.target, true)?.follow(run.id).await;
            }
            let mut ask = Ask::get(&["runs", &run.id.to_string(), "logs"]);
            let follow = self.follow.then_some("1");
            let asked = [("follow", follow), ("raw", self.raw.as_deref()), ("search", self.grep.as_deref())];
            for (name, value) in asked {
                ask = value.map_or(ask.clone(), |value| ask.with(name, value));
            }
            print_log(&client, ask).await
        };
        tokio::select! {
            done = shown => done,
            signal = tokio::signal::ctrl_c() => match signal {
                Ok(()) => Err(CliError::silent(Exit::Interrupted as u8)),
                Err(error) => Err(CliError::failed(error)),
            },
        }
    }
}
