//! Judges the surroundings of a child process.

use super::{Problems, no_nul};
use crate::hook::octal;
use crate::number::Decimal;
use crate::process::{ProcessContext, RLIMITS, Resources};
use crate::template::{Template, Use};
use std::path::{Component, Path};

/// Most names of variables that are passed on, and most groups: what a kernel takes many times.
const MAX_NAMES: usize = 256;
/// Longest name of a user or a group, as `useradd` bounds them.
const MAX_ACCOUNT: usize = 32;
/// The range of niceness.
const NICE: std::ops::RangeInclusive<i8> = -20..=19;
/// Most processor cores that can be given: above any machine.
const MAX_CPU: Decimal = Decimal::thousandths(4_000_000);

pub(super) fn surroundings(context: &ProcessContext, found: &mut Problems) {
    for (name, value) in &context.env {
        let field = format!("work.env[{name:?}]");
        variable(name, &field, found);
        no_nul(value, &field, found);
        places(value, &field, found);
    }
    let expected = format!("at most {MAX_NAMES} names");
    found.require(context.inherit_env.len() <= MAX_NAMES, "work.inherit_env", expected, None);
    for (n, name) in context.inherit_env.iter().enumerate() {
        variable(name, &format!("work.inherit_env[{n}]"), found);
    }
    if let Some(cwd) = &context.cwd {
        found.require(!cwd.is_empty(), "work.cwd", "a directory", Some("leave it out for the daemon's own"));
        no_nul(cwd, "work.cwd", found);
        places(cwd, "work.cwd", found);
    }
    if let Some(file) = &context.payload_file {
        inside(file, "work.payload_file", found);
        let hint = "add work_dir: the file is written into the run's own directory";
        found.require(context.work_dir.is_some(), "work.payload_file", "a task with a work_dir", Some(hint));
    }
    rights(context, found);
    rlimits(context, found);
    resources(&context.resources, found);
}

/// A text in which places are filled with what the run has.
fn places(text: &str, field: &str, found: &mut Problems) {
    if let Err(error) = Template::parse(text, Use::Body) {
        found.add(field, "a text whose places can be filled", Some(error.to_string()));
    }
}

/// A path that stays below the directory it is relative to.
pub(super) fn inside(path: &str, field: &str, found: &mut Problems) {
    let good = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let expected = "a path within the run's own directory, without `..`";
    found.require(
        good && !path.is_empty() && !path.ends_with('/'),
        field,
        expected,
        Some("such as in/data.json"),
    );
    no_nul(path, field, found);
}

fn variable(name: &str, field: &str, found: &mut Problems) {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let good =
        name.bytes().next().is_some_and(letter) && name.bytes().all(|b| letter(b) || b.is_ascii_digit());
    let expected = "a name of letters, digits and underscores that does not begin with a digit";
    found.require(good, field, expected, None);
}

fn rights(context: &ProcessContext, found: &mut Problems) {
    for (field, name) in [("work.user", &context.user), ("work.group", &context.group)] {
        if let Some(name) = name {
            account(name, field, found);
        }
    }
    if let Some(groups) = &context.groups {
        let expected = format!("at most {MAX_NAMES} groups");
        found.require(groups.len() <= MAX_NAMES, "work.groups", expected, None);
        for (n, name) in groups.iter().enumerate() {
            account(name, &format!("work.groups[{n}]"), found);
        }
    }
    if let Some(umask) = &context.umask {
        let good = octal(umask).is_some_and(|bits| bits <= 0o777);
        let hint = "the bits that new files do not get, such as 027";
        found.require(good, "work.umask", "three octal digits, up to 777", Some(hint));
    }
    if let Some(nice) = context.nice {
        let expected = format!("{} to {}", NICE.start(), NICE.end());
        found.require(NICE.contains(&nice), "work.nice", expected, Some("higher gives way more"));
    }
}

/// A name as the system's account tools make them, or a number.
fn account(name: &str, field: &str, found: &mut Problems) {
    let good = if name.bytes().all(|b| b.is_ascii_digit()) {
        // The highest number means "leave it" to the kernel.
        name.parse::<u32>().is_ok_and(|id| id != u32::MAX)
    } else {
        let allowed =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$' | b'@' | b'\\');
        name.len() <= MAX_ACCOUNT && !name.starts_with('-') && name.bytes().all(allowed)
    };
    let expected = format!("a name of at most {MAX_ACCOUNT} characters, or a number");
    found.require(good, field, expected, Some("names are looked up when the work starts"));
}

fn rlimits(context: &ProcessContext, found: &mut Problems) {
    for (name, limit) in &context.rlimits {
        let field = format!("work.rlimits[{name:?}]");
        let expected = format!("one of {}", RLIMITS.join(", "));
        found.require(RLIMITS.contains(&name.as_str()), &field, expected, None);
        let hint = "the soft limit holds; the hard one says how far the child may raise it";
        found.require(
            limit.soft <= limit.hard,
            &field,
            "a soft limit that is not above the hard one",
            Some(hint),
        );
    }
}

fn resources(resources: &Resources, found: &mut Problems) {
    if let Some(memory) = resources.memory {
        let expected = format!("at least {} bytes", Resources::MIN_MEMORY);
        let hint = "it is a number of bytes; with less not even a shell starts";
        found.require(memory >= Resources::MIN_MEMORY, "work.resources.memory", expected, Some(hint));
    }
    if let Some(cpu) = resources.cpu {
        let expected = format!("{} to {MAX_CPU} cores", Resources::MIN_CPU);
        let good = (Resources::MIN_CPU..=MAX_CPU).contains(&cpu);
        found.require(good, "work.resources.cpu", expected, Some("0.5 is half a core"));
    }
    if let Some(pids) = resources.pids {
        found.require(pids >= 1, "work.resources.pids", "at least 1", Some("the work itself is one"));
    }
}
