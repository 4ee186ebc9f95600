//! Real processes of a real node: system clock, real pipes, real signals. Waits are for what is expected; the
//! bounds are only there so that a fault ends the test.
//!
//! What holds for all of them is tried twice: in the hands of shims, and as children of the daemon.

mod node;

/// With a shim each.
#[path = "."]
mod with_shims {
    use crate::node;

    type Node = node::Node<true>;

    #[path = "again.rs"]
    mod again;
    #[cfg(target_os = "linux")]
    #[path = "control.rs"]
    mod control;
    #[path = "ending.rs"]
    mod ending;
    #[path = "environment.rs"]
    mod environment;
    #[path = "kept.rs"]
    mod kept;
    #[cfg(target_os = "linux")]
    #[path = "kept_limits.rs"]
    mod kept_limits;
    #[cfg(target_os = "linux")]
    #[path = "limits.rs"]
    mod limits;
    #[path = "output.rs"]
    mod output;
    #[cfg(target_os = "linux")]
    #[path = "stalled.rs"]
    mod stalled;
    #[path = "starting.rs"]
    mod starting;
    #[path = "unheard.rs"]
    mod unheard;
    #[cfg(target_os = "linux")]
    #[path = "usage.rs"]
    mod usage;
}

/// As children of the daemon.
#[expect(clippy::duplicate_mod, reason = "the same tests, the other way")]
#[path = "."]
mod without_shims {
    use crate::node;

    type Node = node::Node<false>;

    #[path = "children.rs"]
    mod children;
    #[cfg(target_os = "linux")]
    #[path = "control.rs"]
    mod control;
    #[path = "ending.rs"]
    mod ending;
    #[path = "environment.rs"]
    mod environment;
    #[path = "leftovers.rs"]
    mod leftovers;
    #[cfg(target_os = "linux")]
    #[path = "limits.rs"]
    mod limits;
    #[path = "output.rs"]
    mod output;
    #[path = "starting.rs"]
    mod starting;
}
