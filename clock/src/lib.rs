//! Time, chance and identity, injected everywhere so that a test can hold them in its hand.
//!
//! Floor 0 of the house: reads clocks and draws numbers; decides nothing.

mod chance;
mod clock;
mod ids;
mod sleepers;
mod system;
mod virtual_clock;

pub use chance::Chance;
pub use clock::{Clock, JUMP, Wait};
pub use ids::{IdGenerator, IdSequence, InvalidNode};
pub use system::SystemClock;
pub use virtual_clock::VirtualClock;
