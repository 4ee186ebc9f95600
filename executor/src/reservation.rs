//! Workers set aside before a run is written, so that it can be written as started.

use crate::driver::Class;
use std::fmt;
use std::sync::Arc;

/// Takes back so many workers of a class.
pub type GiveBack = Arc<dyn Fn(Class, usize) + Send + Sync>;

/// So many free workers, held until they are taken or the reservation is dropped.
#[derive(Default)]
pub struct Reservation {
    in_process: usize,
    processes: usize,
    give_back: Option<GiveBack>,
}

impl Reservation {
    /// No workers: the runs wait for their claim.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// So many workers of a class; what is not taken is given back through the function.
    #[must_use]
    pub fn new(class: Class, count: usize, give_back: &GiveBack) -> Self {
        let mut held = Self { give_back: (count > 0).then(|| Arc::clone(give_back)), ..Self::default() };
        *held.of(class) = count;
        held
    }

    /// How many are held.
    #[must_use]
    pub fn count(&self) -> usize {
        self.in_process + self.processes
    }

    /// Takes one of a class, if there is one left; who takes it gives it back.
    pub fn take(&mut self, class: Class) -> bool {
        let held = self.of(class);
        let taken = *held > 0;
        *held -= usize::from(taken);
        taken
    }

    /// Holds those of another reservation with the same executor, too.
    pub fn join(&mut self, mut other: Self) {
        self.in_process += std::mem::take(&mut other.in_process);
        self.processes += std::mem::take(&mut other.processes);
        self.give_back = self.give_back.take().or_else(|| other.give_back.take());
    }

    fn of(&mut self, class: Class) -> &mut usize {
        match class {
            Class::InProcess => &mut self.in_process,
            Class::Process => &mut self.processes,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(give_back) = &self.give_back else { return };
        for (class, count) in [(Class::InProcess, self.in_process), (Class::Process, self.processes)] {
            if count > 0 {
                give_back(class, count);
            }
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("in_process", &self.in_process)
            .field("processes", &self.processes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn workers_of_each_class_are_taken_apart_and_what_is_left_goes_back_once() {
        let back = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&back);
        let give_back: GiveBack = Arc::new(move |class, count| seen.lock().unwrap().push((class, count)));
        let mut held = Reservation::none();
        held.join(Reservation::new(Class::InProcess, 2, &give_back));
        held.join(Reservation::new(Class::Process, 1, &give_back));
        held.join(Reservation::new(Class::InProcess, 3, &give_back));
        assert_eq!(held.count(), 6);
        assert!(held.take(Class::Process));
        assert!(!held.take(Class::Process), "handlers' workers are no processes");
        assert!(held.take(Class::InProcess));
        assert_eq!(held.count(), 4);
        assert!(back.lock().unwrap().is_empty());
        drop(held);
        assert_eq!(*back.lock().unwrap(), [(Class::InProcess, 4)]);
    }
}
