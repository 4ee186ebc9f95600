//! Real children of a real node: system clock, real pipes, real signals. Waits are for what is expected; the
//! bounds are only there so that a fault ends the test.

mod ending;
mod environment;
mod leftovers;
mod node;
mod output;
mod starting;
