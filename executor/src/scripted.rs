//! A driver whose work does what a test wrote down beforehand, on the test's own clock.
//!
//! It stands in for any driver by taking its name. What it is asked is recorded; what it does is decided by the
//! script for each attempt, by default success at once.

use crate::driver::{Attempt, Class, Driver, Handle, Killed, Recovered, RunSink, Stream};
use crate::flag::Flag;
use async_trait::async_trait;
use punctual_clock::Clock;
use punctual_model::{Exit, Failure, FailureKind, Outcome, RunId, Usage};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What an attempt does.
#[derive(Debug, Clone)]
pub enum Act {
    /// It succeeds at once.
    Succeed,
    /// It succeeds and gives this back.
    Give(Value),
    /// It exits with this code.
    Exit(i32),
    /// It fails; another attempt may go better.
    Fail(String),
    /// It fails for good.
    FailForGood(String),
    /// It is at work for so long, then does this.
    Run(Duration, Box<Act>),
    /// It writes this, then goes on with the next.
    Print(String, Box<Act>),
    /// It saves this, then goes on with the next.
    Save(Value, Box<Act>),
    /// It works until it is told to end, and ends then by the signal.
    Hang,
    /// It works until it was killed by force.
    IgnoreTerm,
    /// It cannot be ended this many times, each of which fails after its grace; then it can.
    Stubborn(u32),
    /// Told to end, it takes so long and then exits with this code.
    EndSlowly(Duration, i32),
    /// Its driver panics while it waits.
    Panic,
    /// Its driver panics while it starts it.
    PanicAtStart,
    /// It cannot be started.
    Refuse(Failure),
    /// Its start takes for ever.
    HangAtStart,
    /// It begins, its start is never heard of, and it has gone when it is looked for.
    BeginUnheard,
}

impl Act {
    /// At work for this long, then success.
    #[must_use]
    pub fn run_for(duration: Duration) -> Self {
        Self::Run(duration, Box::new(Self::Succeed))
    }
}

/// What the driver was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// For which run.
    pub run: RunId,
    /// The name of its task.
    pub task: String,
    /// Which attempt.
    pub attempt: u32,
    /// What.
    pub what: Ask,
}

/// One question to the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the driver's functions")]
pub enum Ask {
    Start,
    Recover,
    Kill { signal: String, grace: Duration },
    Signal(String),
    Stats,
    Detach,
}

type Script = Box<dyn Fn(&Attempt) -> Act + Send + Sync>;

/// The driver. Clones are the same.
#[derive(Clone)]
pub struct ScriptedDriver {
    name: &'static str,
    class: Class,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
    /// Runs of earlier sessions that are to be found alive, and what they do then.
    alive: Mutex<HashMap<RunId, Act>>,
    /// Runs that have begun, and whose start was not heard of.
    unheard: Mutex<HashSet<RunId>>,
    detaches: Flag,
    /// What a look at its work sees, and how long the look takes.
    looks: Mutex<(Option<Usage>, Duration)>,
    at_once: AtomicU32,
    most_at_once: AtomicU32,
}

