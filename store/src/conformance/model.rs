//! Random histories against a naive model: the strongest test of a store. The model knows each record and looks
//! at all of them to say what may happen; the store must agree, also after each restart.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::store::{CancelAnswer, EdgeAnswer, Enqueued, Materialise, Materialised};
use jiff::Timestamp;
use punctual_clock::Chance;
use punctual_model::task::{Concurrency, Retention};
use punctual_model::{
    CancelWhy, Life, LostWhy, Overlap, Run, RunEvent, RunId, RunState, StopWhy, Task, TaskId, TaskSpec,
    Trigger,
};
use std::collections::{BTreeMap, BTreeSet};

/// One random step: which, and three numbers for what it needs. Numbers, so that failures shrink well.
pub type Op = [u16; 4];

/// Steps of the history in the suite: some hundred syncs on a disk.
const STEPS: usize = 500;

pub async fn any_history_keeps_the_invariants(subject: &mut dyn Subject) {
    let chance = Chance::from_seed(42);
    let bits = || u16::try_from(chance.below(1 << 16)).unwrap();
    let ops: Vec<Op> = (0..STEPS).map(|_| [bits(), bits(), bits(), bits()]).collect();
    play(subject, &ops).await;
}

/// Plays a history and checks the store against the model after each step.
pub async fn play(subject: &mut dyn Subject, ops: &[Op]) {
    let mut world = World::new(subject).await;
    for op in ops {
        world.step(*op).await;
        world.check_figures();
    }
    world.reopen().await;
    world.check_all().await;
    world.run_dry().await;
    world.reopen().await;
    world.check_all().await;
}

struct World<'a> {
    scene: Scene<'a>,
    tasks: Vec<Task>,
    checkpoints: BTreeMap<TaskId, Option<Timestamp>>,
    runs: BTreeMap<RunId, Run>,
    claimed: BTreeSet<RunId>,
    dues: BTreeSet<(TaskId, Timestamp)>,
}

fn define(spec: &mut TaskSpec, kind: u16) {
    let limit = |limit, key: Option<&str>| Some(Concurrency { limit, key: key.map(str::to_owned) });
    spec.retention = Retention { runs: 3, ..Retention::default() };
    spec.catch_up.rate = 2;
    spec.priority = i8::try_from(kind / 7 % 3).unwrap() - 1;
    (spec.overlap, spec.concurrency) = match kind % 7 {
        0 => (Overlap::Allow, None),
        1 => (Overlap::Allow, limit(2, None)),
        2 => (Overlap::Allow, limit(1, Some("db"))),
        3 => (Overlap::Allow, limit(3, Some("db"))),
        4 => (Overlap::QueueOne, None),
        5 => (Overlap::Skip, limit(2, Some("db"))),
        _ => (Overlap::Replace, limit(2, None)),
    };
}

impl<'a> World<'a> {
    async fn new(subject: &'a mut dyn Subject) -> Self {
        let mut scene = Scene::new(subject).await;
        let mut tasks = Vec::new();
        for n in 0..6 {
            tasks.push(scene.task_with(&format!("t{n}"), |spec| define(spec, n * 3)).await);
        }
        let checkpoints = tasks.iter().map(|task| (task.id, None)).collect();
        let (runs, claimed, dues) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { scene, tasks, checkpoints, runs, claimed, dues }
    }

    async fn step(&mut self, [which, a, b, c]: Op) {
        match which % 16 {
            0 | 1 => self.enqueue(a, b, c).await,
            2 | 3 => self.due(a, b, c).await,
            4..=6 => self.claim(usize::from(a % 5)).await,
            7 | 8 => self.begin(a).await,
            9 => self.release(a).await,
            10 | 11 => self.end(a, b).await,
            12 => self.cancel(a, b).await,
            13 => self.change(a, b).await,
            14 => self.scene.advance(u64::from(a % 20)),
            _ if a.is_multiple_of(3) => self.reopen().await,
            _ => self.prune(b).await,
        }
    }

    fn task(&self, id: TaskId) -> &Task {
        self.tasks.iter().find(|task| task.id == id).unwrap()
    }

    fn nth<T: Copy>(items: &[T], n: u16) -> Option<T> {
        (!items.is_empty()).then(|| items[usize::from(n) % items.len()])
    }

    fn busy(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().filter(|run| run.state().is_at_work() || self.claimed.contains(&run.id))
    }

    fn waiting(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().filter(|run| run.state().is_waiting() && !self.claimed.contains(&run.id))
    }

