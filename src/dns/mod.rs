//! The embedded DNS server for `internal.`, and the client that asks it.
//!
//! A packet's way: `udp` or `tcp` → `wire` (is it a question?) → `answer` (pure: from our `zones`, or "not ours") →
//! `forward` (hickory's resolver and its cache), only for what is not ours. There is one place that answers for the local
//! zones, for every transport: what is asked over UDP and over TCP cannot differ.
//!
//! What is served is one value (`server::Serving`) behind an `ArcSwap`: a reload replaces it, sockets stay open.

mod answer;
mod client;
mod forward;
mod keys;
mod load;
mod reply;
mod server;
mod tcp;
mod udp;
mod watch;
mod wire;
mod zones;

#[cfg(test)]
mod tests;

pub use client::{Answer, query};
pub use keys::{KeyEntry, KeyFile};
pub use server::{ServeOptions, Server, serve};
