//! How a run's output is divided into parts, and which of them are kept. A rule on numbers; touches no file.

use punctual_model::TaskSpec;
use punctual_model::task::Output;
use serde::{Deserialize, Serialize};

/// The least cap of which a part is for the newest output, where the task says nothing about files. Below it a part
/// would hold a few lines, so the whole cap is for the beginning and what follows is dropped.
const LEAST_TURNED: u64 = 64 << 10;

/// How one attempt divides its run's output. Whoever wrote before may have divided it otherwise; what it left counts like
/// one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Most bytes kept of the run.
    cap: u64,
    /// At so many bytes a new file begins, and so many of the newest are kept. None: the beginning and the newest.
    rotated: Option<(u64, usize)>,
}

/// What a new part means for those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// The head has to go.
    pub(super) drops_head: bool,
    /// So many of the oldest parts behind the head have to go.
    pub(super) drops: usize,
}

impl Layout {
    /// As a task has it.
    pub(crate) fn of(spec: &TaskSpec) -> Self {
        let cap = spec.max_output;
        let most = usize::try_from(Output::MAX_FILES).unwrap_or(usize::MAX);
        let rotated = spec.output.rotate_at.map(|at| {
            let at = at.clamp(1, cap.max(1));
            let within = usize::try_from(cap / at).unwrap_or(usize::MAX).clamp(1, most);
            let files = spec.output.files.and_then(|files| usize::try_from(files).ok());
            (at, files.unwrap_or(within).clamp(1, within))
        });
        Self { cap, rotated }
    }

    #[cfg(test)]
    pub(crate) fn capped(cap: u64) -> Self {
        Self { cap, rotated: None }
    }

    #[cfg(test)]
    pub(crate) fn rotated(at: u64, files: usize) -> Self {
        Self { cap: at * files as u64, rotated: Some((at, files)) }
    }

    /// Whether there is but one part, and what does not fit into it is dropped.
    pub(super) fn is_one(&self) -> bool {
        self.rotated.is_none() && self.cap < LEAST_TURNED
    }

    /// How much a part holds. Where the beginning is kept, half of the cap is for it and a quarter for each of two that
    /// take turns, so that nothing is lost up to the cap, and behind it at least the newest quarter of the cap is there.
    pub(super) fn share(&self, part: u64) -> u64 {
        match (self.rotated, part) {
            (Some((at, _)), _) => at,
            (None, _) if self.is_one() => self.cap,
            (None, 0) => self.cap - 2 * (self.cap / 4),
            (None, _) => self.cap / 4,
        }
    }

    /// How much the part that is written to may still take, where so much counts in it and so much is kept in all.
    pub(super) fn room(&self, part: u64, counted: u64, kept: u64) -> u64 {
        let counted = if self.is_one() { counted.max(kept) } else { counted };
        self.share(part).saturating_sub(counted)
    }

