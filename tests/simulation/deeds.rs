//! What people and programs do to a running node, and how they may be answered.

use crate::definitions::{one_in, pick};
use crate::plan::FARTHEST;
use crate::watched::lock;
use crate::year::{Ended, Year};
use jiff::SignedDuration;
use punctual::clock::Clock;
use punctual::coordinator::{self, Accepted};
use punctual::model::task::TaskStatus;
use punctual::model::{CancelWhy, Life, Run, RunEvent, RunId, RunState, Task, TaskId, Trigger};
use punctual::prelude::{Change, Punctual, Resumption, RunRequest};
use punctual::store::{self, Edge, Expect, Fence, Materialise, Patch, PutTask, Session};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Year {
    /// One deed. Answers how the node ended, if it did by it.
    pub(crate) async fn deed(&mut self, node: &Punctual) -> Option<Ended> {
        let rolls = |one_in: Option<u64>, year: &Self| one_in.is_some_and(|n| year.chance.below(n) == 0);
        if rolls(self.plan.crash, self) {
            return Some(Ended::Crashed);
        }
        if rolls(self.plan.stop, self) {
            return Some(Ended::Stopping);
        }
        if rolls(self.plan.jump, self) {
            self.jump();
            self.clock.settle().await;
            return None;
        }
        if rolls(self.plan.freeze, self) {
            self.freeze();
            self.clock.settle().await;
            return None;
        }
        let full = lock(&self.truth).full;
        if full && one_in(&self.chance, 4) {
            self.make_room().await;
            return None;
        }
        if !full && rolls(self.plan.full, self) {
            self.set_full(true);
            return None;
        }
        let tasks = self.living_tasks();
        if !full && (tasks.len() as u64) < self.plan.tasks {
            self.create(node).await;
            return None;
        }
        let task = pick(&self.chance, &tasks);
        match self.chance.below(20) {
            0 => self.change_dues(node, task).await,
            1 | 2 => self.change_policies(node, task).await,
            3 => self.pause(node, task).await,
            4 | 5 => self.resume(node, task).await,
            6 if one_in(&self.chance, 3) => self.expect(node.tasks().delete(task, None).await.map(|()| None)),
            7..=9 => self.run(node, task).await,
            10 | 11 => self.cancel(node, task).await,
            12 | 13 => self.repeat(node, task).await,
            14 => {
                let since = self.clock.now() - SignedDuration::from_hours(24);
                self.expect(node.tasks().retry_failed(task, since).await.map(|_| None));
            }
            15..=17 => self.report_late().await,
            18 => self.ask_for_promise(node, task).await,
            _ => Box::pin(self.several(node)).await,
        }
        None
    }

    pub(crate) async fn create(&mut self, node: &Punctual) {
        self.names += 1;
        let name = format!("t{}", self.names);
        let now = self.clock.now();
        let spec = {
            let mut truth = lock(&self.truth);
            self.plan.style.spec(name, now, &mut truth.oracle, &self.chance)
        };
        self.expect(node.tasks().create(spec).await.map(|_| None));
    }

    async fn change_dues(&self, node: &Punctual, task: TaskId) {
        let now = self.clock.now();
        let (zone, schedule) = {
            let zone = self.plan.style.zone(&self.chance);
            let mut truth = lock(&self.truth);
            (zone, self.plan.style.schedule(zone, now, &mut truth.oracle, &self.chance))
        };
        let answer = node
            .tasks()
            .update(task, Change::default(), |spec| {
                spec.timezone = Some(zone.to_owned());
                spec.schedules = vec![schedule.clone()];
            })
            .await;
        self.expect(answer.map(|_| None));
    }

    async fn change_policies(&self, node: &Punctual, task: TaskId) {
        let Some(mut spec) = lock(&self.truth).tasks.get(&task).map(|truth| truth.task.spec.clone()) else {
            return;
        };
        self.plan.style.policies(&mut spec, &self.chance);
        self.expect(node.tasks().replace(task, spec, Change::default()).await.map(|_| None));
    }

    async fn pause(&self, node: &Punctual, task: TaskId) {
        self.expect(node.tasks().pause(task, Change::default()).await.map(|_| None));
    }

    async fn resume(&self, node: &Punctual, _: TaskId) {
        let paused: Vec<TaskId> = lock(&self.truth)
            .tasks
            .iter()
            .filter(|(_, truth)| !truth.deleted && truth.task.spec.status == TaskStatus::Paused)
            .map(|(id, _)| *id)
            .collect();
        if paused.is_empty() {
            return;
        }
        let task = pick(&self.chance, &paused);
        let resumption = pick(&self.chance, &[Resumption::FromNow, Resumption::CatchUp]);
        self.expect(node.tasks().resume(task, Change::default(), resumption).await.map(|_| None));
        self.clock.settle().await;
    }

    async fn run(&self, node: &Punctual, task: TaskId) {
        let now = self.clock.now();
        let chance = &self.chance;
        let hours = |most: u64| SignedDuration::from_hours(chance.below(most) as i64);
        let request = RunRequest {
            run_at: one_in(chance, 3).then(|| now + hours(48)),
            scheduled_for: one_in(chance, 4).then(|| now - hours(99)),
            idempotency_key: one_in(chance, 3).then(|| format!("key {}", chance.below(6))),
            force: one_in(chance, 5),
            ..RunRequest::default()
        };
        self.expect(node.tasks().run_now(task, request).await.map(Some));
    }

    async fn cancel(&self, node: &Punctual, task: TaskId) {
        let runs = {
            let truth = lock(&self.truth);
            let mut runs: Vec<RunId> = truth.living.keys().copied().collect();
            if let Some(task) = truth.tasks.get(&task) {
                runs.extend(task.unfinished.iter().copied());
                runs.extend(task.ended.last().copied());
            }
            runs
        };
        if !runs.is_empty() {
            let run = pick(&self.chance, &runs);
            self.expect(node.tasks().cancel(run).await.map(|_| None));
        }
    }

    async fn repeat(&self, node: &Punctual, task: TaskId) {
        let ended = lock(&self.truth).tasks.get(&task).map_or_else(Vec::new, |truth| truth.ended.clone());
        if ended.is_empty() {
            return;
        }
        let run = pick(&self.chance, &ended);
        let tasks = node.tasks();
        let answer =
            if one_in(&self.chance, 2) { tasks.retry(run).await } else { tasks.resume_run(run).await };
        self.expect(answer.map(Some));
    }

    async fn ask_for_promise(&self, node: &Punctual, task: TaskId) {
        let run = lock(&self.truth)
            .tasks
            .get(&task)
            .and_then(|truth| truth.unfinished.first().or(truth.ended.first()).copied());
        if let Some(run) = run
            && let Ok(promise) = node.tasks().promise(run).await
        {
            self.wait_for(promise);
        }
    }

    /// Several deeds at once: what they do to each other is the engine's to sort out.
    async fn several(&self, node: &Punctual) {
        let tasks = self.living_tasks();
        let [a, b] = [pick(&self.chance, &tasks), pick(&self.chance, &tasks)];
        let service = node.tasks();
        let run = || service.run_now(a, RunRequest::default());
        let update = |task, n: i8| service.update(task, Change::default(), move |spec| spec.priority = n);
        let n = self.chance.below(100) as i8;
        let all = tokio::join!(run(), update(a, n), run(), update(b, n.wrapping_add(1)), update(a, n + 1));
        self.expect(all.0.map(Some));
        self.expect(all.1.map(|_| None));
        self.expect(all.2.map(Some));
        self.expect(all.3.map(|_| None));
        self.expect(all.4.map(|_| None));
    }

    /// News of an attempt that is not the current one any more, or of a run that has ended, or from a node that
    /// has long been replaced: nothing of it may be taken.
    async fn report_late(&self) {
        let mut reports = Vec::new();
        self.thawed_node().await;
        let epoch = {
            let truth = lock(&self.truth);
            for (id, run) in truth.runs.iter().rev().take(400) {
                let life = run.life;
                if life.state.is_terminal() && life.attempt > 0 && one_in(&self.chance, 8) {
                    reports.push((truth.epoch, *id, Fence { attempt: life.attempt, epoch: life.epoch }));
                }
                if life.attempt > 1 {
                    reports.push((truth.epoch, *id, Fence { attempt: life.attempt - 1, epoch: life.epoch }));
                }
                if life.state.is_at_work() {
                    reports.push((truth.epoch, *id, Fence { attempt: life.attempt, epoch: life.epoch - 1 }));
                    reports.push((truth.epoch - 1, *id, Fence { attempt: life.attempt, epoch: life.epoch }));
                }
            }
            truth.epoch
        };
        for (from, run, fence) in reports {
            let session = Session { node: "local".to_owned(), epoch: from, id_floor: 0 };
            let event = pick(&self.chance, &[RunEvent::Succeeded, RunEvent::Failed]);
            let edge = Edge { run, fence, event, at: self.clock.now(), patch: Patch::default() };
            let Some(store) = self.store.clone() else { return };
            // Whatever is applied, the watched store says whether that was right.
            let answer = store.transition(&session, vec![edge]).await;
            if from != epoch && answer.is_ok() {
                lock(&self.truth)
                    .wrong(format!("epoch {from} was answered {answer:?}, the newest is {epoch}"));
            }
        }
    }

    /// A node that was frozen while another took its place goes on as if nothing had happened: every call that could
    /// change something is refused, whatever it is about.
    async fn thawed_node(&self) {
        let Some(store) = self.store.clone() else { return };
        let now = self.clock.now();
        let (epoch, task, run) = {
            let truth = lock(&self.truth);
            let mut tasks = truth.tasks.values().filter(|truth| !truth.deleted);
            let Some(task) = tasks.next_back().map(|truth| (Arc::clone(&truth.task), truth.covered)) else {
                return;
            };
            let run = truth.runs.keys().next_back().copied();
            (truth.epoch, task, run)
        };
        let ((task, covered), Some(run)) = (task, run) else { return };
        let old = Session { node: "local".to_owned(), epoch: epoch - 1, id_floor: 0 };
        let put = PutTask {
            task: Arc::new(Task { revision: task.revision + 1, updated_at: now, ..(*task).clone() }),
            expect: Expect::Revision(task.revision),
            raise_checkpoint: None,
        };
        let due = Materialise {
            task: task.id,
            revision: task.revision,
            seen_checkpoint: Some(covered),
            checkpoint: covered.max(now) + SignedDuration::from_hours(1),
            births: Vec::new(),
            replaces: Vec::new(),
            reserved: 0,
        };
        let another = match store.run(run).await {
            Ok(Some(known)) => RunId::new(run.get() + 1).map(|id| Run {
                id,
                life: Life::born(RunState::Queued),
                trigger: Trigger::Manual,
                idempotency_key: None,
                ..known
            }),
            _ => None,
        };
        let why = CancelWhy::Asked;
        let answers = [
            ("put_task", store.put_task(&old, put).await.err()),
            ("delete_task", store.delete_task(&old, task.id, None).await.err()),
            ("materialise", store.materialise(&old, vec![due]).await.err()),
            ("enqueue", store.enqueue(&old, another.into_iter().collect(), 0).await.err()),
            ("claim", store.claim(&old, 1).await.err()),
            ("release", store.release(&old, vec![run]).await.err()),
            ("cancel", store.cancel(&old, vec![(run, why)]).await.err()),
            ("cancel_waiting", store.cancel_waiting(&old, task.id, why, 1).await.err()),
            ("prune", store.prune(&old, task.id, 1).await.err()),
        ];
        // Has no say in whose turn it is: were the newest one closed by it, that node could write nothing more.
        let _ = store.close_session(&old).await;
        let mut truth = lock(&self.truth);
        for (call, refused) in answers {
            match refused {
                Some(store::Error::Fenced { .. }) => truth.counts.fenced += 1,
                // The node has died of it, and nobody else has to be told.
                Some(store::Error::Failed { .. }) if self.fault_has_struck() => {}
                other => truth.wrong(format!("{call} of epoch {} was answered {other:?}", epoch - 1)),
            }
        }
    }

    /// The wall clock jumps, the monotonic one does not.
    pub(crate) fn jump(&mut self) {
        const SPANS: [SignedDuration; 3] =
            [SignedDuration::from_secs(59), SignedDuration::from_hours(2), SignedDuration::from_hours(72)];
        let span = pick(&self.chance, &SPANS);
        let by = if one_in(&self.chance, 2) { span } else { -span };
        let by = if (self.astray + by).abs() > FARTHEST { -by } else { by };
        self.astray += by;
        let before = self.clock.now();
        let now = before + by;
        let mut truth = lock(&self.truth);
        truth.latest_wall = truth.latest_wall.max(before);
        truth.counts.jumps += 1;
        truth.trace.line(format_args!("{before} jump to {now}"));
        drop(truth);
        self.clock.set_wall(now);
        self.disturb();
    }

    /// The whole machine stands still, and goes on some time later: both clocks have moved on, and all that was due
    /// meanwhile is due at once.
    fn freeze(&self) {
        const SPANS: [Duration; 3] =
            [Duration::from_secs(20), Duration::from_secs(5 * 3_600), Duration::from_secs(30 * 3_600)];
        let span = pick(&self.chance, &SPANS);
        let mut truth = lock(&self.truth);
        truth.counts.freezes += 1;
        truth.trace.line(format_args!("{} frozen for {span:?}", self.clock.now()));
        drop(truth);
        self.clock.advance_now(span);
        self.disturb();
    }

    /// There is room again: within half a minute the node has noticed, and nothing is owed any more.
    async fn make_room(&self) {
        const NOTICED: Duration = Duration::from_secs(31);
        self.full.store(false, Ordering::Relaxed);
        self.clock.advance(NOTICED).await;
        lock(&self.truth).full = false;
        self.disturb();
    }

    /// From now on dues may be late for a reason.
    pub(crate) fn disturb(&self) {
        lock(&self.truth).undisturbed_since = self.clock.now();
    }

    fn living_tasks(&self) -> Vec<TaskId> {
        lock(&self.truth).tasks.iter().filter(|(_, truth)| !truth.deleted).map(|(id, _)| *id).collect()
    }

    /// An answer that may be given: what was asked, a refusal, or a store that was made to fail.
    fn expect(&self, answer: Result<Option<Accepted>, coordinator::Error>) {
        match answer {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let mut truth = lock(&self.truth);
                if !truth.runs.contains_key(&accepted.run.id) {
                    truth.wrong(format!("run {} was acknowledged and is not stored", accepted.run.id));
                }
                drop(truth);
                self.wait_for(accepted.promise);
            }
            Err(coordinator::Error::Store(store::Error::Failed { .. })) if self.fault_has_struck() => {}
            Err(coordinator::Error::Store(store::Error::Full { .. })) if lock(&self.truth).full => {}
            Err(error @ (coordinator::Error::Store(_) | coordinator::Error::Stopped)) => {
                lock(&self.truth).wrong(format!("a deed was answered: {error}"));
            }
            Err(_) => {}
        }
    }

    fn wait_for(&self, promise: Arc<dyn punctual::executor::RunPromise>) {
        let truth = Arc::clone(&self.truth);
        tokio::spawn(async move {
            let id = promise.id();
            let Ok(run) = promise.wait().await else { return };
            let mut truth = lock(&truth);
            truth.counts.promises += 1;
            let known = truth.runs.get(&id).map(|known| known.life);
            // A record that retention took is not known any more.
            if let Some(known) = known
                && (known != run.life || !known.state.is_terminal())
            {
                truth.wrong(format!("the promise of {id} resolved as {:?}, recorded is {known:?}", run.life));
            }
        });
    }

    /// No faults any more: everything comes to its end, and starting again changes nothing.
    pub(crate) async fn heal(&self, node: &Punctual) {
        const PATIENCE: Duration = Duration::from_secs(24 * 86_400);
        for task in self.living_tasks() {
            self.pause(node, task).await;
        }
        let until = self.clock.monotonic() + PATIENCE;
        let mut told = false;
        while self.clock.monotonic() < until {
            self.clock.advance(Duration::from_secs(6 * 3600)).await;
            let (hanging, over) = {
                let truth = lock(&self.truth);
                let endless = truth.living.iter().filter(|(_, living)| living.until.is_none());
                let hanging: Vec<RunId> = endless.map(|(id, _)| *id).collect();
                (hanging, truth.runs.values().all(|run| run.life.state.is_terminal()))
            };
            if over {
                break;
            }
            if !std::mem::replace(&mut told, true) {
                for run in hanging {
                    self.expect(node.tasks().cancel(run).await.map(|_| None));
                }
            }
        }
        let mut truth = lock(&self.truth);
        let open: Vec<String> = truth
            .runs
            .iter()
            .filter(|(_, run)| !run.life.state.is_terminal())
            .map(|(id, run)| format!("{id} {:?}", run.life))
            .collect();
        if !open.is_empty() {
            truth.wrong(format!("not over at the end: {}", open.join(", ")));
        }
        let living: Vec<RunId> = truth.living.keys().copied().collect();
        if !living.is_empty() {
            truth.wrong(format!("alive at the end: {living:?}"));
        }
    }
}
