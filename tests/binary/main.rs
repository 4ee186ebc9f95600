//! The real binary, judged from outside: what it prints, how it exits, what its jobs see and leave behind.
//!
//! No test sleeps. A test waits for a line of the daemon, for a line that a job writes into the witness (a named
//! pipe), or for the end of a process; the bounds on these waits only keep a broken build from hanging.
#![cfg(target_os = "linux")]

mod around;
mod command;
mod controlled;
mod crashes;
mod daemon;
mod data_directory;
mod demonstration;
mod expressions;
mod firing;
mod follow_ups;
mod holding;
mod http;
mod leaks;
mod leftovers;
mod limits;
mod place;
mod process;
mod reloading;
mod showing;
mod stopping;
mod surroundings;
mod witness;
mod work_place;
mod wrong_files;
