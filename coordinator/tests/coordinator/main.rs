//! The coordinator over a memory store and a virtual clock. With the mocked executor a test sees what is fed;
//! runs then end only by the hand of the test.

mod counts;
mod crash;
mod deletion;
mod dues;
mod faults;
mod file_set;
mod house;
mod life;
mod node;
mod parameters;
mod retention;
mod runs;
mod start;
mod task_service;
mod types;
