//! Punctual, the durable task scheduler that keeps its promises.
