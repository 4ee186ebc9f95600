//! `logs`: what a run has written.

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
}

impl Logs {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let client = self.target.client()?;
        let run = find::run(&client, &self.run).await?;
        if !self.follow {
            return print_log(&client, run.id).await;
        }
        let waiter = Waiter::new(&client, &self.target, true)?;
        tokio::select! {
            done = waiter.follow(run.id) => done,
            signal = tokio::signal::ctrl_c() => match signal {
                Ok(()) => Err(CliError::silent(Exit::Interrupted as u8)),
                Err(error) => Err(CliError::failed(error)),
            },
        }
    }
}