impl fmt::Debug for ScriptedDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedDriver").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ScriptedDriver {
    /// A driver that takes the place of the one with this name (`handler`, `process`, `shell`).
    pub fn named(name: &'static str, clock: Arc<dyn Clock>) -> Self {
        let shared = Shared {
            clock,
            script: Mutex::new(Box::new(|_| Act::Succeed)),
            asked: Mutex::default(),
            alive: Mutex::default(),
            unheard: Mutex::default(),
            detaches: Flag::default(),
            looks: Mutex::default(),
            at_once: AtomicU32::new(0),
            most_at_once: AtomicU32::new(0),
        };
        let class = if name == "handler" { Class::InProcess } else { Class::Process };
        Self { name, class, shared: Arc::new(shared) }
    }

    /// The same work under another name.
    #[must_use]
    pub fn also_named(&self, name: &'static str) -> Self {
        let class = if name == "handler" { Class::InProcess } else { Class::Process };
        Self { name, class, shared: Arc::clone(&self.shared) }
    }

    /// Writes down what attempts do, in place of what was written before.
    pub fn script(&self, script: impl Fn(&Attempt) -> Act + Send + Sync + 'static) {
        *lock(&self.shared.script) = Box::new(script);
    }

    /// Writes down what the attempts of each run do, one after the other; the last is repeated.
    pub fn acts(&self, acts: impl Into<Vec<Act>>) {
        let acts = acts.into();
        self.script(move |attempt| {
            let number = usize::try_from(attempt.run.life.attempt).unwrap_or(usize::MAX);
            acts.get(number.saturating_sub(1)).or(acts.last()).cloned().unwrap_or(Act::Succeed)
        });
    }

    /// A run of an earlier session will be found alive, and does this from then on.
    pub fn is_alive(&self, run: RunId, act: Act) {
        lock(&self.shared.alive).insert(run, act);
    }

    /// From now on its work goes on by itself when the node stops.
    pub fn detaches(&self) {
        self.shared.detaches.raise();
    }

    /// What a look at its work sees from now on, and how long each look takes. Before that nothing is seen, at once.
    pub fn takes(&self, usage: Option<Usage>, look: Duration) {
        *lock(&self.shared.looks) = (usage, look);
    }

    /// What it was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// The names of the tasks whose attempts it was asked to start, in order.
    #[must_use]
    pub fn started(&self) -> Vec<String> {
        let asked = lock(&self.shared.asked);
        asked.iter().filter(|asked| asked.what == Ask::Start).map(|asked| asked.task.clone()).collect()
    }

    /// How many attempts live now.
    #[must_use]
    pub fn at_once(&self) -> u32 {
        self.shared.at_once.load(Ordering::Relaxed)
    }

    /// The most that lived at once.
    #[must_use]
    pub fn most_at_once(&self) -> u32 {
        self.shared.most_at_once.load(Ordering::Relaxed)
    }

    fn note(&self, attempt: &Attempt, what: Ask) {
        note(&self.shared, attempt, what);
    }

    fn handle(&self, attempt: Attempt, act: Act) -> Box<dyn Handle> {
        let now = self.shared.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.most_at_once.fetch_max(now, Ordering::Relaxed);
        let until = match &act {
            Act::Run(duration, _) => Some(self.shared.clock.monotonic().saturating_add(*duration)),
            _ => None,
        };
        let stubborn = match &act {
            Act::Stubborn(times) => *times,
            _ => 0,
        };
        Box::new(ScriptedHandle {
            shared: Arc::clone(&self.shared),
            attempt,
            act,
            until,
            stubborn: AtomicU32::new(stubborn),
            ended: Flag::default(),
            outcome: Mutex::new(None),
        })
    }
}

