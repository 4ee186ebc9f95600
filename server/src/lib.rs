//! The door: the HTTP API of a node, over a unix socket and, when asked for, loopback TCP.
//!
//! Floor 4 of the house. Handlers read a request strictly, call the coordinator and write the answer; an `if` about
//! a run's state belongs lower. `docs/http-api.md` lists the routes.

mod api;
mod caller;
mod encoding;
mod metrics;
mod problem;
mod request;
mod routes;
mod serving;
mod token;
pub mod wire;

pub use api::{Api, Parts};
pub use caller::Door;
pub use request::MAX_BODY;
pub use routes::{Access, HEARTBEAT, MAX_WAIT, Route, router, routes};
pub use serving::{Doors, Listen, OpenError, SOCKET, Server};
pub use token::Token;
