//! A world with one node in it: it starts, is made use of, dies and starts again, until its time is over. One
//! seed, one trace.

use crate::definitions::{one_in, pick};
use crate::plan::{Plan, Scale};
use crate::truth::{Counts, Truth};
use crate::watched::{Watched, lock};
use crate::work::{Mood, Workshop};
use jiff::SignedDuration;
use punctual::Punctual;
use punctual::clock::{Chance, Clock, VirtualClock};
use punctual::model::RunId;
use punctual::store::faulty::{FaultyStore, Verdict};
use punctual::store::{self, MemoryStore, RunFilter, RunStore, Store, TaskFilter, TaskStore};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is known of a seed when its time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) hash: u64,
    pub(crate) lines: u64,
    pub(crate) counts: Counts,
    /// What was wrong, with the last lines of the trace; nothing if all was well.
    pub(crate) wrong: Vec<String>,
    pub(crate) last: Vec<String>,
}

/// How a run of the node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It died, or has to.
    Crashed,
    /// It was told to stop.
    Stopping,
    /// The simulated time is over.
    Over,
}

/// The next fault of the store.
#[derive(Debug)]
struct Fault {
    writes_left: Option<u64>,
    kind: FaultKind,
    struck: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaultKind {
    /// Nothing of the write is there.
    Before,
    /// All of it is there, and nobody hears of it.
    After,
    /// The process dies at a commit, which is all or nothing.
    Within,
}

/// The calls that bring new work, which a store without room refuses.
const NEW_WORK: [&str; 3] = ["put_task", "materialise", "enqueue"];

/// Mean time between two deeds while the disk is full.
const FULL_PAUSE: Duration = Duration::from_secs(300);

pub(crate) struct Year {
    pub(crate) plan: Plan,
    pub(crate) clock: VirtualClock,
    pub(crate) truth: Arc<Mutex<Truth>>,
    pub(crate) chance: Chance,
    pub(crate) shop: Workshop,
    pub(crate) names: u64,
    /// How far the wall clock is from where it would be.
    pub(crate) astray: SignedDuration,
    /// The store of the node that runs, without its faults: for news that others bring.
    pub(crate) store: Option<Arc<dyn Store>>,
    memory: Arc<MemoryStore>,
    fault: Arc<Mutex<Fault>>,
    /// The disk has no room for new work.
    pub(crate) full: Arc<AtomicBool>,
    seed: u64,
    nodes: u64,
}

/// Lives through one seed.
pub(crate) fn simulate(seed: u64, scale: Scale, loud: bool) -> Report {
    let mut year = Year::new(seed, scale, loud);
    year.live();
    let truth = lock(&year.truth);
    Report {
        seed,
        hash: truth.trace.hash(),
        lines: truth.trace.lines(),
        counts: truth.counts,
        wrong: truth.wrong.clone(),
        last: truth.trace.last(),
    }
}

impl Year {
    fn new(seed: u64, scale: Scale, loud: bool) -> Self {
        let plan = Plan::of(seed, scale);
        let clock = VirtualClock::new(plan.start);
        let truth = Arc::new(Mutex::new(Truth::new(plan.reach(), plan.start, loud)));
        let mood = Mood { healed: false, deadly_start: plan.deadly_start, vanishes: plan.vanishes };
        let shop = Workshop::new(seed, clock.clone(), Arc::clone(&truth), mood);
        let memory = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        let fault = Arc::new(Mutex::new(Fault { writes_left: None, kind: FaultKind::Before, struck: false }));
        Self {
            plan,
            clock,
            truth,
            chance: Chance::from_seed(seed ^ 0x00de_ed00),
            shop,
            names: 0,
            astray: SignedDuration::ZERO,
            store: None,
            memory,
            fault,
            full: Arc::default(),
            seed,
            nodes: 0,
        }
    }

    fn live(&mut self) {
        loop {
            let ended = self.node(false);
            if self.is_wrong() {
                return;
            }
            self.aftermath();
            if ended == Ended::Over || self.clock.monotonic() >= self.plan.style.span {
                break;
            }
            self.spoil();
            self.downtime();
        }
        // No more faults from here on.
        self.set_full(false);
        *self.shop.mood.lock().unwrap_or_else(PoisonError::into_inner) =
            Mood { healed: true, deadly_start: 0, vanishes: 0 };
        self.node(true);
        if self.is_wrong() {
            return;
        }
        // Starting again and again changes nothing.
        let before = self.snapshot();
        for _ in 0..2 {
            self.aftermath();
            self.idle_node();
            let after = self.snapshot();
            if before != after {
                lock(&self.truth).wrong(format!("starting again changed {before} into {after}"));
            }
        }
    }

    /// What a dead node leaves behind.
    fn aftermath(&mut self) {
        self.memory = Arc::new(self.memory.crash());
        self.store = None;
        self.shop.node_died();
        let (tasks, runs) = self.everything();
        lock(&self.truth).stored(&tasks, &runs);
    }

