//! The other side of DNS: asks name servers many questions, changes their names (RFC 2136) and takes over whole zones
//! (AXFR, RFC 5936), both signed with a TSIG key (RFC 8945).
//!
//! [`exchange`] sends a message and believes the answer; the others say what is in it.

pub mod bulk;
mod exchange;
mod transfer;
pub mod update;

pub use bulk::{Said, ask_all};
pub use exchange::authority;
pub use transfer::{Row, transfer};
pub use update::{Change, Need, Outcome, update};

#[cfg(test)]
pub(crate) mod tests;
