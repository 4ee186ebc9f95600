//! Shows that no acknowledgement leaves before its sync.
//!
//! `acknowledged run DATA CALLERS COUNT` writes a line before each `run now` and one after its answer, and the
//! same around the end of each run, each with a single write to standard output. Traced with
//!
//! ```text
//! strace -f -y -e trace=write,fdatasync,fsync -o TRACE acknowledged run DATA 64 200
//! acknowledged check TRACE DATA
//! ```
//!
//! the check wants, between each request and its answer, something written to a journal of the database and a
//! completed sync of a journal that began after it. Built with the feature `inject` and run with `PUNCTUAL_DEFECT=answer-before-sync` it has to
//! fail.

use punctual::executor::drivers::handler::{Handlers, RunCtx, TaskError};
use punctual::prelude::*;
use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;

/// One line, one write: that is what the trace is searched for.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Standard output is line buffered at most; a whole line leaves in one write.
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

async fn work(ctx: RunCtx) -> Result<(), TaskError> {
    // From here on the end of this run is asked for.
    say(&format!("request end-of-{}", ctx.run_id()));
    Ok(())
}

async fn run(data: &str, callers: usize, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let handlers = Handlers::new().add("work", work);
    let punctual = Punctual::builder().data_dir(data).handlers(handlers);
    let punctual = punctual.start().await?;
    let task = punctual.tasks().create(TaskSpec::new("work", Work::handler("work"))).await?.stored.task.id;
    let mut workers = Vec::new();
    for caller in 0..callers {
        let tasks = punctual.tasks();
        workers.push(tokio::spawn(async move {
            for n in 0..count {
                let request = format!("{caller}.{n}");
                say(&format!("request {request}"));
                let accepted = tasks.run_now(task, RunRequest::default()).await?;
                say(&format!("answer {request}"));
                let run = accepted.promise.wait().await?;
                say(&format!("answer end-of-{}", run.id));
            }
            Ok::<_, punctual::Error>(())
        }));
    }
    for worker in workers {
        worker.await??;
    }
    punctual.stop().await?;
    Ok(())
}

/// A sync as the trace tells it: the lines at which it began and ended.
struct Sync {
    began: usize,
    ended: usize,
}

/// Reads a trace and answers how many acknowledgements it held, or the first one without its sync.
fn check(trace: &str, data: &str) -> Result<usize, String> {
    let journal = format!("{}/db/", data.trim_end_matches('/'));
    let mut begun: HashMap<&str, usize> = HashMap::new();
    let mut syncs: Vec<Sync> = Vec::new();
    let mut writes: Vec<usize> = Vec::new();
    let mut requests: HashMap<&str, usize> = HashMap::new();
    let mut answers: Vec<(&str, usize)> = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else { continue };
        let call = call.trim_start();
        if call.starts_with("fdatasync(") || call.starts_with("fsync(") {
            // Only journals make a commit durable; tables and directories are synced for other reasons.
            if !(call.contains(&journal) && (call.contains(".jnl") || call.contains("/journal"))) {
                continue;
            }
            if call.ends_with("= 0") {
                syncs.push(Sync { began: at, ended: at });
            } else if call.contains("<unfinished") {
                begun.insert(thread, at);
            }
        } else if call.starts_with("<... fdatasync resumed") || call.starts_with("<... fsync resumed") {
            if let Some(began) = begun.remove(thread)
                && call.ends_with("= 0")
            {
                syncs.push(Sync { began, ended: at });
            }
        } else if let Some(text) = call.strip_prefix("write(") {
            let said = |what: &str| {
                let start = text.find(&format!("\"{what} "))? + what.len() + 2;
                text[start..].split("\\n").next()
            };
            if let Some(name) = said("request") {
                requests.insert(name, at);
            } else if let Some(name) = said("answer") {
                answers.push((name, at));
            } else if text.contains(&journal) && text.contains(".jnl>") {
                writes.push(at);
            }
        }
    }
    for (name, answered) in &answers {
        let requested = requests.get(name).ok_or(format!("answer {name} without a request"))?;
        let written = writes.iter().find(|written| *written > requested);
        if !syncs.iter().any(|sync| written.is_some_and(|at| sync.began > *at) && sync.ended < *answered) {
            return Err(format!(
                "answer {name} (line {}) left without a write after its request (line {}) and a sync that began later",
                answered + 1,
                requested + 1
            ));
        }
    }
    if answers.is_empty() || syncs.is_empty() {
        return Err(format!("nothing to check: {} answers, {} syncs", answers.len(), syncs.len()));
    }
    Ok(answers.len())
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["run", data, callers, count] => match (callers.parse(), count.parse()) {
            (Ok(callers), Ok(count)) => run(data, callers, count).await.map_err(|error| error.to_string()),
            _ => Err("CALLERS and COUNT are numbers".to_owned()),
        },
        ["check", trace, data] => std::fs::read_to_string(trace)
            .map_err(|error| error.to_string())
            .and_then(|trace| check(&trace, data))
            .map(|answers| println!("{answers} acknowledgements, each after a sync of its own time")),
        _ => Err("expected: run DATA CALLERS COUNT or check TRACE DATA".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
