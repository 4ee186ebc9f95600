//! The work of a simulated world: a table of what lives, which survives the node, and a driver that does what the
//! seed says. It judges every start: the record must be there, limits must hold, nothing may live twice.

use crate::oracle::mix;
use crate::truth::{Living, Truth};
use crate::watched::lock;
use async_trait::async_trait;
use punctual::clock::{Chance, Clock, VirtualClock};
use punctual::executor::{Attempt, Class, Driver, Handle, Killed, Recovered, RunSink};
use punctual::model::task::Concurrency;
use punctual::model::{Failure, FailureKind, Outcome, Overlap, RunId, RunState, Trigger};
use punctual::testing::{Act, ScriptedDriver};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What survives a node: processes, and what they do.
#[derive(Clone)]
pub(crate) struct Workshop {
    seed: u64,
    clock: VirtualClock,
    truth: Arc<Mutex<Truth>>,
    /// What each living attempt is doing.
    acts: Arc<Mutex<BTreeMap<RunId, Act>>>,
    pub(crate) mood: Arc<Mutex<Mood>>,
    /// Told when the node is to die in the middle of a start.
    pub(crate) die: Arc<Notify>,
}

/// How work is disposed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mood {
    /// Everything succeeds at once from now on.
    pub(crate) healed: bool,
    /// One in so many starts of processes lets the node die between the start and the news of it.
    pub(crate) deadly_start: u64,
    /// One in so many processes vanishes while the node is down.
    pub(crate) vanishes: u64,
}

#[derive(Clone)]
pub(crate) struct SimulatedDriver {
    name: &'static str,
    class: Class,
    scripted: ScriptedDriver,
    shop: Workshop,
}

struct SimulatedHandle {
    inner: Box<dyn Handle>,
    shop: Workshop,
    run: RunId,
    attempt: u32,
    process: bool,
    /// It has ended, or is not ours any more.
    over: Mutex<bool>,
}

impl Workshop {
    pub(crate) fn new(seed: u64, clock: VirtualClock, truth: Arc<Mutex<Truth>>, mood: Mood) -> Self {
        let die = Arc::new(Notify::new());
        Self { seed, clock, truth, acts: Arc::default(), mood: Arc::new(Mutex::new(mood)), die }
    }

