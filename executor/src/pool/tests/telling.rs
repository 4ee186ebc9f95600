use super::bench::START;
use crate::Pool;
use crate::drivers::handler::{HandlerDriver, Handlers, TaskError};
use punctual_clock::{Clock, VirtualClock};
use punctual_model::{TaskSpec, Work};
use punctual_store::{MemoryStore, SessionStore as _, Store};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

async fn talks() -> Result<(), TaskError> {
    tracing::info!("the handler speaks");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_line_of_an_attempt_shows_its_run_the_handlers_own_included() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).without_time().finish();
    let _guard = tracing::subscriber::set_default(subscriber);
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
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
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
