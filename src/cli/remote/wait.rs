//! Waiting for the end of a run from a terminal: with its log or without, for ever or for a time, and through a
//! restart of the daemon. Detaching leaves the run alone.

use super::client::{Ask, Client, Failure};
use super::target::Target;
use crate::cli::error::{CliError, Exit};
use crate::cli::print_bytes;
use punctual::clock::{Clock, SystemClock};
use punctual::model::{RunId, RunStateName};
use punctual_server::wire::{self, LogLine};
use std::io::Write;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long one request waits before it asks again: below what anything in between takes for dead.
const POLL: &str = "60s";

/// How long a daemon may be away before waiting is given up: a restart takes seconds.
const AWAY: u32 = 60;

/// Pause between two tries to reach it.
const PAUSE: Duration = Duration::from_secs(1);

/// How long after a first Ctrl-C a second one means "cancel".
const SECOND_THOUGHT: Duration = Duration::from_secs(2);

/// Exit codes of `--wait` (docker's scheme, so that `set -e` scripts work).
const TIMED_OUT: u8 = 124;
const LOST: u8 = 121;
const CANCELED: u8 = 130;
const NOT_STARTED: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The exit code that stands for how a run ended.
pub(crate) fn exit_code(run: &wire::Run) -> u8 {
    let outcome = run.outcome.as_ref();
    match run.state {
        RunStateName::Succeeded => 0,
        RunStateName::Canceled => CANCELED,
        RunStateName::Lost => LOST,
        RunStateName::TimedOut => TIMED_OUT,
        _ => match outcome.and_then(|outcome| outcome.exit) {
            // A failure is never 0, and what a byte cannot hold is at least no success.
            Some(wire::Exit::Code(code)) => u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(1),
            Some(wire::Exit::Signal(signal)) => u8::try_from(128 + signal).unwrap_or(255),
            None => match outcome.and_then(|outcome| outcome.error.as_ref()) {
                Some(failure) if failure.kind == "start" && failure.message.contains("(os error 2)") => {
                    NOT_FOUND
                }
                Some(failure) if failure.kind == "start" => NOT_STARTED,
                _ => 1,
            },
        },
    }
}

/// Somebody at a terminal who waits.
pub(crate) struct Waiter<'a> {
    pub(crate) client: &'a Client,
    pub(crate) target: &'a Target,
    pub(crate) clock: SystemClock,
    /// Shows the log meanwhile.
    pub(crate) follow: bool,
}

impl<'a> Waiter<'a> {
    pub(crate) fn new(client: &'a Client, target: &'a Target, follow: bool) -> Result<Self, CliError> {
        let clock =
            SystemClock::new().map_err(|error| CliError::failed(format_args!("no clock: {error}")))?;
        Ok(Self { client, target, clock, follow })
    }

    /// The run as it ended.
    pub(crate) async fn end_of(&self, run: RunId, timeout: Option<Duration>) -> Result<wire::Run, CliError> {
        let mut interrupts = signal(SignalKind::interrupt()).map_err(CliError::failed)?;
        let ended = async {
            if self.follow {
                match self.follow(run).await {
                    // A run whose output is kept no more has an end all the same.
                    Err(error) if error.exit == Exit::NotFound => eprintln!("{error}"),
                    followed => followed?,
                }
            }
            self.poll(run).await
        };
        tokio::pin!(ended);
        let out_of_time = async {
            match timeout {
                Some(timeout) => self.clock.sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            run = &mut ended => return run,
            () = out_of_time => {
                let text = format!("run {run} has not ended in time and goes on; {}", self.come_back(run));
                return Err(CliError::new(Exit::OutOfTime, text));
            }
            _ = interrupts.recv() => {
                eprintln!("\ndetaching, the run goes on; Ctrl-C once more cancels it");
            }
        }
        tokio::select! {
            run = &mut ended => return run,
            () = self.clock.sleep(SECOND_THOUGHT) => {
                let text = format!("run {run} goes on; {}", self.come_back(run));
                return Err(CliError::new(Exit::Interrupted, text));
            }
            _ = interrupts.recv() => eprintln!("canceling run {run}"),
        }
        let _: wire::Run = self.client.ask(Ask::verb(&["runs", &run.to_string()], "cancel")).await?;
        // Whoever has no patience for the kill grace may still go.
        tokio::select! {
            run = &mut ended => run,
            _ = interrupts.recv() => Err(CliError::new(Exit::Interrupted, format_args!("run {run} is being canceled"))),
        }
    }

    fn come_back(&self, run: RunId) -> String {
        format!("come back with: punctual run wait {run}{}", self.target.again())
    }

    /// Waits without a log.
    async fn poll(&self, run: RunId) -> Result<wire::Run, CliError> {
        let mut away = 0;
        loop {
            let ask = Ask::get(&["runs", &run.to_string()]).with("wait", POLL);
            match self.client.ask::<wire::Run>(ask).await {
                Ok(run) if run.has_ended() => return Ok(run),
                Ok(_) => away = 0,
                Err(failure) => self.pause(failure, &mut away).await?,
            }
        }
    }

    /// Shows the log to its end, which is the run's.
    pub(crate) async fn follow(&self, run: RunId) -> Result<(), CliError> {
        let (mut away, mut next) = (0, 0);
        loop {
            match self.read_log(run, &mut next, &mut away).await {
                Ok(()) => return Ok(()),
                Err(failure) => self.pause(failure, &mut away).await?,
            }
        }
    }

    async fn read_log(&self, run: RunId, next: &mut u64, away: &mut u32) -> Result<(), Failure> {
        let ask = Ask::get(&["runs", &run.to_string(), "logs"]).with("follow", true).with("from_seq", *next);
        let mut stream = self.client.stream(ask.header("accept", "application/x-ndjson")).await?;
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(bytes) = stream.next().await? {
            *away = 0;
            buffer.extend_from_slice(&bytes);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(LogLine::End { .. }) => return Ok(()),
                    Ok(LogLine::Error(error)) => return Err(Failure::Unreachable(error.message)),
                    Ok(line) => {
                        if let Some(seen) = show(&line) {
                            *next = seen + 1;
                        }
                    }
                    Err(error) => {
                        return Err(Failure::Nonsense(format!("the log is not understood: {error}")));
                    }
                }
            }
        }
        Err(Failure::Unreachable("the log broke off".to_owned()))
    }

    /// Before another try; gives up what no other try mends.
    async fn pause(&self, failure: Failure, away: &mut u32) -> Result<(), CliError> {
        if !failure.is_passing() || *away >= AWAY {
            return Err(failure.into());
        }
        if *away == 0 {
            eprintln!("{}; trying again", CliError::from(failure));
        }
        *away += 1;
        self.clock.sleep(PAUSE).await;
        Ok(())
    }
}

/// Shows a piece of output where it was written to; answers its number.
fn show(line: &LogLine) -> Option<u64> {
    match line {
        LogLine::Log { seq, stream, .. } => {
            let bytes = line.bytes().unwrap_or_default();
            if stream == "stderr" {
                // Nobody is left to be told that nobody is left.
                let _ = std::io::stderr().lock().write_all(&bytes);
            } else {
                let _ = print_bytes(&bytes);
            }
            Some(*seq)
        }
        LogLine::Dropped { seq, bytes } => {
            eprintln!("[{bytes} bytes of output dropped]");
            Some(*seq)
        }
        LogLine::Heartbeat | LogLine::End { .. } | LogLine::Error(_) => None,
    }
}
