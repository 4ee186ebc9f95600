//! Keeps what the engine logs in a test, line by line as JSON.
//!
//! One subscriber for all tests, each of which finds the lines of its own thread: where a subscriber is only a
//! thread's own, what another thread logs first is taken for something that nobody wants.

use serde_json::Value;
use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The lines that were logged on this thread since it was made.
pub(crate) struct Log;

impl Log {
    /// Begins to keep lines.
    pub(crate) fn keep() -> Self {
        static SUBSCRIBED: Once = Once::new();
        SUBSCRIBED.call_once(|| {
            let subscriber =
                tracing_subscriber::fmt().json().without_time().with_writer(|| OfThread).finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            // What another thread logged while that was done, it may have found unwanted.
            tracing::callsite::rebuild_interest_cache();
        });
        LINES.take();
        Self
    }

    /// The lines of one run, by the span that they were logged in, oldest first.
    pub(crate) fn of_run(&self, run: punctual::model::RunId) -> Vec<Value> {
        let text = String::from_utf8(LINES.with_borrow(Vec::clone)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["span"]["run.id"] == run.to_string()).collect()
    }
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

/// The messages of lines.
pub(crate) fn messages(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["fields"]["message"].as_str().unwrap()).collect()
}
