//! What a seed decides before anything happens: how long, where, which faults and how many of each. Swarm style:
//! most seeds leave some faults out, so that others get further.

use crate::definitions::{Style, ZONES, one_in, pick};
use crate::oracle::Reach;
use jiff::{SignedDuration, Timestamp};
use punctual::clock::Chance;
use punctual::executor::Limits;
use std::time::Duration;

const DAY: i64 = 86_400;

/// How far the wall clock may be led away from the truth, and time therefore reach beyond its ends.
pub(crate) const FARTHEST: SignedDuration = SignedDuration::from_hours(4 * 24);

/// How much of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Two weeks around a clock change: for every build.
    Weeks,
    /// All of it.
    Year,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) start: Timestamp,
    pub(crate) style: Style,
    pub(crate) tasks: u64,
    /// Mean time between two things that somebody does.
    pub(crate) pause: Duration,
    /// Mean number of writes between two faults of the store; none if there are none.
    pub(crate) store_fault: Option<u64>,
    /// One in so many deeds is the death of the node; none if it only dies of the store.
    pub(crate) crash: Option<u64>,
    pub(crate) stop: Option<u64>,
    pub(crate) jump: Option<u64>,
    /// One in so many deeds is a disk that fills up.
    pub(crate) full: Option<u64>,
    /// One in so many deeds is a machine that stands still for a while.
    pub(crate) freeze: Option<u64>,
    /// After one in so many deaths a record cannot be read any more.
    pub(crate) spoil: Option<u64>,
    pub(crate) deadly_start: u64,
    pub(crate) vanishes: u64,
    pub(crate) longest_downtime: Duration,
    pub(crate) limits: Limits,
}

/// Weeks with clock changes: America, Europe, the south; and around.
const WEEKS: [&str; 6] = [
    "2027-03-07T13:00:00Z",
    "2027-03-22T07:30:00Z",
    "2027-03-30T00:00:00Z",
    "2027-09-21T19:00:00Z",
    "2027-10-25T05:00:00Z",
    "2028-02-22T12:00:00Z",
];

impl Plan {
    pub(crate) fn of(seed: u64, scale: Scale) -> Self {
        let chance = Chance::from_seed(seed);
        let (start, days) = match scale {
            Scale::Weeks => (pick(&chance, &WEEKS), 14),
            Scale::Year => ("2028-01-01T00:00:00Z", 366),
        };
        let span = Duration::from_secs(days * 86_400);
        let zones = (0..2 + chance.below(3)).map(|_| pick(&chance, &ZONES)).collect();
        let mut dispositions = vec!["quick", "quick", "brief", "slow", "failing"];
        if !one_in(&chance, 4) {
            dispositions.push("hanging");
        }
        if !one_in(&chance, 4) {
            dispositions.push("nasty");
        }
        let densest = match scale {
            Scale::Weeks => pick(&chance, &[24, 48, 96]),
            Scale::Year => pick(&chance, &[4, 8, 16]),
        };
        let swarm = |often: u64, of: &[u64]| (!one_in(&chance, often)).then(|| pick(&chance, of));
        let deeds = match scale {
            Scale::Weeks => pick(&chance, &[60, 150, 400]),
            Scale::Year => pick(&chance, &[300, 600, 1_200]),
        };
        let plan = Self {
            start: start.parse().expect("an instant"),
            tasks: 30,
            pause: span / deeds,
            store_fault: swarm(4, &[60, 300, 2_000]),
            crash: swarm(4, &[8, 20, 60]),
            stop: swarm(3, &[30, 80]),
            jump: swarm(3, &[10, 40]),
            deadly_start: swarm(3, &[50, 400]).unwrap_or(0),
            vanishes: swarm(3, &[2, 5]).unwrap_or(0),
            longest_downtime: Duration::from_secs(pick(&chance, &[30, 3_600, 2 * 86_400])),
            limits: pick(
                &chance,
                &[
                    Limits { in_process: 64, processes: 16 },
                    Limits { in_process: 3, processes: 2 },
                    Limits { in_process: 1, processes: 8 },
                ],
            ),
            style: Style { zones, densest, dispositions, span },
            full: None,
            freeze: None,
            spoil: None,
        };
        // Last, and in the order in which they came, so that what a seed decided before there was a fault stays as it
        // was.
        let full = swarm(3, &[20, 80]);
        let freeze = swarm(3, &[8, 30]);
        Self { full, freeze, spoil: swarm(3, &[1, 4]), ..plan }
    }

    /// What time may be reached: the span, and some on both sides for clocks that were led astray and for the end.
    pub(crate) fn reach(&self) -> Reach {
        let start = self.start.as_second() / 60 * 60;
        let span = self.style.span.as_secs() as i64;
        Reach { from: start - 6 * DAY, until: start + span + 32 * DAY }
    }
}
