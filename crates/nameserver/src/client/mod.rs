//! The client side of DNS: sends many queries to name servers, updates their names (RFC 2136) and transfers whole zones
//! (AXFR, RFC 5936), both signed with a TSIG key (RFC 8945).
//!
//! `exchange` sends a message and verifies the answer; the other modules interpret it.

pub mod bulk;
mod exchange;
pub mod query;
mod transfer;
pub mod update;

pub use self::bulk::{QueryResult, ask_all};
pub use self::exchange::authority;
pub use self::transfer::{TransferredRecord, transfer};
pub use self::update::{Need, RecordChange, UpdateOutcome, update};

#[cfg(test)]
pub(crate) mod tests;
