use super::bench::START;
use crate::Pool;
use crate::drivers::handler::{HandlerDriver, Handlers, TaskError};
use punctual_clock::{Clock, VirtualClock};
use punctual_model::{TaskSpec, Work};
use punctual_store::{MemoryStore, SessionStore as _, Store};
use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;

thread_local! {
    /// What was logged on this thread, which is the test's own.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct OfThread;

impl Write for OfThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn talks() -> Result<(), TaskError> {
    tracing::info!("the handler speaks");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_line_of_an_attempt_shows_its_run_the_handlers_own_included() {
    let subscriber =
        tracing_subscriber::fmt().with_writer(|| OfThread).with_ansi(false).without_time().finish();
    // For all threads: where it is only this one's, what another test logs first is taken for unwanted.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::callsite::rebuild_interest_cache();
    LINES.take();
    let clock = VirtualClock::new(START);
    let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
    let session = store.open_session("bench").await.unwrap();
    let handlers = Handlers::new().add("talks", talks);
    let pool = Pool::builder(
        Arc::clone(&store) as Arc<dyn Store>,
        session.clone(),
        Arc::new(clock.clone()) as Arc<dyn Clock>,
    )
    .driver(HandlerDriver::new(handlers, Arc::new(clock.clone())))
    .build();
    let mut bench = super::bench::Bench::new().await;
    (bench.clock, bench.store, bench.session, bench.pool) = (clock, store, session, pool);
    bench.pool.start();
    let task = bench.task(TaskSpec::new("speaker", Work::handler("talks"))).await;
    let run = bench.go(&task).await.wait().await.unwrap();
    let text = String::from_utf8(LINES.take()).unwrap();
    let span = format!(
        "run{{task.id={} task.name=speaker task.type=system task.revision=1 run.id={} attempt=1}}",
        task.id, run.id
    );
    for line in ["attempt starts", "the handler speaks", "attempt ended"] {
        let found = text.lines().find(|one| one.contains(line)).unwrap_or_else(|| panic!("{line}: {text}"));
        assert!(found.contains(&span), "{found}");
    }
    assert!(text.contains("state=succeeded"), "{text}");
}
