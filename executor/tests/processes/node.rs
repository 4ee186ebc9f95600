//! One node on a temporary directory.

use jiff::Timestamp;
use punctual_clock::{Clock, SystemClock};
use punctual_executor::drivers::process::{ProcessDriver, ProcessHome};
use punctual_executor::{Attempt, Dispatch, Executor as _, Outputs, Pool, Reservation, RunPromise};
use punctual_model::run::Trigger;
use punctual_model::{Life, Owner, Run, RunId, RunState, Task, TaskId, TaskSpec, TaskType, Work};
use punctual_store::{
    Enqueued, Expect, MemoryStore, PutTask, RunStore as _, Session, SessionStore as _, Store, TaskStore as _,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest wait for anything: far beyond what a loaded machine needs.
const BOUND: Duration = Duration::from_secs(60);

/// Waits for something that must happen.
#[track_caller]
pub(crate) fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let clock = SystemClock::new().unwrap();
    async move {
        tokio::select! {
            answer = future => answer,
            () = clock.sleep(BOUND) => panic!("nothing happened within {BOUND:?}: {caller}"),
        }
    }
}

/// Waits until something is so that no signal tells of.
#[track_caller]
pub(crate) fn until(is: impl Fn() -> bool) -> impl Future<Output = ()> {
    within(async move {
        let clock = SystemClock::new().unwrap();
        while !is() {
            clock.sleep(Duration::from_millis(5)).await;
        }
    })
}

/// A node whose processes are in the hands of shims, or its children.
pub(crate) struct Node<const SHIMS: bool> {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) session: Session,
    pub(crate) home: Arc<ProcessHome>,
    pub(crate) pool: Pool,
    ids: AtomicU64,
}

