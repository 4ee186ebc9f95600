//! Time, chance and identity, injected everywhere so that a test can hold them in its hand.
//!
//! Floor 0 of the house: reads clocks and draws numbers; decides nothing.

mod clock;

pub use clock::Clock;
