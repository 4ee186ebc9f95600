//! What a supervisor does about the control group of its child, if that has limits; on systems without control groups
//! no child has any.

#[cfg(target_os = "linux")]
use super::super::cgroup::{Held, Killing};
#[cfg(target_os = "linux")]
use super::super::exit;
use super::super::home::Identity;
#[cfg(target_os = "linux")]
use crate::driver::Attempt;
use punctual_model::Outcome;
use rustix::process::Signal;

/// The group, if there is one. Dropped, it ends with all that is in it.
#[derive(Default)]
pub(in super::super) struct Limits {
    #[cfg(target_os = "linux")]
    group: Option<(Held, Attempt)>,
    #[cfg(target_os = "linux")]
    killing: Killing,
}

#[cfg(target_os = "linux")]
impl Limits {
    pub(in super::super) fn of(attempt: &Attempt, held: Option<Held>) -> Self {
        Self { group: held.map(|held| (held, attempt.clone())), killing: Killing::default() }
    }

    /// Everything that lives in it.
    pub(super) fn members(&self) -> Vec<Identity> {
        self.group.as_ref().map(|(held, _)| held.group().members()).unwrap_or_default()
    }

    /// Whether it is proven that nothing lives in it; also without a group.
    pub(super) fn is_empty(&self) -> bool {
        self.group.as_ref().is_none_or(|(held, _)| held.group().is_empty())
    }

    pub(super) fn kill(&self) {
        self.group.iter().for_each(|(held, _)| self.killing.kill(held.group()));
    }

    pub(super) fn signal(&self, signal: Signal, but: impl Fn(i32) -> bool) {
        self.group.iter().for_each(|(held, _)| held.group().signal(signal, &but));
    }

    /// Nothing is in it any more: what it has counted goes into the record, and it goes.
    /// Answers whether its memory was not enough.
    pub(super) async fn close(&mut self, outcome: &mut Outcome) -> bool {
        let Some((held, attempt)) = self.group.take() else { return false };
        let killed = held.group().out_of_memory();
        exit::killed_for_memory(outcome, killed, &attempt);
        held.remove().await;
        killed > 0
    }
}

#[cfg(not(target_os = "linux"))]
impl Limits {
    pub(super) fn members(&self) -> Vec<Identity> {
        Vec::new()
    }

    pub(super) fn is_empty(&self) -> bool {
        true
    }

    pub(super) fn kill(&self) {}

    pub(super) fn signal(&self, _signal: Signal, _but: impl Fn(i32) -> bool) {}

    pub(super) async fn close(&mut self, _outcome: &mut Outcome) -> bool {
        false
    }
}