    /// Now and then a record that nobody works on just now cannot be read any more; also one of a run at work.
    fn spoil(&mut self) {
        if !self.plan.spoil.is_some_and(|often| one_in(&self.chance, often)) {
            return;
        }
        let mut truth = lock(&self.truth);
        let open = truth.runs.iter().filter(|(_, run)| !run.life.state.is_terminal());
        let open: Vec<RunId> = open.map(|(id, _)| *id).collect();
        let all: Vec<RunId> = truth.runs.keys().copied().collect();
        let from = if open.is_empty() || one_in(&self.chance, 2) { all } else { open };
        if let Some(id) = (!from.is_empty()).then(|| pick(&self.chance, &from)) {
            truth.spoilt(id);
            drop(truth);
            self.shop.forget(id);
            self.memory.damage_run(id);
            // It is opened once more, so that nothing of the record is remembered.
            self.memory = Arc::new(self.memory.crash());
        }
    }

    fn everything(
        &self,
    ) -> (Vec<punctual::store::StoredTask>, punctual::store::Page<punctual::model::Run, punctual::model::RunId>)
    {
        let all = RunFilter { oldest_first: true, limit: usize::MAX >> 8, ..RunFilter::default() };
        let every = TaskFilter { limit: usize::MAX >> 8, ..TaskFilter::default() };
        let runtime = runtime();
        runtime.block_on(async {
            let tasks = self.memory.tasks(&every).await.map(|page| page.items).unwrap_or_default();
            let empty = punctual::store::Page { items: Vec::new(), next: None };
            (tasks, self.memory.runs(&all).await.unwrap_or(empty))
        })
    }

    fn snapshot(&self) -> String {
        let (tasks, runs) = self.everything();
        format!("{tasks:?} {runs:?}")
    }

    fn downtime(&mut self) {
        let most = self.plan.longest_downtime.as_secs();
        let down = if one_in(&self.chance, 3) {
            Duration::ZERO
        } else {
            Duration::from_secs(self.chance.below(most))
        };
        self.clock.advance_now(down);
        if self.plan.jump.is_some() && one_in(&self.chance, 6) {
            self.jump();
        }
    }

    /// One life of the node.
    fn node(&mut self, healing: bool) -> Ended {
        let runtime = runtime();
        let ended = runtime.block_on(self.run_node(healing));
        // Everything that was under way is gone at this very point, as in a process that is killed.
        lock(&self.truth).dying = true;
        drop(runtime);
        let mut truth = lock(&self.truth);
        truth.dying = false;
        truth.counts.crashes += u64::from(ended == Ended::Crashed);
        truth.counts.stops += u64::from(ended == Ended::Stopping);
        truth.trace.line(format_args!("{} node ends: {ended:?}", self.clock.now()));
        ended
    }

    fn idle_node(&mut self) {
        let runtime = runtime();
        runtime.block_on(async {
            self.next_fault(true);
            match self.start().await {
                Ok(node) => {
                    self.clock.settle().await;
                    drop(node);
                }
                Err(error) => lock(&self.truth).wrong(format!("the node does not start: {error}")),
            }
        });
    }

    async fn start(&mut self) -> Result<Punctual, punctual::Error> {
        let (fault, die) = (Arc::clone(&self.fault), Arc::clone(&self.shop.die));
        let failed = move || {
            fault.lock().unwrap_or_else(PoisonError::into_inner).struck = true;
            die.notify_one();
        };
        let (memory, truth) = (Arc::clone(&self.memory), Arc::clone(&self.truth));
        let watched: Arc<dyn Store> =
            Arc::new(Watched::new(memory, self.clock.clone(), truth, Arc::new(failed)));
        self.store = Some(Arc::clone(&watched));
        let (fault, die) = (Arc::clone(&self.fault), Arc::clone(&self.shop.die));
        let (full, told) = (Arc::clone(&self.full), Arc::clone(&self.truth));
        let faulty = Arc::new(FaultyStore::planned(watched, move |call, _| {
            if full.load(Ordering::Relaxed) && NEW_WORK.contains(&call) {
                lock(&told).counts.refused += 1;
                return Verdict::Refuse(store::Error::Full { free: 0, needed: 1 });
            }
            let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut fault.writes_left {
                Some(0) => {
                    fault.writes_left = None;
                    fault.struck = true;
                    die.notify_one();
                    if fault.kind == FaultKind::After { Verdict::FailAfter } else { Verdict::FailBefore }
                }
                Some(left) => {
                    *left -= 1;
                    Verdict::Pass
                }
                None => Verdict::Pass,
            }
        }));
        self.nodes += 1;
        let mut builder = Punctual::builder()
            .store(faulty)
            .clock(Arc::new(self.clock.clone()))
            .chance(Arc::new(Chance::from_seed(self.seed ^ self.nodes)))
            .limits(self.plan.limits);
        for driver in self.shop.drivers() {
            builder = builder.driver(driver);
        }
        builder.start().await
    }

