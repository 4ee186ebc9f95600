//! The rules of remembering, once for both embedded stores: which write is taken, what it changes, and what
//! the queue learns of it after the sync.
//!
//! How a store with a writer drives it (`ledger` behind a mutex that is never held during the sync):
//!
//! ```text
//! let mut batch = Batch::new();
//! for request in drained { answers.push(ledger.judge(&mut batch, &tables, request, clock.now())) }
//! // one commit with all of batch.changes(), then the sync; on an error everything is Failed from here on
//! ledger.settle(batch, &tables)     // only now the queue, readers and waiters see it; answers the wake-ups
//! // then: send the answers, and serve claim() and release(), which write nothing
//! ```
//!
//! An `Err` from `judge` concerns that request alone and leaves nothing of it in the batch, except
//! [`Error::Failed`](crate::Error::Failed), after which nothing is committed any more.

mod batch;
mod births;
mod crews;
mod edges;
mod fresh;
mod heads;
mod history;
mod judge;
mod opening;
mod progress;
pub mod read;
mod request;
mod size;
mod state;
mod tables;
mod tasks;

pub use batch::Batch;
pub use request::{Answer, Request};
pub use size::{MAX_KEY_PART, MAX_RECORD};
pub use state::{Ledger, Settled};
pub(crate) use tables::kind_name;
pub use tables::{
    Change, Defined, Digest, Head, HeadStatus, Lane, LaneKind, Meta, OpenKey, OpenMark, Quarantine,
    SharedLimit, Tables,
};