    /// What has to go for a new part, of a head that keeps so many bytes, if it is there, and of the parts behind it, the
    /// oldest first: those that are too many, and then those for which the cap has no room.
    pub(super) fn turn(&self, head: Option<u64>, behind: &[u64]) -> Turn {
        let share = self.share(1);
        let (mut turn, mut rest) = (Turn { drops_head: false, drops: 0 }, behind);
        let fits = |head: u64, rest: &[u64]| head + rest.iter().sum::<u64>() + share <= self.cap;
        match self.rotated {
            Some((_, files)) => {
                // The oldest is the head.
                let too_many = |head: bool, rest: &[u64]| usize::from(head) + rest.len() >= files;
                let kept = head.unwrap_or_default();
                turn.drops_head = head.is_some() && (too_many(true, rest) || !fits(kept, rest));
                let (head, kept) = if turn.drops_head { (false, 0) } else { (head.is_some(), kept) };
                while !rest.is_empty() && (too_many(head, rest) || !fits(kept, rest)) {
                    rest = &rest[1..];
                }
            }
            None => {
                // The beginning goes last.
                let kept = head.unwrap_or_default();
                while !rest.is_empty() && (rest.len() >= 2 || !fits(kept, rest)) {
                    rest = &rest[1..];
                }
                turn.drops_head = head.is_some() && !fits(kept, rest);
            }
        }
        turn.drops = behind.len() - rest.len();
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_model::Work;

    fn layout(cap: u64, rotate_at: Option<u64>, files: Option<u32>) -> Layout {
        let mut spec = TaskSpec::new("n", Work::shell("true"));
        spec.max_output = cap;
        (spec.output.rotate_at, spec.output.files) = (rotate_at, files);
        Layout::of(&spec)
    }

    #[test]
    fn files_are_as_many_as_asked_for_and_never_more_than_the_cap_has_room_for() {
        let mib = 1 << 20;
        assert_eq!(layout(10 * mib, Some(mib), Some(3)).rotated, Some((mib, 3)));
        assert_eq!(layout(10 * mib, Some(mib), None).rotated, Some((mib, 10)));
        assert_eq!(layout(10 * mib, Some(mib), Some(20)).rotated, Some((mib, 10)));
        assert_eq!(layout(mib, Some(2 * mib), Some(20)).rotated, Some((mib, 1)));
        assert_eq!(layout(0, Some(mib), None).rotated, Some((1, 1)));
        assert_eq!(layout(u64::MAX, Some(mib), None).rotated, Some((mib, Output::MAX_FILES as usize)));
    }

    #[test]
    fn of_rotated_files_the_newest_stay_and_of_others_the_beginning_too() {
        let turn = |drops_head, drops| Turn { drops_head, drops };
        let three = Layout::rotated(100, 3);
        assert_eq!(three.turn(Some(100), &[100]), turn(false, 0));
        assert_eq!(three.turn(Some(100), &[100; 2]), turn(true, 0));
        assert_eq!(three.turn(None, &[100; 2]), turn(false, 0));
        assert_eq!(three.turn(None, &[100; 3]), turn(false, 1));
        // A head that a crash left standing beside the part that was to take its place.
        assert_eq!(three.turn(Some(100), &[100; 3]), turn(true, 1));
        assert_eq!(Layout::rotated(100, 1).turn(Some(100), &[]), turn(true, 0));
        assert_eq!(Layout::rotated(100, 1).turn(None, &[100]), turn(false, 1));
        let usual = Layout::capped(1 << 20);
        assert_eq!(usual.turn(Some(1 << 19), &[1 << 18]), turn(false, 0));
        assert_eq!(usual.turn(Some(1 << 19), &[1 << 18; 2]), turn(false, 1));
    }

    #[test]
    fn what_others_have_left_makes_room_as_well() {
        let turn = |drops_head, drops| Turn { drops_head, drops };
        // More files, and then larger ones, than there are to be now.
        let three = Layout::rotated(100, 3);
        assert_eq!(three.turn(None, &[100; 9]), turn(false, 7));
        assert_eq!(three.turn(Some(100), &[100; 9]), turn(true, 7));
        assert_eq!(three.turn(Some(1000), &[50]), turn(true, 0));
        assert_eq!(three.turn(None, &[1000, 50]), turn(false, 1));
        let usual = Layout::capped(1 << 20);
        assert_eq!(usual.turn(Some(1 << 19), &[1 << 17; 9]), turn(false, 8));
        assert_eq!(usual.turn(Some(1 << 19), &[1 << 19]), turn(false, 1));
        assert_eq!(usual.turn(Some(1 << 20), &[1 << 18; 2]), turn(true, 2));
        assert_eq!(usual.room(3, 7, 1 << 30), (1 << 18) - 7);
        assert_eq!((Layout::capped(50).room(3, 7, 9), Layout::capped(50).room(3, 7, 60)), (41, 0));
    }
}
