//! What the engine shows to a program that embeds it: the behaviours of `docs/behaviours.md` that need the whole
//! of it, on the virtual clock, and the test that keeps that page true.

mod clockwork;
mod counting;
mod definitions;
mod lives;
mod log;
mod mocked;
mod output;
mod table;
mod telling;
