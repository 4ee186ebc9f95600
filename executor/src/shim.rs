//! What lets processes of runs outlive the program that started them. Linux only; elsewhere they end with it.

#[cfg(target_os = "linux")]
pub use crate::drivers::process::shim::enter;

/// Does nothing on this system: processes of runs end with the program.
#[cfg(not(target_os = "linux"))]
pub fn enter() {}
