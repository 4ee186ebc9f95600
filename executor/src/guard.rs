//! Keeps a panic of somebody else's code from being ours.

use futures_util::FutureExt as _;
use std::any::Any;
use std::panic::AssertUnwindSafe;

/// Runs a future; answers what it panicked with, if it did. What it leaves half done is its own: it is dropped
/// and never polled again.
pub(crate) async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| text_of(panic.as_ref()))
}

/// Calls a function; answers what it panicked with, if it did.
pub(crate) fn guarded_call<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).map_err(|panic| text_of(panic.as_ref()))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a value that is no text".to_owned())
}
