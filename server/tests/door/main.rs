//! The router, called in process over a whole engine on a virtual clock.

mod access;
mod house;
mod logs;
mod metrics;
mod parameters;
mod reading;
mod runs;
mod tasks;
