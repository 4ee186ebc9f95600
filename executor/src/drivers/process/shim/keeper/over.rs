//! The end: told to the daemon that is there, or left on the disk for the next one.

use super::super::super::cgroup::{self, Group};
use super::super::messages::{End, Tell};
use super::super::time;
use super::Keeper;
use std::io::ErrorKind;
use std::time::Duration;

/// How long to wait before an end is written once more that could not be: the disk is full or broken, and an end
/// that nobody knows of is a run that is lost.
const AGAIN: Duration = Duration::from_secs(1);

/// Everything is over; somebody has to know.
pub(super) struct Over {
    pub(super) end: End,
    pub(super) written: bool,
    /// By a daemon.
    pub(super) recorded: bool,
    pub(super) try_at: Duration,
}

impl Keeper<'_> {
    /// Closes the output and tells the end.
    pub(super) fn finish(&mut self) {
        let group = self.group.take();
        // What it has counted goes with it.
        let out_of_memory = group.as_ref().map_or(0, Group::out_of_memory);
        group.iter().for_each(|group| cgroup::remove(group, Some(&self.files)));
        let written = self.writer.take().map(|writer| writer.finish(time::wall())).unwrap_or_default();
        let end = End {
            token: self.token.clone(),
            at: self.ended_at.as_microsecond(),
            code: self.exit.and_then(|exit| exit.code),
            signal: self.exit.and_then(|exit| exit.signal),
            timed_out: self.timed_out,
            timeout: self
                .timeout
                .filter(|_| self.timed_out)
                .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            by_force: self.ending.as_ref().is_some_and(|ending| ending.by_force),
            limits: group.as_ref().map(Group::about),
            out_of_memory,
            output: written.summary,
            output_error: written.error,
            usage: Some(self.usage),
            // Of what is left of an attempt nothing may get into the next one.
            again: self.said.is_empty() && !self.was_alone,
            said: std::mem::take(&mut self.said),
        };
        // The last word about this attempt: what came behind it could be taken for one about the next.
        self.hint_due = false;
        self.tell(&Tell::Ended(end.clone()));
        self.over = Some(Over { end, written: false, recorded: false, try_at: time::monotonic() });
        if self.line.is_none() {
            self.write_end();
        }
    }

    /// Leaves the end for the next daemon.
    pub(super) fn write_end(&mut self) {
        let Some(over) = self.over.as_mut().filter(|over| !over.written && self.line.is_none()) else {
            return;
        };
        match self.files.write_end(&over.end) {
            Ok(()) => {
                over.written = true;
                self.files.remove_socket();
            }
            // The directory is gone, and with it whoever could ask.
            Err(error) if error.kind() == ErrorKind::NotFound => over.written = true,
            // We live, so we can be asked.
            Err(_) => over.try_at = time::monotonic().saturating_add(AGAIN),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.over.as_ref().is_some_and(|over| over.written)
    }
}