    fn lane(run: &Run) -> (TaskId, bool, bool) {
        (run.task, run.forced, !run.forced && run.trigger == Trigger::CatchUp)
    }

    /// Whether the limits let this run start now; who else waits is no matter here.
    fn may_go(&self, run: &Run) -> bool {
        let spec = &self.task(run.task).spec;
        let of_task: Vec<_> = self.busy().filter(|other| other.task == run.task).collect();
        let unforced = of_task.iter().filter(|other| !other.forced);
        let serial = spec.overlap != Overlap::Allow;
        let concurrency = spec.concurrency.as_ref().is_none_or(|Concurrency { limit, key }| {
            let count = match key {
                None => of_task.len(),
                Some(_) => {
                    let shares = |other: &&Run| {
                        let concurrency = self.task(other.task).spec.concurrency.as_ref();
                        concurrency.is_some_and(|other| other.key == *key)
                    };
                    self.busy().filter(shares).count()
                }
            };
            count < *limit as usize
        });
        let catch_up = of_task.iter().filter(|other| Self::lane(other).2).count();
        let older = || {
            let now = self.scene.now();
            let mut others = self.waiting().filter(|other| other.task == run.task && Self::lane(other).2);
            others.any(|other| other.ready_at() <= now)
        };
        concurrency
            && (run.forced || !serial || unforced.clone().count() == 0)
            && (!Self::lane(run).2 || catch_up < spec.catch_up.rate as usize)
            && (run.forced || !serial || Self::lane(run).2 || !older())
    }

    /// Waiting runs that could start now.
    fn claimable(&self) -> Vec<&Run> {
        let now = self.scene.now();
        self.waiting().filter(|run| run.ready_at() <= now && self.may_go(run)).collect()
    }

    fn learn(&mut self, run: &Run) {
        let before = self.runs.insert(run.id, run.clone());
        if let Some(before) = before {
            assert!(!before.state().is_terminal(), "a terminal record changed: {before:?} {run:?}");
            assert!(run.life.attempt >= before.life.attempt && run.life.epoch >= before.life.epoch);
        }
    }

    /// A new run as the store accepted it: at once at work only if nobody comes before it.
    fn born(&mut self, run: &Run) {
        if run.state().is_at_work() {
            assert!(self.may_go(run), "over a limit at birth: {run:?}");
            let priority = self.task(run.task).spec.priority;
            let mut others = self.claimable().into_iter();
            let first = others.find(|other| self.task(other.task).spec.priority >= priority);
            assert_eq!(first, None, "{} jumped the queue", run.id);
        }
        self.learn(run);
    }

    async fn enqueue(&mut self, a: u16, b: u16, c: u16) {
        let task = Self::nth(&(0..self.tasks.len()).collect::<Vec<_>>(), a).unwrap();
        let task = self.tasks[task].clone();
        let mut runs = Vec::new();
        for n in 0..=(b % 3) {
            let mut run = self.scene.draft_run(&task);
            run.forced = (b / 4 + n).is_multiple_of(5);
            if c.is_multiple_of(4) {
                run.life = Life::born(RunState::Scheduled { at: self.scene.at(i64::from(c % 30)) });
            }
            runs.push(run);
        }
        let reserved = usize::from(c % 3);
        let answers = self.scene.store().enqueue(&self.scene.session, runs, reserved).await.unwrap();
        for answer in answers {
            let Enqueued::Accepted(run) = answer else { panic!("{answer:?}") };
            self.born(&run);
        }
    }

    async fn due(&mut self, a: u16, b: u16, c: u16) {
        let task = self.tasks[usize::from(a) % self.tasks.len()].clone();
        let seen = self.checkpoints[&task.id];
        let trigger = if b.is_multiple_of(3) { Trigger::CatchUp } else { Trigger::Schedule };
        let mut births = Vec::new();
        for n in 0..=i64::from(b % 4) {
            let base = seen.unwrap_or(self.scene.at(-100)) + jiff::SignedDuration::from_secs(1 + n);
            births.push(Run { trigger, ..self.scene.draft_due(&task, base) });
        }
        let stale = c.is_multiple_of(8);
        let checkpoint = births.last().unwrap().scheduled_for;
        let due = Materialise {
            task: task.id,
            revision: task.revision,
            seen_checkpoint: if stale { Some(self.scene.at(1)) } else { seen },
            checkpoint,
            births,
            replaces: Vec::new(),
            reserved: usize::from(c % 3),
        };
        let answer = self.scene.store().materialise(&self.scene.session, vec![due]).await.unwrap();
        match &answer[0] {
            Materialised::Stale(Some(current)) => {
                assert!(stale);
                assert_eq!(current.progress.checkpoint, seen);
            }
            Materialised::Stored { births, .. } => {
                assert!(!stale);
                for run in births {
                    assert!(self.dues.insert((run.task, run.scheduled_for)), "two records of one due");
                    self.born(run);
                }
                self.checkpoints.insert(task.id, Some(checkpoint));
            }
            other @ Materialised::Stale(None) => panic!("{other:?}"),
        }
    }