    /// The drivers of a new node.
    pub(crate) fn drivers(&self) -> Vec<Arc<dyn Driver>> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let scripted = ScriptedDriver::named("handler", clock);
        let acts = Arc::clone(&self.acts);
        scripted.script(move |attempt| {
            let acts = acts.lock().unwrap_or_else(PoisonError::into_inner);
            acts.get(&attempt.run.id).cloned().unwrap_or(Act::Succeed)
        });
        ["handler", "process", "shell"]
            .into_iter()
            .map(|name| {
                let class = if name == "handler" { Class::InProcess } else { Class::Process };
                let (scripted, shop) = (scripted.also_named(name), self.clone());
                Arc::new(SimulatedDriver { name, class, scripted, shop }) as Arc<dyn Driver>
            })
            .collect()
    }

    /// The node has died: handlers with it, processes not.
    pub(crate) fn node_died(&self) {
        let mut truth = lock(&self.truth);
        truth.living.retain(|_, living| living.process);
        for living in truth.living.values_mut() {
            living.attached = false;
        }
        let alive: Vec<RunId> = truth.living.keys().copied().collect();
        drop(truth);
        self.acts.lock().unwrap_or_else(PoisonError::into_inner).retain(|run, _| alive.contains(run));
    }

    /// Nothing of a run is alive any more.
    pub(crate) fn forget(&self, run: RunId) {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    fn chance(&self, run: RunId, attempt: u32, what: u64) -> Chance {
        Chance::from_seed(mix(self.seed ^ mix(run.get()) ^ mix(u64::from(attempt) << 8 | what)))
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an attempt will do: by the disposition of its task, and chance.
    fn act(&self, attempt: &Attempt) -> Act {
        if self.mood().healed {
            return if attempt.task.spec.restart.on_success {
                Act::FailForGood("no more".to_owned())
            } else {
                Act::Succeed
            };
        }
        let chance = self.chance(attempt.run.id, attempt.run.life.attempt, 1);
        if attempt.run.trigger.follows().is_some() {
            let telling = Duration::from_millis(chance.below(20_000));
            return if chance.below(9) == 0 {
                Act::Hang
            } else {
                Act::Run(telling, Box::new(Act::Exit(chance.below(2) as i32)))
            };
        }
        let handler = attempt.task.spec.work.driver() == "handler";
        let length = |most: u64| Duration::from_millis(100 + chance.below(most * 1000));
        let end = |chance: &Chance| match chance.below(6) {
            0 => Act::Exit(1),
            1 => Act::Fail("it went wrong".to_owned()),
            2 => Act::FailForGood("it will always go wrong".to_owned()),
            _ => Act::Succeed,
        };
        let disposition = attempt.task.spec.labels.get("does").map_or("quick", String::as_str);
        match disposition {
            "slow" => Act::Run(length(3 * 3600), Box::new(end(&chance))),
            "brief" => Act::Run(length(120), Box::new(end(&chance))),
            "failing" => end(&Chance::from_seed(chance.bits() % 3)),
            "hanging" => match chance.below(6) {
                0 => Act::Hang,
                1 => Act::IgnoreTerm,
                2 => Act::Stubborn(1 + chance.below(3) as u32),
                3 => Act::EndSlowly(length(20), chance.below(2) as i32),
                4 => Act::HangAtStart,
                _ => Act::run_for(length(600)),
            },
            "nasty" => match chance.below(6) {
                0 if handler => Act::Panic,
                1 if handler => Act::PanicAtStart,
                2 => Act::Refuse(Failure::new(FailureKind::Start, "there is no such thing").recoverable()),
                3 => Act::Save(serde_json::json!(chance.below(9)), Box::new(Act::Exit(3))),
                4 => Act::Print("words\n".to_owned(), Box::new(Act::run_for(length(60)))),
                _ => end(&chance),
            },
            _ => Act::Succeed,
        }
    }

    /// Judges a start, and enters it.
    fn enter(&self, attempt: &Attempt, act: &Act, process: bool) {
        let mut truth = lock(&self.truth);
        let (run, task) = (&attempt.run, &attempt.task);
        let (id, number, epoch) = (run.id, run.life.attempt, run.life.epoch);
        let now = self.clock.now();
        truth.counts.started += 1;
        truth
            .trace
            .line(format_args!("{now} start {id} attempt {number} epoch {epoch} rev {}", task.revision));
        let known = truth.runs.get(&id).cloned();
        match known {
            None => truth.wrong(format!("run {id} was started without a record")),
            Some(known) => {
                let begun = matches!(
                    known.life.state,
                    RunState::Starting | RunState::Running | RunState::Stopping { .. }
                );
                if !begun || (known.life.attempt, known.life.epoch) != (number, epoch) || epoch != truth.epoch
                {
                    truth.wrong(format!(
                        "run {id} was started as attempt {number} in {epoch}, its record says {:?}",
                        known.life
                    ));
                }
                if known.run_at > truth.latest_wall.max(now) {
                    truth.wrong(format!("run {id} was started at {now}, before its time {}", known.run_at));
                }
            }
        }
        if let Some(other) = truth.living.get(&id).cloned() {
            truth.wrong(format!(
                "run {id} attempt {number} was started while attempt {} lives",
                other.attempt
            ));
        }
        let caught_up = run.trigger == Trigger::CatchUp && !run.forced;
        let tells = run.trigger.follows().is_some();
        let counted = || truth.living.values().filter(|living| !living.tells);
        let siblings = || counted().filter(|living| living.task.id == task.id);
        let all = siblings().count();
        let serial = siblings().filter(|living| !living.forced).count();
        let late = siblings().filter(|living| living.caught_up).count();
        let mut broken = Vec::new();
        if task.spec.overlap != Overlap::Allow && !run.forced && serial > 0 {
            broken.push(format!("run {id} was started beside {serial} others under {:?}", task.spec.overlap));
        }
        if caught_up && late >= task.spec.catch_up.rate as usize {
            broken.push(format!("run {id} was started beside {late} late ones"));
        }
        match &task.spec.concurrency {
            Some(Concurrency { limit, key: None }) if all >= *limit as usize => {
                broken.push(format!("run {id} was started beside {all} others, the limit is {limit}"));
            }
            Some(Concurrency { limit, key: Some(key) }) => {
                let named = |living: &&Living| {
                    let names = |task: &punctual::model::Task| {
                        task.spec.concurrency.as_ref().is_some_and(|other| other.key.as_ref() == Some(key))
                    };
                    let current = truth.tasks.get(&living.task.id);
                    names(&living.task) && current.is_none_or(|current| names(&current.task))
                };
                let busy = counted().filter(named).count();
                if busy >= *limit as usize {
                    broken.push(format!(
                        "run {id} was started beside {busy} with the key {key}, the limit is {limit}"
                    ));
                }
            }
            _ => {}
        }
        for broken in broken.into_iter().filter(|_| !tells) {
            truth.wrong(broken);
        }
        let until = match act {
            Act::Run(length, _) => Some(self.clock.monotonic() + *length),
            _ => None,
        };
        let living = Living {
            task: Arc::clone(task),
            attempt: number,
            forced: run.forced,
            caught_up,
            tells,
            process,
            attached: true,
            until,
        };
        truth.living.insert(id, living);
        truth.counts.most_living = truth.counts.most_living.max(truth.living.len() as u64);
    }

    /// An attempt is over.
    fn leave(&self, run: RunId, attempt: u32, how: &str) {
        let mut truth = lock(&self.truth);
        let now = self.clock.now();
        if !truth.dying {
            truth.trace.line(format_args!("{now} over {run} attempt {attempt} {how}"));
        }
        if truth.living.get(&run).is_some_and(|living| living.attempt == attempt) {
            truth.living.remove(&run);
            drop(truth);
            self.acts.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        }
    }
}

#[async_trait]
impl Driver for SimulatedDriver {
    fn name(&self) -> &'static str {
        self.name
    }

    fn class(&self) -> Class {
        self.class
    }

    async fn start(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Result<Box<dyn Handle>, Failure> {
        let shop = self.shop.clone();
        let act = shop.act(&attempt);
        let (run, number) = (attempt.run.id, attempt.run.life.attempt);
        let process = self.class == Class::Process;
        shop.enter(&attempt, bare(&act), process);
        shop.acts.lock().unwrap_or_else(PoisonError::into_inner).insert(run, act.clone());
        // Until there is a handle, whoever drops this leaves nothing alive.
        let mut unborn = Unborn { shop: shop.clone(), run, attempt: number, done: false };
        let deadly = shop.mood().deadly_start;
        if process
            && deadly > 0
            && shop.chance(run, number, 2).below(deadly) == 0
            && !matches!(bare(&act), Act::Refuse(_) | Act::HangAtStart)
        {
            // The process is there, and the node dies before anybody hears of it.
            unborn.done = true;
            shop.die.notify_one();
            std::future::pending::<()>().await;
        }
        let inner = self.scripted.start(attempt, sink).await?;
        unborn.done = true;
        let over = Mutex::new(false);
        Ok(Box::new(SimulatedHandle { inner, shop, run, attempt: number, process, over }))
    }

    async fn recover(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Recovered {
        let (shop, run) = (self.shop.clone(), attempt.run.id);
        let number = attempt.run.life.attempt;
        let living = lock(&shop.truth).living.get(&run).cloned();
        let Some(living) = living.filter(|living| living.attempt == number) else {
            lock(&shop.truth).trace.line(format_args!("recover {run} nothing"));
            return Recovered::Nothing;
        };
        let vanishes = shop.mood().vanishes;
        if vanishes > 0 && shop.chance(run, number, 3).below(vanishes) == 0 {
            shop.leave(run, number, "vanished");
            return Recovered::Ended;
        }
        let Some(act) = shop.acts.lock().unwrap_or_else(PoisonError::into_inner).get(&run).cloned() else {
            return Recovered::Nothing;
        };
        let left = living.until.map(|until| until.saturating_sub(shop.clock.monotonic()));
        let act = match (bare(&act).clone(), left) {
            (Act::Run(_, then), Some(Duration::ZERO)) => *then,
            (Act::Run(_, then), Some(left)) => Act::Run(left, then),
            (act, _) => act,
        };
        {
            let mut truth = lock(&shop.truth);
            truth.counts.recovered += 1;
            truth.trace.line(format_args!("recover {run} attempt {number}"));
            if let Some(living) = truth.living.get_mut(&run) {
                living.attached = true;
            }
        }
        self.scripted.is_alive(run, act);
        let Recovered::Found(inner) = self.scripted.recover(attempt, sink).await else {
            return Recovered::Nothing;
        };
        Recovered::Found(Box::new(SimulatedHandle {
            inner,
            shop,
            run,
            attempt: number,
            process: true,
            over: Mutex::new(false),
        }))
    }
}

/// What an act comes down to once it has written and saved what it had to.
fn bare(act: &Act) -> &Act {
    match act {
        Act::Print(_, next) | Act::Save(_, next) => bare(next),
        act => act,
    }
}

/// A start that has not come to its end.
struct Unborn {
    shop: Workshop,
    run: RunId,
    attempt: u32,
    done: bool,
}

impl Drop for Unborn {
    fn drop(&mut self) {
        if !self.done {
            self.shop.leave(self.run, self.attempt, "unborn");
        }
    }
}

impl SimulatedHandle {
    fn end(&self, how: &str) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *over, true) {
            self.shop.leave(self.run, self.attempt, how);
        }
    }
}

#[async_trait]
impl Handle for SimulatedHandle {
    async fn wait(&self) -> Outcome {
        let outcome = self.inner.wait().await;
        self.end("ended");
        outcome
    }

    async fn kill(&self, signal: &str, grace: Duration) -> Result<Killed, String> {
        let killed = self.inner.kill(signal, grace).await;
        if killed.is_ok() {
            self.end("killed");
        }
        killed
    }

    async fn signal(&self, signal: &str) -> Result<(), String> {
        self.inner.signal(signal).await
    }

    async fn detach(&self) -> bool {
        self.process
    }
}

impl Drop for SimulatedHandle {
    fn drop(&mut self) {
        // A handler lives in its handle; a process goes on without anybody.
        if !self.process {
            self.end("dropped");
        }
    }
}
