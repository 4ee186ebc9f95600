//! The executor as a whole: the memory store, the virtual clock, scripted work.

mod asking;
mod bench;
mod built_in;
mod canceling;
mod counting;
mod ends;
mod failing;
mod follow_ups;
mod hooking;
mod promising;
mod queueing;
mod recorder;
mod restarting;
mod resuming;
mod statistics;
mod stopping;
mod telling;
mod updating;
mod watching;