impl<const SHIMS: bool> Node<SHIMS> {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock)));
        let session = store.open_session("node").await.unwrap();
        let home = Arc::new(home_in(directory.path()));
        let pool = Pool::builder(Arc::clone(&store) as Arc<dyn Store>, session.clone(), Arc::clone(&clock))
            .driver(driver::<SHIMS>(ProcessDriver::process(Arc::clone(&home), Arc::clone(&clock))))
            .driver(driver::<SHIMS>(ProcessDriver::shell(Arc::clone(&home), Arc::clone(&clock))))
            .outputs(Outputs::in_directory(directory.path().join("output")))
            .build();
        pool.start();
        let ids = AtomicU64::new(0x0123_4567_0000_0001);
        Self { directory, clock, store, session, home, pool, ids }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A number that was not there before.
    pub(crate) fn number(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) async fn task(&self, spec: TaskSpec) -> Arc<Task> {
        let now = self.clock.now();
        let task = Arc::new(Task {
            id: TaskId::new(self.number()).unwrap(),
            kind: TaskType::default(),
            revision: 1,
            created_at: now,
            updated_at: now,
            owner: Owner::default(),
            metadata: Default::default(),
            spec,
        });
        let put = PutTask { task: Arc::clone(&task), expect: Expect::Absent, raise_checkpoint: None };
        self.store.put_task(&self.session, put).await.unwrap();
        task
    }

    pub(crate) fn run_of(&self, task: &Task) -> Run {
        let now = self.clock.now();
        Run {
            id: RunId::new(self.number()).unwrap(),
            task: task.id,
            revision: task.revision,
            trigger: Trigger::Manual,
            scheduled_for: Timestamp::constant(1_767_225_600, 0),
            run_at: now,
            accepted_at: now,
            life: Life::born(RunState::Queued),
            started_at: None,
            finished_at: None,
            forced: false,
            params: Default::default(),
            idempotency_key: None,
            trace: None,
            usage: None,
            restarts: Default::default(),
            outcome: None,
            saved: Default::default(),
            local: Default::default(),
            events: Default::default(),
        }
    }

    pub(crate) async fn go_with(&self, task: &Arc<Task>, run: Run) -> Arc<dyn RunPromise> {
        let answer = self.store.enqueue(&self.session, vec![run], 0).await.unwrap().remove(0);
        let Enqueued::Accepted(run) = answer else { panic!("{answer:?}") };
        let dispatch = Dispatch { run, task: Arc::clone(task) };
        self.pool.execute_promised(vec![dispatch], Reservation::none()).await.unwrap().remove(0)
    }

    pub(crate) async fn begin(&self, spec: TaskSpec) -> Arc<dyn RunPromise> {
        let mut spec = spec;
        spec.name = format!("{}-{}", spec.name, self.number());
        let task = self.task(spec).await;
        self.go_with(&task, self.run_of(&task)).await
    }

    /// Runs something to its end.
    pub(crate) async fn run(&self, spec: TaskSpec) -> Run {
        let promise = self.begin(spec).await;
        within(promise.wait()).await.unwrap()
    }

    pub(crate) async fn shell(&self, script: &str) -> Run {
        self.run(shell(script)).await
    }

    /// What a run wrote.
    pub(crate) fn output(&self, run: RunId) -> String {
        let mut reader = self.pool.outputs().read(run);
        let frames = std::iter::from_fn(|| reader.next_frame().unwrap());
        let bytes: Vec<u8> = frames.flat_map(|frame| frame.content.show().into_owned()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until a run has written this.
    pub(crate) async fn wrote(&self, run: RunId, text: &str) {
        until(|| self.output(run).contains(text)).await;
    }

    /// An attempt that no store knows of, for a driver alone.
    pub(crate) fn attempt(&self, spec: TaskSpec) -> Attempt {
        let now = self.clock.now();
        let task = Task {
            id: TaskId::new(1).unwrap(),
            kind: TaskType::default(),
            revision: 1,
            created_at: now,
            updated_at: now,
            owner: Owner::default(),
            metadata: Default::default(),
            spec,
        };
        let mut run = self.run_of(&task);
        run.life = Life { state: RunState::Starting, attempt: 1, epoch: 1 };
        Attempt::new(Arc::new(run), Arc::new(task))
    }
}

fn driver<const SHIMS: bool>(driver: ProcessDriver) -> ProcessDriver {
    if SHIMS { driver } else { driver.without_shims() }
}

/// The processes of a directory, with the test below as the program that makes shims: the harness's own
/// thread does nothing but wait for that one test, so a fork beside it finds nothing locked.
pub(crate) fn home_in(directory: &Path) -> ProcessHome {
    let arguments = ["node::what_makes_shims", "--exact", "--test-threads=1"].map(Into::into).to_vec();
    ProcessHome::in_directory(directory).unwrap().with_spawner(std::env::current_exe().unwrap(), arguments)
}

/// Makes shims where it was started for that, and is nothing otherwise.
#[test]
fn what_makes_shims() {
    punctual_executor::shim::enter();
}

pub(crate) fn shell(script: &str) -> TaskSpec {
    TaskSpec::new("script", Work::shell(script))
}

/// Something that lets a script go on when it is written to.
#[cfg(target_os = "linux")]
pub(crate) fn gate(directory: &Path) -> std::path::PathBuf {
    let gate = directory.join("gate");
    rustix::fs::mkfifoat(rustix::fs::CWD, &gate, rustix::fs::Mode::RWXU).unwrap();
    gate
}

/// The files that are there of processes and their groups.
pub(crate) fn notes(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory.join("processes")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// What a living shim has noted of its first attempt at a run, and where.
#[cfg(target_os = "linux")]
pub(crate) fn noted(directory: &Path, run: RunId) -> Option<(std::path::PathBuf, serde_json::Value)> {
    let names = notes(directory).into_iter().filter(|name| name.ends_with(".shim"));
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).ok()?;
        let state: serde_json::Value = serde_json::from_str(text.lines().next()?).ok()?;
        Some((path, state))
    };
    let mut all = names.filter_map(|name| read(directory.join("processes").join(name)));
    all.find(|(_, state)| state["run"] == run.to_string() && state["attempt"] == 1)
}

/// Whether a process lives; a zombie does not.
pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| {
        !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
    })
}
