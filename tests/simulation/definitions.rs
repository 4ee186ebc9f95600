//! Tasks out of a seed: every policy, every kind of schedule, in several zones.

use crate::oracle::Oracle;
use crate::spec::{Dice, Spec};
use jiff::{SignedDuration, Timestamp, ToSpan};
use punctual::clock::Chance;
use punctual::model::hook::Call;
use punctual::model::overlap::Overlap;
use punctual::model::restart::{OnLost, RestartMode, RestartPolicy};
use punctual::model::schedule::{Cron, DstGap, DstOverlap, Every, Schedule};
use punctual::model::task::{Concurrency, Kill};
use punctual::model::{CatchUp, CatchUpPolicy, TaskSpec, Work};
use std::time::Duration;

/// Zones with clock changes of every kind: an hour, half an hour, at midnight, two hours, none, southern.
pub(crate) const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Santiago",
    "Antarctica/Troll",
    "Asia/Kolkata",
    "Pacific/Auckland",
    "America/Havana",
    "Europe/Dublin",
    "Africa/Casablanca",
];

/// What a seed's tasks are like.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) zones: Vec<&'static str>,
    /// Most dues of a task in a day.
    pub(crate) densest: u64,
    pub(crate) dispositions: Vec<&'static str>,
    pub(crate) span: Duration,
}

pub(crate) fn one_in(chance: &Chance, sides: u64) -> bool {
    chance.below(sides) == 0
}

pub(crate) fn pick<T: Copy>(chance: &Chance, of: &[T]) -> T {
    of[usize::try_from(chance.below(of.len() as u64)).expect("a small number")]
}

fn seconds(chance: &Chance, most: u64) -> Duration {
    Duration::from_secs(1 + chance.below(most))
}

