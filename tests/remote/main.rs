//! The real binary, driven from a terminal as a person or a script does it: a daemon, and commands that ask it.

mod doors;
mod files;
mod first_hour;
mod place;
mod waiting;