    async fn claim(&mut self, max: usize) {
        let claims = self.scene.claims(max).await;
        assert!(claims.len() <= max);
        let short = claims.len() < max;
        for claim in claims {
            let known = self.runs[&claim.run.id].clone();
            assert!(
                known.state().is_waiting() && !self.claimed.contains(&known.id),
                "claimed twice: {known:?}"
            );
            assert!(known.ready_at() <= self.scene.now(), "before its time: {known:?}");
            assert!(self.may_go(&known), "over a limit: {known:?}");
            assert_eq!(claim.task.as_ref(), self.task(known.task));
            let key = |run: &Run| (run.ready_at(), run.id);
            let first = self.waiting().filter(|run| Self::lane(run) == Self::lane(&known)).map(key).min();
            assert_eq!(first, Some(key(&known)), "not the first of its lane");
            let priority = self.task(known.task).spec.priority;
            let higher =
                self.claimable().into_iter().find(|run| self.task(run.task).spec.priority > priority);
            assert_eq!(higher, None, "a higher priority waits");
            self.claimed.insert(known.id);
        }
        if short {
            assert_eq!(self.claimable(), Vec::<&Run>::new(), "somebody could go and was not claimed");
        }
    }

    async fn begin(&mut self, a: u16) {
        let claimed: Vec<_> = self.claimed.iter().copied().collect();
        let Some(id) = Self::nth(&claimed, a) else { return };
        let run = self.scene.read(id).await;
        let edge = self.scene.claim_edge(&run, self.task(run.task).revision);
        let begun = self.scene.applied(edge).await;
        self.claimed.remove(&id);
        self.learn(&begun);
    }

    async fn release(&mut self, a: u16) {
        let claimed: Vec<_> = self.claimed.iter().copied().collect();
        let Some(id) = Self::nth(&claimed, a) else { return };
        self.scene.store().release(&self.scene.session, vec![id]).await.unwrap();
        self.claimed.remove(&id);
    }

    async fn end(&mut self, a: u16, b: u16) {
        let at_work: Vec<_> =
            self.runs.values().filter(|run| run.state().is_at_work()).map(|run| run.id).collect();
        let Some(id) = Self::nth(&at_work, a) else { return };
        let run = self.runs[&id].clone();
        let event = match b % 7 {
            0 | 1 => RunEvent::Succeeded,
            2 => RunEvent::Failed,
            3 => RunEvent::Restarting { at: self.scene.at(i64::from(b % 15)) },
            4 => RunEvent::Interrupted,
            5 => RunEvent::StopAsked { why: StopWhy::Timeout, at: self.scene.now() },
            _ => RunEvent::Lost { why: LostWhy::Vanished },
        };
        let mut expect = run.clone();
        let legal = expect.apply(event, self.scene.now()).is_ok();
        match self.scene.step(self.scene.edge(&run, event)).await {
            EdgeAnswer::Applied(after) => {
                assert!(legal);
                assert_eq!(after.life, crate::ledger::read::view(expect.clone(), self.scene.now()).life);
                // The order in a lane is that of the record; that a time has come is not in it.
                let after = Run { life: expect.life, ..after };
                self.learn(&after);
            }
            EdgeAnswer::Stale(now) => {
                assert!(!legal);
                assert_eq!(now, run);
            }
            EdgeAnswer::Unknown => panic!("it is known"),
        }
    }

