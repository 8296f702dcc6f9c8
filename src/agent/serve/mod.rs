//! The agent's socket: a connection carries one request and its answer (see [`crate::wire::protocol`]).

mod agent;
mod archives;
mod dispatch;
mod facts;
mod files;
mod hold;
mod journal;
mod listen;
mod prune;
mod ready;
mod resolve;
mod schedule;
mod switch;
mod tunnel;

pub use agent::Agent;
pub use listen::{listen, serve};
pub use schedule::schedule;
