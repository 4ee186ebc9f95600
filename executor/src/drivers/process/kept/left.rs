//! Ends what is left of an attempt whose shim has died: what carries its mark, is in its session or within its limits.

use super::super::strays::{self, Ended};
use super::super::{cgroup, keeping};
use super::here::Here;
use super::named;

impl Here {
    /// Ends whatever a dead shim has left of its run.
    pub(super) async fn end_what_is_left(&self) -> Ended {
        let state = self.noted().filter(|state| keeping::is_ours(&self.home, state));
        let leader = state.map(|state| state.leader).filter(|leader| leader.start_time != 0);
        let (group, kill) = (cgroup::found(&self.home, &self.files), &self.attempt.task.spec.kill);
        let killing = cgroup::Killing::default();
        let begun = self.clock.monotonic();
        let find = || {
            let mut found = strays::of_run(&self.home, self.run());
            let leader = leader.filter(|leader| strays::is_alive(*leader));
            found.extend(leader.filter(|leader| !found.contains(leader)));
            // Whoever is in a session whose leader lives is in that session, and in no later one of that number.
            let session = leader.map(|leader| strays::of_session(leader.pid)).unwrap_or_default();
            for one in session {
                if !found.contains(&one) {
                    found.push(one);
                }
            }
            if let Some(group) = &group {
                if self.clock.monotonic().saturating_sub(begun) >= kill.grace {
                    // One after another, those that multiply faster would never be all.
                    killing.kill(group);
                }
                let members = group.members();
                found.extend(members.into_iter().filter(|one| !found.contains(one)).collect::<Vec<_>>());
            }
            found
        };
        let ended = strays::end(find, named(&kill.signal), kill.grace, &*self.clock).await;
        if let Some(group) = group {
            cgroup::end_group(group, &self.files, &*self.clock).await;
        }
        ended
    }
}
