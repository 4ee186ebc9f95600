//! Everything that writes, as data: what a store's writer receives, and what it answers.

use crate::store::{
    CancelAnswer, Edge, EdgeAnswer, Enqueued, Materialise, Materialised, Pruned, PutAnswer, PutTask, Session,
};
use punctual_model::{CancelWhy, Run, RunId, TaskId};

/// A call that may write. The fields are those of the method of the same name in the contract.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is a method of the store's traits, which say what it means")]
pub enum Request {
    OpenSession { node: String },
    CloseSession { session: Session },
    PutTask { session: Session, put: PutTask },
    DeleteTask { session: Session, id: TaskId, revision: Option<u64> },
    Materialise { session: Session, dues: Vec<Materialise> },
    Enqueue { session: Session, runs: Vec<Run>, reserved: usize },
    Transition { session: Session, edges: Vec<Edge> },
    Cancel { session: Session, runs: Vec<(RunId, CancelWhy)> },
    CancelWaiting { session: Session, task: TaskId, why: CancelWhy, max: usize },
    Told { session: Session, runs: Vec<RunId> },
    Prune { session: Session, task: TaskId, max: usize },
}

impl Request {
    /// Whether it brings new work, which is refused while the disk is nearly full; everything else makes
    /// room or ends what has begun.
    #[must_use]
    pub fn is_new_work(&self) -> bool {
        match self {
            Self::PutTask { .. } | Self::Materialise { .. } | Self::Enqueue { .. } => true,
            Self::OpenSession { .. }
            | Self::CloseSession { .. }
            | Self::DeleteTask { .. }
            | Self::Transition { .. }
            | Self::Cancel { .. }
            | Self::CancelWaiting { .. }
            | Self::Told { .. }
            | Self::Prune { .. } => false,
        }
    }
}

/// The answer to the [`Request`] of the same name.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is what a method of the store's traits answers")]
pub enum Answer {
    SessionOpened(Session),
    SessionClosed,
    TaskPut(PutAnswer),
    TaskDeleted(bool),
    Materialised(Vec<Materialised>),
    Enqueued(Vec<Enqueued>),
    Transitioned(Vec<EdgeAnswer>),
    Canceled(Vec<CancelAnswer>),
    WaitingCanceled(Vec<Run>),
    Told(()),
    Pruned(Pruned),
}
