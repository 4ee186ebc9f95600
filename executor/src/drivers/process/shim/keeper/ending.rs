//! Ending the work, and what it leaves behind, until nothing of it lives.

use super::super::super::cgroup::Group;
use super::super::super::proc_table::Stat;
use super::super::super::strays::{self, FIRST_LOOK, LONGEST_LOOK, PROOF};
use super::super::super::supervisor::DRAIN;
use super::super::messages::Tell;
use super::super::{system, time, tree};
use super::Keeper;
use rustix::process::Signal;
use std::time::Duration;

/// An end that was asked for.
pub(super) struct Ending {
    /// When it becomes impolite, then when it is called a failure.
    pub(super) deadline: Duration,
    pub(super) by_force: bool,
}

impl Keeper<'_> {
    /// When to look at what is to end and has not.
    pub(super) fn look_at(&self) -> Option<Duration> {
        let next = self.looked.saturating_add(self.look);
        match &self.ending {
            _ if self.is_empty => None,
            // While the leader lives and has time, its end wakes us.
            Some(ending) if self.exit.is_none() => Some(ending.deadline),
            Some(ending) => Some(ending.deadline.min(next)),
            None => self.sweeping_until.map(|until| until.min(next)),
        }
    }

    /// Ends what is to end and has not.
    pub(super) fn look_at_the_rest(&mut self, now: Duration) {
        (self.looked, self.look) = (now, (self.look * 2).min(LONGEST_LOOK));
        if self.group.is_some() {
            // Who is within its limits and no child of ours ends without a signal to us.
            self.reap();
            if self.is_empty {
                return;
            }
        }
        let Some(ending) = &mut self.ending else {
            let left = tree::below(self.me);
            if self.sweeping_until.is_some_and(|until| until <= now) {
                // To wait for ever for what cannot be ended would hold the run and its seat for ever.
                self.said.push(format!("processes of it could not be ended: {:?}", tree::pids(&left)));
                self.nothing_left();
            } else {
                self.kill(&left);
            }
            return;
        };
        if now >= ending.deadline {
            let failed = std::mem::replace(&mut ending.by_force, true);
            ending.deadline = now.saturating_add(PROOF);
            if failed {
                let pids = tree::pids(&tree::below(self.me));
                self.tell(&Tell::Alive { pids });
            }
            self.signal_all(Signal::KILL);
        } else if ending.by_force {
            // What was killed may have had children in between.
            self.signal_all(Signal::KILL);
        }
    }

    pub(super) fn nothing_left(&mut self) {
        (self.is_empty, self.sweeping_until) = (true, None);
        if self.pipes.iter().any(Option::is_some) {
            self.drain_until = Some(time::monotonic().saturating_add(DRAIN));
        }
    }

    /// Takes the ends of all children that have ended.
    pub(super) fn reap(&mut self) {
        let mut signals = [0; 1024];
        // Which ones is asked below; several ends may be one signal.
        let _ = rustix::io::read(self.children, &mut signals);
        loop {
            match system::ended() {
                Ok(Some(ended)) => {
                    let (sum, more) = (&mut self.usage, ended.usage);
                    sum.user = sum.user.saturating_add(more.user);
                    sum.system = sum.system.saturating_add(more.system);
                    sum.memory = sum.memory.max(more.memory);
                    if ended.pid == self.leader.as_raw_nonzero().get() {
                        (self.exit, self.ended_at) = (Some(ended.exit), time::wall());
                    }
                }
                Ok(None) => break,
                Err(_) if self.group.as_ref().is_none_or(Group::is_empty) => {
                    return self.nothing_left();
                }
                // Somebody else has put others within its limits.
                Err(_) => break,
            }
        }
        if self.exit.is_none() {
            return;
        }
        // What is left, with the children that those had who have just gone.
        match &self.ending {
            None => {
                if self.sweeping_until.is_none() {
                    let left = tree::below(self.me);
                    if !left.is_empty() {
                        self.said
                            .push(format!("{} of its processes were left behind and killed", left.len()));
                    }
                    (self.looked, self.look) = (time::monotonic(), FIRST_LOOK);
                    self.sweeping_until = Some(self.looked.saturating_add(PROOF));
                    self.kill(&left);
                }
            }
            Some(ending) if ending.by_force => self.signal_all(Signal::KILL),
            Some(_) => {}
        }
    }

    /// Begins to end it, or makes an end that has begun come sooner.
    pub(super) fn end_it(&mut self, signal: Signal, grace: Duration) {
        let deadline = time::monotonic().saturating_add(grace);
        match &mut self.ending {
            Some(ending) if !ending.by_force => ending.deadline = ending.deadline.min(deadline),
            Some(_) => {}
            None if self.is_empty => {}
            None => {
                // The rest of a leader that has gone by itself is being killed already; now that is waited for.
                self.sweeping_until = None;
                self.ending = Some(Ending { deadline, by_force: signal == Signal::KILL && grace.is_zero() });
                (self.looked, self.look) = (time::monotonic(), FIRST_LOOK);
                self.signal_all(signal);
            }
        }
    }

    /// To the group, whose number is ours until its leader has been waited for, and to all that have left it.
    pub(super) fn signal_all(&self, signal: Signal) {
        let mut rest = tree::below(self.me);
        if self.exit.is_none() {
            // A group that is gone is what is wanted.
            let _ = rustix::process::kill_process_group(self.leader, signal);
            rest.retain(|stat| stat.group != self.leader.as_raw_nonzero().get());
        }
        if signal == Signal::KILL {
            self.kill(&rest);
        } else {
            send(&rest, signal);
        }
    }

    /// Kills these, and at once with them all that are within the limits.
    pub(super) fn kill(&self, these: &[Stat]) {
        self.group.iter().for_each(Group::kill);
        send(these, Signal::KILL);
    }
}

fn send(to: &[Stat], signal: Signal) {
    tree::identities(to).into_iter().for_each(|identity| strays::send(identity, signal));
}
