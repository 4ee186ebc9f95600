//! What Punctual can do, each figure beside the limit that the machine sets to it in the same process.
//!
//! ```text
//! cargo bench                            everything, a quarter of an hour
//! cargo bench -- 4 lateness              figures by number, scenes by name
//! cargo bench -- --quick                 a tenth of the sizes, one round
//! cargo bench -- --json FILE             the rows as JSON lines too
//! cargo bench -- --table FILE PAGE FRONT writes the rows of FILE into two pages; measures nothing
//! ```
//!
//! Every scene runs in a process of its own, so that none inherits the memory of another. Data go into
//! `target/bench`, or where `BENCH_DIR` says; a file system in memory is refused, for nothing on it is durable.
#![expect(clippy::disallowed_methods, reason = "what is measured is real time")]

mod bare;
mod engine;
mod machine;
mod place;
mod report;
mod rounds;
mod scenes;
mod table;
mod targets;

use place::Place;
use report::{Heading, Row};
use scenes::{SCENES, Scene};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What was asked for.
#[derive(Default)]
struct Wanted {
    names: Vec<String>,
    quick: bool,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    // What keeps processes of runs is this program once more.
    punctual::shim::enter();
    // Cargo says `--bench` to every benchmark.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--scene", name, size, quick] => play(name, size, quick == "quick"),
        ["--role", role, ref rest @ ..] => scenes::role(role, rest),
        ["--table", rows, page, front] => table::write(rows.as_ref(), page.as_ref(), front.as_ref()),
        _ => wanted(&arguments).and_then(measure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(arguments: &[String]) -> Outcome<Wanted> {
    let mut wanted = Wanted::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => wanted.quick = true,
            "--json" => wanted.json = Some(arguments.next().ok_or("--json: which file?")?.into()),
            name if SCENES.iter().any(|scene| scene.is_called(name)) => wanted.names.push(name.to_owned()),
            name => {
                let known: Vec<String> = SCENES.iter().map(Scene::names).collect();
                return Err(format!("there is no figure {name:?}; there are: {}", known.join(", ")).into());
            }
        }
    }
    Ok(wanted)
}

/// Plays every wanted scene in a process of its own, and shows its rows.
fn measure(wanted: Wanted) -> Outcome {
    let place = Place::new()?;
    let heading = Heading::now(&place);
    let mut json = wanted.json.as_ref().map(std::fs::File::create).transpose()?;
    println!("{heading}\n");
    if let Some(json) = &mut json {
        writeln!(json, "{}", serde_json::to_string(&heading)?)?;
    }
    let mut failed = Vec::new();
    for scene in SCENES {
        if !wanted.names.is_empty() && !wanted.names.iter().any(|name| scene.is_called(name)) {
            continue;
        }
        for size in scene.sizes(wanted.quick) {
            // What the last one left to be written or removed would hold up the syncs of this one.
            rustix::fs::sync();
            let quick = if wanted.quick { "quick" } else { "whole" };
            let mut child = Command::new(std::env::current_exe()?)
                .args(["--scene", scene.name, &size.to_string(), quick])
                .stdout(Stdio::piped())
                .spawn()?;
            for line in BufReader::new(child.stdout.take().ok_or("no pipe")?).lines() {
                let row: Row = serde_json::from_str(&line?)?;
                println!("{row}");
                if let Some(json) = &mut json {
                    writeln!(json, "{}", serde_json::to_string(&row)?)?;
                }
            }
            if !child.wait()?.success() {
                failed.push(format!("{} at {size}", scene.name));
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("not measured: {}", failed.join(", ")).into()) }
}

/// Plays one scene in this process, and says its rows.
fn play(name: &str, size: &str, quick: bool) -> Outcome {
    let scene = SCENES.iter().find(|scene| scene.name == name).ok_or("no such scene")?;
    let size = size.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stage = scenes::Stage { place: Place::new()?, size, quick, aimed_at: scene.is_largest(size) };
    let begun = std::time::Instant::now();
    let rows = runtime.block_on((scene.play)(stage))?;
    for row in rows {
        println!("{}", serde_json::to_string(&row)?);
    }
    eprintln!("    ({name} at {size}: {:.0} s)", begun.elapsed().as_secs_f64());
    Ok(())
}
