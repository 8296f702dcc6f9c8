//! The embedded DNS server for `internal.`, and the client that asks it.
//!
//! A message's way: `udp` or `tcp` → `handle` (what is it, is it signed, may they?) →
//! - a question: `answer` (pure: from our `zones`, or "not ours") → `forward` (hickory's pool and cache), only for what is
//!   not ours;
//! - an update: `update` (what does it ask, what does it come to?) → `store`, the one writer: journal, then zones;
//! - a transfer: `transfer`.
//!
//! What is counted on the way is told by `metrics`; how much strangers get over UDP is up to `limit`,
//! and how many connections and forwarded questions one client has to `shares`.
//!
//! There is one place that answers for the local zones, for every transport: what is asked over UDP and over TCP cannot
//! differ. Sockets stay open whatever is reloaded (`watch`).

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
