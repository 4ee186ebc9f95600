//! One small number for each word of the model. A number is never given a second meaning.

use crate::ledger::HeadStatus;
use minicbor::{Decode, Encode};
use punctual_model::schedule::{DstGap, DstOverlap};
use punctual_model::state::MissedWhy;
use punctual_model::{CancelWhy, FailureKind, LostWhy, RunStateName, StopWhy};

/// A fieldless twin whose variants carry the numbers.
macro_rules! codes {
    ($(#[$doc:meta])* $code:ident for $word:ty { $($variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
        #[cbor(index_only)]
        pub(super) enum $code {
            $(#[n($number)] $variant),+
        }

        impl From<$word> for $code {
            fn from(word: $word) -> Self {
                match word {
                    $(<$word>::$variant => Self::$variant),+
                }
            }
        }

        impl From<$code> for $word {
            fn from(code: $code) -> Self {
                match code {
                    $($code::$variant => Self::$variant),+
                }
            }
        }
    };
}

codes! {
    /// States.
    StateCode for RunStateName {
        Scheduled = 0, Queued = 1, Starting = 2, Running = 3, Stopping = 4, Succeeded = 5, Failed = 6,
        TimedOut = 7, Canceled = 8, Lost = 9, Skipped = 10, Missed = 11,
    }
}
codes! {
    /// Reasons to stop.
    StopCode for StopWhy { Cancel = 0, Timeout = 1, Replaced = 2, Deleted = 3, Restart = 4 }
}
codes! {
    /// Reasons of a cancellation.
    CancelCode for CancelWhy { Asked = 0, Replaced = 1, Deleted = 2 }
}
codes! {
    /// Ways to get lost.
    LostCode for LostWhy { NodeDied = 0, Interrupted = 1, Vanished = 2 }
}
codes! {
    /// Reasons why dues were not caught up.
    MissedCode for MissedWhy { PolicySkip = 0, PolicyLatest = 1, OverLimit = 2, OutsideWindow = 3 }
}
codes! {
    /// Where an attempt went wrong.
    FailureCode for FailureKind { Start = 0, Work = 1, Panic = 2, Timeout = 3, Canceled = 4, Interrupted = 5 }
}
codes! {
    /// Whether a task is there.
    StatusCode for HeadStatus { Active = 0, Paused = 1, Deleted = 2 }
}
codes! {
    /// What becomes of times that the spring jump skips.
    GapCode for DstGap { RunAtEnd = 0, Skip = 1 }
}
codes! {
    /// Which pass of a repeated time counts.
    OverlapCode for DstOverlap { First = 0, Second = 1, Both = 2 }
}
