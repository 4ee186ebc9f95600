//! Figure 14: the real binary: its size, its memory with nothing to do, and how soon it answers.

use super::Stage;
use crate::Outcome;
use crate::machine::resident_of;
use crate::report::Row;
use crate::targets::{Better, Target};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_punctual");
/// How long a start may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    tokio::task::spawn_blocking(move || measure(&stage)).await?
}

fn measure(stage: &Stage) -> Outcome<Vec<Row>> {
    let home = stage.place.fresh()?;
    let stripped = home.path().join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(BINARY).status();
    let (what, file) = match strip {
        Ok(status) if status.success() => ("the binary, stripped", stripped.as_path()),
        _ => ("the binary (no strip here)", Path::new(BINARY)),
    };
    let size = std::fs::metadata(file)?.len() as f64 / 1e6;
    let data = home.path().join("data");
    stop(serve(&data)?.0)?;
    let (mut ready, mut resident, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.rounds(9) {
        let (child, took) = serve(&data)?;
        ready.push(took);
        std::thread::sleep(Duration::from_millis(500));
        resident.push(resident_of(&child.id().to_string()) as f64 / f64::from(1 << 20));
        stop(child)?;
        let begun = Instant::now();
        Command::new(BINARY).arg("--version").stdout(Stdio::null()).status()?;
        bare.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(vec![
        Row::new(14, what, "MB", vec![size]).target(true, Target::at_most(30.0, 15.0)),
        Row::new(14, "memory of `serve` with nothing to do", "MiB", resident)
            .target(true, Target::at_most(30.0, 15.0)),
        Row::new(14, "`serve` over an existing directory: start to ready", "ms", ready)
            .limit("`--version`", bare, Better::Less)
            .target(true, Target::at_most(150.0, 40.0)),
    ])
}

/// A daemon, and the milliseconds until it said that it is ready.
fn serve(data: &Path) -> Outcome<(Child, f64)> {
    let begun = Instant::now();
    let mut command = Command::new(BINARY);
    command.arg("serve").arg("--data").arg(data).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(Stdio::null()).spawn()?;
    while !is_ready(&data.join("punctual.sock")) {
        if begun.elapsed() > PATIENCE {
            return Err("the daemon does not get ready".into());
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok((child, begun.elapsed().as_secs_f64() * 1e3))
}

fn is_ready(socket: &Path) -> bool {
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

fn stop(mut child: Child) -> Outcome {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or("no pid")?;
    kill_process(pid, Signal::TERM)?;
    if child.wait()?.success() { Ok(()) } else { Err("the daemon did not stop in order".into()) }
}
