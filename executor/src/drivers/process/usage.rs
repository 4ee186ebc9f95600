//! What processes take of the machine, as `/proc` tells it of those that live. What those took that have ended is counted
//! by who waits for them.

use super::proc_table::{self, Spent};
use super::shim::tree;
use punctual_model::Usage;
use rustix::param::{clock_ticks_per_second, page_size};
use std::time::Duration;

/// Of the work of a shim, which it keeps since it had waited for `before`, in microseconds.
pub(super) fn of_kept(shim: i32, before: [u64; 2]) -> Option<Usage> {
    let all = of_tree(shim, false)?;
    let [user, system] = before.map(Duration::from_micros);
    Some(Usage { user: all.user.saturating_sub(user), system: all.system.saturating_sub(system), ..all })
}

/// Of all that lives below a process, and of what it has waited for itself; with its own, if it is part of the work.
/// None if it is gone. Reads the list of all processes.
pub(super) fn of_tree(root: i32, with_root: bool) -> Option<Usage> {
    let root_spent = proc_table::spent(root)?;
    let below = tree::below(root);
    let all = below.iter().filter_map(|stat| proc_table::spent(stat.identity.pid));
    let first = if with_root { root_spent } else { Spent { own: [0; 2], pages: 0, ..root_spent } };
    let (mut ticks, mut pages) = ([0_u64; 2], 0_u64);
    for spent in std::iter::once(first).chain(all) {
        for (sum, (own, waited)) in ticks.iter_mut().zip(spent.own.into_iter().zip(spent.waited)) {
            *sum = sum.saturating_add(own).saturating_add(waited);
        }
        pages = pages.saturating_add(spent.pages);
    }
    let [user, system] = ticks.map(|ticks| {
        let millis = ticks.saturating_mul(1000) / clock_ticks_per_second().max(1);
        Duration::from_millis(millis)
    });
    Some(Usage { user, system, memory: pages.saturating_mul(u64::try_from(page_size()).unwrap_or(4096)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_taken_something_and_one_that_is_not_there_nothing() {
        let me = i32::try_from(std::process::id()).unwrap();
        // Time passes in ticks of a hundredth of a second.
        let mut sum = 0_u64;
        while of_tree(me, true).unwrap().user.is_zero() {
            for n in 0..1_000_000_u64 {
                sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(n));
            }
        }
        let usage = of_tree(me, true).unwrap();
        assert!(usage.memory > 100 << 10, "{usage:?}");
        assert!(of_tree(i32::MAX, true).is_none());
    }
}
