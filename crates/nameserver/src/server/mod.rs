//! The DNS server.
//!
//! The path of a message: `udp` or `tcp` → `handle` (classifies it, checks its signature and rights) →
//! - a question: `answer` (pure; answers from the `zones`, or says that the name is outside) → for a name outside the
//!   zones, `forward` (hickory's connections and cache);
//! - an update: `update` (parses and resolves it) → `store`, the only writer: first the journal, then the zones;
//! - a transfer: `transfer`.
//!
//! `metrics` counts messages on this path. `limit` limits the UDP replies to clients outside, and `shares` limits the
//! connections and forwarded questions of each client.
//!
//! The same code answers for the zones on every transport, so answers over UDP and TCP have the same records. A reload
//! (`watch`) keeps the sockets open.

mod access;
mod answer;
mod audit;
pub mod scrape;

mod forward;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod keyring;

mod limit;
mod load;
mod metrics;
mod notify;
mod records;
mod reply;
mod reverse;
mod service;
mod shared;
mod shares;
mod store;
mod tcp;
mod transfer;
mod tsig;
mod udp;
mod update;
mod watch;
mod wire;
mod zones;

#[cfg(test)]
mod tests;

pub use self::service::{ServeOptions, Server, serve};