fn note(shared: &Shared, attempt: &Attempt, what: Ask) {
    lock(&shared.asked).push(Asked {
        run: attempt.run.id,
        task: attempt.task.spec.name.clone(),
        attempt: attempt.run.life.attempt,
        what,
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Driver for ScriptedDriver {
    fn name(&self) -> &'static str {
        self.name
    }

    fn class(&self) -> Class {
        self.class
    }

    async fn start(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Result<Box<dyn Handle>, Failure> {
        self.note(&attempt, Ask::Start);
        let mut act = lock(&self.shared.script)(&attempt);
        loop {
            act = match act {
                Act::Refuse(failure) => return Err(failure),
                Act::PanicAtStart => panic!("scripted panic at the start"),
                Act::HangAtStart => std::future::pending().await,
                Act::BeginUnheard => {
                    lock(&self.shared.unheard).insert(attempt.run.id);
                    std::future::pending().await
                }
                Act::Print(text, next) => {
                    sink.output(Stream::Stdout, text.as_bytes());
                    *next
                }
                Act::Save(state, next) => {
                    sink.save(state);
                    *next
                }
                act => return Ok(self.handle(attempt, act)),
            }
        }
    }

    async fn recover(&self, attempt: Attempt, _sink: Arc<dyn RunSink>) -> Recovered {
        self.note(&attempt, Ask::Recover);
        if let Some(act) = lock(&self.shared.alive).remove(&attempt.run.id) {
            return Recovered::Found(self.handle(attempt, act));
        }
        let has_begun = lock(&self.shared.unheard).remove(&attempt.run.id);
        if has_begun { Recovered::Ended } else { Recovered::Nothing }
    }
}

struct ScriptedHandle {
    shared: Arc<Shared>,
    attempt: Attempt,
    act: Act,
    /// When a run of its own length is over.
    until: Option<Duration>,
    stubborn: AtomicU32,
    ended: Flag,
    outcome: Mutex<Option<Outcome>>,
}

impl ScriptedHandle {
    fn end(&self, outcome: Outcome) -> Outcome {
        let outcome = lock(&self.outcome).get_or_insert(outcome).clone();
        self.ended.raise();
        outcome
    }

    async fn left(&self) {
        let left = self.until.unwrap_or_default().saturating_sub(self.shared.clock.monotonic());
        self.shared.clock.sleep(left).await;
    }
}

fn exit(exit: Exit) -> Outcome {
    let error =
        (exit != Exit::Code(0)).then(|| Failure::new(FailureKind::Work, exit.to_string()).recoverable());
    Outcome { exit: Some(exit), error, ..Outcome::default() }
}

fn outcome_of(act: &Act) -> Outcome {
    match act {
        Act::Give(value) => Outcome { result: Some(value.clone()), ..Outcome::default() },
        Act::Exit(code) => exit(Exit::Code(*code)),
        Act::Fail(text) => Outcome::failed(Failure::new(FailureKind::Work, text).recoverable()),
        Act::FailForGood(text) => Outcome::failed(Failure::new(FailureKind::Work, text)),
        _ => Outcome::success(),
    }
}

#[async_trait]
impl Handle for ScriptedHandle {
    async fn wait(&self) -> Outcome {
        if let Some(outcome) = lock(&self.outcome).clone() {
            return outcome;
        }
        match &self.act {
            Act::Run(_, then) => tokio::select! {
                biased;
                () = self.ended.raised() => {}
                () = self.left() => return self.end(outcome_of(then)),
            },
            Act::Hang | Act::IgnoreTerm | Act::Stubborn(_) | Act::EndSlowly(..) => self.ended.raised().await,
            Act::Panic => panic!("scripted panic"),
            act => return self.end(outcome_of(act)),
        }
        lock(&self.outcome).clone().unwrap_or_default()
    }

    async fn kill(&self, signal: &str, grace: Duration) -> Result<Killed, String> {
        note(&self.shared, &self.attempt, Ask::Kill { signal: signal.to_owned(), grace });
        let clock = &self.shared.clock;
        let refuse = |left: u32| left.checked_sub(1);
        if self.stubborn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuse).is_ok() {
            clock.sleep(grace).await;
            return Err("scripted to be stubborn".to_owned());
        }
        let by_force = || {
            self.end(exit(Exit::Signal(9)));
            Ok(Killed::ByForce)
        };
        match &self.act {
            Act::IgnoreTerm => {
                tokio::select! {
                    biased;
                    () = self.ended.raised() => Ok(Killed::ByForce),
                    () = clock.sleep(grace) => by_force(),
                }
            }
            Act::EndSlowly(needed, _) if *needed > grace => {
                clock.sleep(grace).await;
                by_force()
            }
            Act::EndSlowly(needed, code) => {
                clock.sleep(*needed).await;
                self.end(exit(Exit::Code(*code)));
                Ok(Killed::ByItself)
            }
            _ => {
                self.end(exit(Exit::Signal(15)));
                Ok(Killed::ByItself)
            }
        }
    }

    async fn signal(&self, signal: &str) -> Result<(), String> {
        note(&self.shared, &self.attempt, Ask::Signal(signal.to_owned()));
        Ok(())
    }

    async fn stats(&self) -> Option<Usage> {
        note(&self.shared, &self.attempt, Ask::Stats);
        let (usage, look) = *lock(&self.shared.looks);
        if !look.is_zero() {
            self.shared.clock.sleep(look).await;
        }
        usage
    }

    fn goes_on(&self) -> bool {
        self.shared.detaches.is_raised()
    }

    async fn detach(&self) -> bool {
        note(&self.shared, &self.attempt, Ask::Detach);
        self.shared.detaches.is_raised()
    }
}

impl Drop for ScriptedHandle {
    fn drop(&mut self) {
        self.shared.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}
