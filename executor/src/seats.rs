//! How many attempts may be at work at once, by class. A seat is only ever held by work, never by waiting.

use crate::driver::Class;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use tokio::sync::Notify;

/// How many attempts may be at work at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Inside this process.
    pub in_process: usize,
    /// In processes of their own.
    pub processes: usize,
}

impl Limits {
    /// Default for work inside this process: handlers mostly wait for others, and a thousand of them cost a few
    /// megabytes.
    pub const IN_PROCESS: usize = 1024;
    /// Default processes for each core: more would only fight over it, fewer would leave it idle while they
    /// wait for disks and networks.
    pub const PROCESSES_PER_CORE: usize = 4;
    /// Least default processes, for small machines.
    pub const LEAST_PROCESSES: usize = 16;
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let processes = (cores * Self::PROCESSES_PER_CORE).max(Self::LEAST_PROCESSES);
        Self { in_process: Self::IN_PROCESS, processes }
    }
}

/// How many attempts of a class are at work, and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// What the class is called in metrics.
    pub name: &'static str,
    /// At work now; more than the limit for a while after a start that found many alive.
    pub busy: usize,
    /// The limit.
    pub limit: usize,
}

/// The free seats. Work that is `Starting` in the store without a seat takes one that is not there; the count
/// goes below zero until others have ended.
#[derive(Debug)]
pub(crate) struct Seats {
    limits: Limits,
    in_process: AtomicIsize,
    processes: AtomicIsize,
    /// Somebody could not have a seat.
    short: AtomicBool,
    freed: Arc<Notify>,
}

impl Seats {
    /// `freed` is told when there is a free seat again after there were too few.
    pub(crate) fn new(limits: Limits, freed: Arc<Notify>) -> Self {
        let count = |limit: usize| AtomicIsize::new(isize::try_from(limit).unwrap_or(isize::MAX));
        Self {
            limits,
            in_process: count(limits.in_process),
            processes: count(limits.processes),
            short: AtomicBool::new(false),
            freed,
        }
    }

    /// What is done to the counts is of one order with what is done to `short`: else whoever frees a seat might not see
    /// yet that somebody is short of one, who does not see yet that it is free.
    fn of(&self, class: Class) -> &AtomicIsize {
        match class {
            Class::InProcess => &self.in_process,
            Class::Process => &self.processes,
        }
    }

    pub(crate) fn free(&self, class: Class) -> usize {
        usize::try_from(self.of(class).load(Ordering::SeqCst)).unwrap_or(0)
    }

    /// Who sits, by class.
    pub(crate) fn workers(&self) -> [Workers; 2] {
        let workers = |name, limit: usize, class| {
            let free = self.of(class).load(Ordering::SeqCst);
            let busy = isize::try_from(limit).unwrap_or(isize::MAX).saturating_sub(free);
            Workers { name, busy: usize::try_from(busy).unwrap_or(0), limit }
        };
        [
            workers("in_process", self.limits.in_process, Class::InProcess),
            workers("process", self.limits.processes, Class::Process),
        ]
    }

    /// Takes up to so many; answers how many.
    pub(crate) fn take(&self, class: Class, wanted: usize) -> usize {
        let wanted = isize::try_from(wanted).unwrap_or(isize::MAX);
        let left = |free: isize| (free > 0).then(|| free - free.min(wanted));
        match self.of(class).fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(free) => usize::try_from(free.min(wanted)).unwrap_or(0),
            Err(_) => 0,
        }
    }

    pub(crate) fn give(&self, class: Class, count: usize) {
        self.of(class).fetch_add(isize::try_from(count).unwrap_or(isize::MAX), Ordering::SeqCst);
        if self.short.swap(false, Ordering::SeqCst) {
            self.freed.notify_one();
        }
    }

    /// Asks to be told of the next free seat, or not to be.
    pub(crate) fn tell_when_freed(&self, tell: bool) {
        self.short.store(tell, Ordering::SeqCst);
    }
}

/// One seat; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    class: Class,
}

impl Seat {
    /// A free seat, if there is one.
    pub(crate) fn take(seats: &Arc<Seats>, class: Class) -> Option<Self> {
        (seats.take(class, 1) == 1).then(|| Self::taken(seats, class))
    }

    /// A seat whether or not there is a free one.
    pub(crate) fn force(seats: &Arc<Seats>, class: Class) -> Self {
        seats.of(class).fetch_sub(1, Ordering::SeqCst);
        Self::taken(seats, class)
    }

    /// A seat that was taken already, to be given back by this.
    pub(crate) fn taken(seats: &Arc<Seats>, class: Class) -> Self {
        Self { seats: Arc::clone(seats), class }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.give(self.class, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_by_class_and_may_be_owed() {
        let seats = Arc::new(Seats::new(Limits { in_process: 2, processes: 1 }, Arc::default()));
        assert_eq!(seats.take(Class::InProcess, 5), 2);
        assert_eq!(seats.take(Class::InProcess, 1), 0);
        let process = Seat::take(&seats, Class::Process).unwrap();
        assert!(Seat::take(&seats, Class::Process).is_none());
        let owed = Seat::force(&seats, Class::Process);
        drop(process);
        assert_eq!(seats.free(Class::Process), 0);
        drop(owed);
        assert_eq!(seats.free(Class::Process), 1);
    }

    #[test]
    fn the_least_default_is_what_the_design_says() {
        let limits = Limits::default();
        assert_eq!(limits.in_process, 1024);
        assert!(limits.processes >= 16);
    }
}