impl Style {
    pub(crate) fn zone(&self, chance: &Chance) -> &'static str {
        pick(chance, &self.zones)
    }

    /// A schedule that is not due too often; remembers what its text means.
    pub(crate) fn schedule(
        &self,
        zone: &str,
        now: Timestamp,
        oracle: &mut Oracle,
        chance: &Chance,
    ) -> Schedule {
        match chance.below(10) {
            0 | 1 => {
                let shortest = 86_400 / self.densest;
                let interval = Duration::from_secs(shortest + chance.below(86_400));
                let anchor =
                    one_in(chance, 2).then(|| now - SignedDuration::from_hours(chance.below(99) as i64));
                let anchor = anchor.and_then(|at| Timestamp::from_second(at.as_second()).ok());
                Schedule::Every(Every { interval, anchor })
            }
            2 if one_in(chance, 3) => {
                let later = SignedDuration::from_secs(60 + chance.below(self.span.as_secs()) as i64);
                Schedule::At(
                    Timestamp::from_second((now + later).as_second()).expect("a time in this century"),
                )
            }
            _ => Schedule::Cron(self.cron(zone, oracle, chance)),
        }
    }

    fn cron(&self, zone: &str, oracle: &mut Oracle, chance: &Chance) -> Cron {
        let mut dice = Dice(chance.bits());
        loop {
            let spec = Spec::nightly(5, &mut dice);
            // Most are due far too often; a look at one day is quicker than one at a year.
            let midnight = jiff::civil::date(2028, 1, 1).at(0, 0, 0, 0);
            let times = (0..1_440i64).filter(|minute| spec.matches_time(midnight + minute.minutes()));
            if times.count() as u64 > self.densest {
                continue;
            }
            let cron = Cron {
                expr: oracle.learn(spec),
                dst_gap: pick(chance, &[DstGap::RunAtEnd, DstGap::Skip]),
                dst_overlap: pick(chance, &[DstOverlap::First, DstOverlap::Second, DstOverlap::Both]),
            };
            let dues = oracle.cron(&cron, zone);
            let days = (self.span.as_secs() / 86_400).max(1) + 14;
            if (1..=self.densest * days).contains(&(dues.len() as u64)) {
                return cron;
            }
        }
    }

    pub(crate) fn spec(
        &self,
        name: String,
        now: Timestamp,
        oracle: &mut Oracle,
        chance: &Chance,
    ) -> TaskSpec {
        let work = match chance.below(3) {
            0 => Work::handler("anything"),
            1 => Work::process(["anything"]),
            _ => Work::shell("anything"),
        };
        let zone = self.zone(chance);
        let mut spec = TaskSpec::new(name, work).timezone(zone);
        if !one_in(chance, 12) {
            for _ in 0..=u64::from(one_in(chance, 5)) {
                spec.schedules.push(self.schedule(zone, now, oracle, chance));
            }
        }
        if one_in(chance, 5) {
            spec.offset = SignedDuration::from_secs(chance.below(3600) as i64 - 1800);
        }
        self.policies(&mut spec, chance);
        spec
    }

    /// Everything but when.
    pub(crate) fn policies(&self, spec: &mut TaskSpec, chance: &Chance) {
        spec.labels.insert("does".to_owned(), pick(chance, &self.dispositions).to_owned());
        spec.jitter = if one_in(chance, 4) { seconds(chance, 1800) } else { Duration::ZERO };
        spec.splay = if one_in(chance, 6) { seconds(chance, 600) } else { Duration::ZERO };
        spec.grace = pick(chance, &[TaskSpec::MIN_GRACE, TaskSpec::GRACE, Duration::from_secs(600)]);
        spec.catch_up = CatchUp {
            policy: pick(chance, &[CatchUpPolicy::Skip, CatchUpPolicy::Latest, CatchUpPolicy::All]),
            window: Duration::from_secs(3600 * (1 + chance.below(96))),
            limit: 1 + chance.below(40) as u32,
            rate: 1 + chance.below(4) as u32,
        };
        spec.overlap = match chance.below(8) {
            0 | 1 => Overlap::Skip,
            2 => Overlap::QueueOne,
            3 => Overlap::QueueAll { max: 1 + chance.below(4) as u32 },
            4 => Overlap::Replace,
            _ => Overlap::Allow,
        };
        spec.concurrency = match chance.below(4) {
            0 if spec.overlap == Overlap::Allow => {
                Some(Concurrency { limit: 1 + chance.below(3) as u32, key: None })
            }
            1 => Some(Concurrency { limit: 2, key: Some(pick(chance, &["disk", "net"]).to_owned()) }),
            _ => None,
        };
        spec.priority = chance.below(5) as i8 - 2;
        // By no chance of their own, so that the rest of a seed's tasks stays what it was.
        let call = |works: bool| works.then(|| Call::Command(vec!["anything".to_owned()]));
        (spec.on_failure, spec.on_recovered) = (call(spec.priority <= 0), call(spec.priority != 1));
        spec.idempotent = one_in(chance, 3);
        let hangs = spec.labels.get("does").is_some_and(|does| does == "hanging");
        spec.timeout = (hangs || one_in(chance, 4)).then(|| Duration::from_secs(30 + chance.below(3600)));
        spec.kill = Kill { grace: Duration::from_secs(chance.below(30)), ..Kill::default() };
        // Endless repetition is rare enough not to drown everything else.
        let endless = one_in(chance, 4);
        spec.restart = match chance.below(4) {
            0 => RestartPolicy {
                attempts: 1 + chance.below(3) as u32,
                interval: Duration::from_secs(if endless { 86_400 } else { 60 + chance.below(7_200) }),
                delay: Duration::from_secs(30 + chance.below(300)),
                mode: if endless { RestartMode::Delay } else { RestartMode::Fail },
                on_success: !endless && one_in(chance, 8),
                on_lost: if one_in(chance, 2) { OnLost::Restart } else { OnLost::EndAsLost },
                ..RestartPolicy::default()
            },
            _ => RestartPolicy::default(),
        };
        spec.retention.runs = if one_in(chance, 3) { 10 } else { 100 };
    }
}