    async fn cancel(&mut self, a: u16, b: u16) {
        if b.is_multiple_of(4) {
            let task = self.tasks[usize::from(a) % self.tasks.len()].id;
            let max = usize::from(b % 3) + 1;
            let ended = self.scene.store();
            let ended = ended.cancel_waiting(&self.scene.session, task, CancelWhy::Asked, max).await.unwrap();
            let waited =
                self.runs.values().filter(|run| run.task == task && run.state().is_waiting()).count();
            assert_eq!(ended.len(), waited.min(max));
            for run in ended {
                assert!(self.runs[&run.id].state().is_waiting());
                self.claimed.remove(&run.id);
                self.learn(&run);
            }
            return;
        }
        let ids: Vec<_> = self.runs.keys().copied().collect();
        let Some(id) = Self::nth(&ids, a) else { return };
        let known = self.runs[&id].clone();
        match self.scene.cancel(id).await {
            CancelAnswer::Ended(run) => {
                assert!(known.state().is_waiting());
                self.claimed.remove(&id);
                self.learn(&run);
            }
            CancelAnswer::Stopping(run) => {
                assert!(known.state().is_at_work());
                self.learn(&run);
            }
            CancelAnswer::AlreadyEnded(run) => assert_eq!(run, known),
            CancelAnswer::Unknown => panic!("it is known"),
        }
    }

    async fn change(&mut self, a: u16, b: u16) {
        let at = usize::from(a) % self.tasks.len();
        self.tasks[at] = self.scene.change(&self.tasks[at], |spec| define(spec, b)).await;
    }

    async fn prune(&mut self, b: u16) {
        let task = self.tasks[usize::from(b) % self.tasks.len()].id;
        // What is to be told is kept, whatever its age.
        let store = self.scene.store();
        let untold = store.untold(usize::MAX).await.unwrap();
        store.told(&self.scene.session, untold).await.unwrap();
        let pruned = self.scene.store().prune(&self.scene.session, task, usize::from(b % 7)).await.unwrap();
        for id in pruned.runs {
            let gone = self.runs.remove(&id).unwrap();
            assert!(gone.state().is_terminal() && gone.task == task);
            let older = self.runs.values().filter(|run| run.task == task && run.state().is_terminal());
            assert_eq!(older.clone().find(|run| run.id < id), None, "an older one was kept");
            assert!(older.count() >= 3);
        }
    }

    async fn reopen(&mut self) {
        self.scene.reopen().await;
        self.claimed.clear();
        self.check_all().await;
    }

    fn check_figures(&self) {
        let stats = self.scene.store().stats();
        let waiting = self.runs.values().filter(|run| run.state().is_waiting()).count();
        let at_work = self.runs.values().filter(|run| run.state().is_at_work()).count();
        assert_eq!((stats.waiting, stats.at_work), (waiting as u64, at_work as u64));
    }

    async fn check_all(&self) {
        let now = self.scene.now();
        for run in self.runs.values() {
            assert_eq!(self.scene.read(run.id).await, crate::ledger::read::view(run.clone(), now));
        }
        for task in &self.tasks {
            let unfinished = self.scene.store().unfinished(task.id).await.unwrap();
            let open = self.runs.values().filter(|run| run.task == task.id && !run.forced);
            let open: Vec<_> = open.filter(|run| !run.state().is_terminal()).collect();
            let (begun, waiting): (Vec<_>, Vec<_>) = open.into_iter().partition(|run| run.life.attempt > 0);
            assert_eq!(unfinished.begun, begun.iter().map(|run| run.id).collect::<Vec<_>>());
            assert_eq!(unfinished.waiting.len() as u64 + unfinished.more_waiting, waiting.len() as u64);
            let progress = self.scene.store().task(task.id).await.unwrap().unwrap().progress;
            assert_eq!(progress.checkpoint, self.checkpoints[&task.id]);
        }
        self.check_figures();
    }

    /// Whatever waits gets its turn in the end.
    async fn run_dry(&mut self) {
        self.scene.advance(60);
        for id in self.runs.keys().copied().collect::<Vec<_>>() {
            let run = self.runs[&id].clone();
            if run.state().is_at_work() {
                let ended = self.scene.happens(&run, RunEvent::Succeeded).await;
                self.learn(&ended);
            }
        }
        while self.waiting().next().is_some() {
            self.claim(3).await;
            assert!(!self.claimed.is_empty(), "nothing moves, and runs wait");
            for id in std::mem::take(&mut self.claimed) {
                let run = self.scene.read(id).await;
                let edge = self.scene.claim_edge(&run, self.task(run.task).revision);
                let begun = self.scene.applied(edge).await;
                let ended = self.scene.happens(&begun, RunEvent::Succeeded).await;
                self.learn(&begun);
                self.learn(&ended);
            }
        }
        self.check_figures();
    }
}
