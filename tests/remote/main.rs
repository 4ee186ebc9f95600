//! The real binary, driven from a terminal as a person or a script does it: a daemon, and commands that ask it.

#[path = "../binary/command.rs"]
mod command;
mod doors;
mod files;
mod first_hour;
mod parameters;
mod place;
#[cfg(target_os = "linux")]
mod readers;
mod waiting;
