//! What is played, one file each: an engine, something asked of it, and its limit.

mod binary;
mod drain;
mod herd;
mod http;
mod idle;
mod lateness;
mod process;
mod submit;
mod sustained;
mod wake;

use crate::Outcome;
use crate::place::Place;
use crate::report::Row;
use std::future::Future;
use std::pin::Pin;

/// Rounds of a scene that runs at a pace. Many short ones: a disk that stands still for half a second, as that of a rented
/// machine may every few seconds, spoils the 99th percentile of the round in which it does, and of as few others as can be.
const PACED_ROUNDS: usize = 9;
/// Length of each: at a hundred a second still three times as many as a percentile needs.
const PACED_SECONDS: u64 = 3;

/// Where and how large a scene is played.
pub(crate) struct Stage {
    pub(crate) place: Place,
    /// Of what the scene counts: runs, tasks, dues a second.
    pub(crate) size: u64,
    /// For people in a hurry: one round.
    pub(crate) quick: bool,
    /// Whether this is the size at which something is asked of the figures.
    pub(crate) aimed_at: bool,
}

impl Stage {
    /// How often to measure.
    pub(crate) fn rounds(&self, rounds: usize) -> usize {
        if self.quick { 1 } else { rounds }
    }
}

type Playing = Pin<Box<dyn Future<Output = Outcome<Vec<Row>>>>>;

/// Something to be measured.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    figures: &'static [u32],
    sizes: &'static [u64],
    pub(crate) play: fn(Stage) -> Playing,
}

impl Scene {
    /// By its name or the number of one of its figures.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.figures.iter().any(|figure| figure.to_string() == name)
    }

    /// How it can be asked for.
    pub(crate) fn names(&self) -> String {
        let numbers: Vec<String> = self.figures.iter().map(u32::to_string).collect();
        format!("{} ({})", self.name, numbers.join(", "))
    }

    /// Decades apart, so that what grows faster than it should is seen; in a hurry only the smaller ones.
    pub(crate) fn sizes(&self, quick: bool) -> &'static [u64] {
        match self.sizes {
            [smaller @ .., _] if quick && !smaller.is_empty() => smaller,
            all => all,
        }
    }

    pub(crate) fn is_largest(&self, size: u64) -> bool {
        self.sizes.last() == Some(&size)
    }
}

macro_rules! scene {
    ($name:literal $figures:expr, $sizes:expr, $play:path) => {
        Scene { name: $name, figures: &$figures, sizes: &$sizes, play: |stage| Box::pin($play(stage)) }
    };
}

/// All of them. Those come first that write little and are about single syncs: after gigabytes of the others the disk
/// of a rented machine holds syncs up for minutes, the bare writer's too.
pub(crate) const SCENES: &[Scene] = &[
    scene!("alone"[3], [4_000], submit::one),
    scene!("wake"[5], [100], wake::play),
    scene!("lateness"[6, 7], [100, 1_000, 10_000], lateness::play),
    scene!("submit"[1], [2_000, 20_000, 200_000], submit::many),
    scene!("binary"[14], [1], binary::play),
    scene!("http"[15], [64], http::play),
    scene!("process"[12], [10_000], process::play),
    scene!("sustained"[2, 11], [20_000, 200_000, 2_000_000], sustained::play),
    scene!("drain"[4, 10], [10_000, 100_000, 1_000_000], drain::play),
    scene!("herd"[8], [10_000, 100_000, 1_000_000], herd::play),
    scene!("idle"[9, 10, 13], [10_000, 100_000, 1_000_000], idle::play),
];

/// Does in a process of its own what a scene has asked for.
pub(crate) fn role(name: &str, arguments: &[&str]) -> Outcome {
    match (name, arguments) {
        ("drain", [data, runs]) => drain::role(data.as_ref(), runs.parse()?),
        ("idle", [data, seconds]) => idle::role(data.as_ref(), seconds.parse()?),
        _ => Err(format!("there is no role {name:?}").into()),
    }
}

/// Lets a fresh process play a role; answers what it says.
fn aside<T: serde::de::DeserializeOwned>(role: &str, arguments: &[&str]) -> Outcome<T> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    let command = command.args(["--role", role]).args(arguments).stderr(std::process::Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the role {role} failed").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