    /// Decides when the store fails next.
    fn next_fault(&self, healing: bool) {
        let writes_left = self.plan.store_fault.filter(|_| !healing).map(|mean| {
            // Now and then so soon that the node dies while it takes up what an earlier one had begun.
            if one_in(&self.chance, 4) { self.chance.below(12) } else { self.chance.below(2 * mean) }
        });
        let kind = pick(&self.chance, &[FaultKind::Before, FaultKind::After, FaultKind::Within]);
        let writes_left = match (kind, writes_left) {
            (FaultKind::Within, Some(commits)) => {
                self.memory.die_after(commits);
                None
            }
            (_, writes_left) => writes_left,
        };
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) =
            Fault { writes_left, kind, struck: false };
    }

    pub(crate) fn fault_has_struck(&self) -> bool {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).struck
    }

    async fn run_node(&mut self, healing: bool) -> Ended {
        self.next_fault(healing);
        let die = Arc::clone(&self.shop.die);
        // A death that nobody noticed belongs to the node before.
        tokio::select! { biased; () = die.notified() => {} () = std::future::ready(()) => {} }
        self.disturb();
        let clock = self.clock.clone();
        let started = {
            let starting = async {
                let node = self.start().await;
                clock.settle().await;
                node
            };
            tokio::select! {
                biased;
                () = die.notified() => None,
                node = starting => Some(node),
            }
        };
        let node = match started {
            None => return self.struck(),
            Some(Err(error)) => {
                lock(&self.truth).wrong(format!("the node does not start: {error}"));
                return Ended::Crashed;
            }
            Some(Ok(node)) => node,
        };
        self.nobody_is_forgotten();
        if self.names == 0 {
            for _ in 0..self.plan.tasks {
                self.create(&node).await;
            }
        }
        if healing {
            self.heal(&node).await;
            return Ended::Over;
        }
        loop {
            self.check_settled();
            if self.is_wrong() || self.clock.monotonic() >= self.plan.style.span {
                return Ended::Over;
            }
            // A disk stays full for some minutes: the node looks again every half a minute, and a year of that is long.
            let mean = if lock(&self.truth).full { FULL_PAUSE } else { self.plan.pause };
            let pause = Duration::from_secs(1 + self.chance.below(2 * mean.as_secs()));
            tokio::select! {
                biased;
                () = die.notified() => return self.died(&node).await,
                () = clock.advance(pause) => {}
            }
            self.check_settled();
            let done = tokio::select! {
                biased;
                () = die.notified() => return self.died(&node).await,
                done = async { let done = self.deed(&node).await; clock.settle().await; done } => done,
            };
            match done {
                Some(Ended::Stopping) => return self.stop(node).await,
                Some(ended) => return ended,
                None => {}
            }
        }
    }

    /// Lets the disk fill up, or makes room on it.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
        lock(&self.truth).full = full;
    }

    fn struck(&self) -> Ended {
        let struck = self.fault_has_struck();
        lock(&self.truth).counts.store_faults += u64::from(struck);
        Ended::Crashed
    }

    /// The node dies here and now, or, after a fault of the store, is looked at first: it must have noticed.
    async fn died(&self, node: &Punctual) -> Ended {
        if self.fault_has_struck() && one_in(&self.chance, 2) {
            let noticed = tokio::select! {
                biased;
                _ = node.failure() => true,
                () = async { self.clock.settle().await; self.clock.settle().await } => false,
            };
            if !noticed {
                lock(&self.truth).wrong("the store has failed and the node goes on".to_owned());
            }
        }
        self.struck()
    }

    async fn stop(&self, node: Punctual) -> Ended {
        let clock = self.clock.clone();
        let stopped = tokio::select! {
            biased;
            stopped = node.stop() => Some(stopped),
            () = clock.advance(Duration::from_secs(300)) => None,
        };
        match stopped {
            None => lock(&self.truth).wrong("the node did not stop within five minutes".to_owned()),
            Some(Err(error)) if !self.fault_has_struck() => {
                lock(&self.truth).wrong(format!("the node did not stop in order: {error}"));
            }
            Some(_) => {}
        }
        Ended::Stopping
    }

    /// After a start every process that lives is watched by somebody.
    fn nobody_is_forgotten(&self) {
        let mut truth = lock(&self.truth);
        let forgotten: Vec<_> =
            truth.living.iter().filter(|(_, living)| !living.attached).map(|(run, _)| *run).collect();
        if !forgotten.is_empty() {
            truth.wrong(format!("nobody watches {forgotten:?}"));
        }
    }

    fn check_settled(&self) {
        let now = self.clock.now();
        let mut truth = lock(&self.truth);
        truth.latest_wall = truth.latest_wall.max(now);
        truth.nothing_is_owed(now);
    }

    fn is_wrong(&self) -> bool {
        !lock(&self.truth).wrong.is_empty()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}
