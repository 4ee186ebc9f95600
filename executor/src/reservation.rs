//! Workers set aside before a run is written, so that it can be written as started.

use std::fmt;

/// So many free workers, held until they are taken or the reservation is dropped.
#[derive(Default)]
pub struct Reservation {
    count: usize,
    give_back: Option<Box<dyn Fn(usize) + Send + Sync>>,
}

impl Reservation {
    /// No workers: the runs wait for their claim.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// So many workers; what is not taken is given back through the function.
    pub fn new(count: usize, give_back: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self { count, give_back: Some(Box::new(give_back)) }
    }

    /// How many are held.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes one of them, if there is one left; who takes it gives it back.
    pub fn take(&mut self) -> bool {
        let taken = self.count > 0;
        self.count -= usize::from(taken);
        taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.count > 0
            && let Some(give_back) = &self.give_back
        {
            give_back(self.count);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("count", &self.count).finish_non_exhaustive()
    }
}
