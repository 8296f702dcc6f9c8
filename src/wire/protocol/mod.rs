//! The messages on the agent's socket. A connection carries one request, a line of JSON, and its answer, another line; for some requests,
//! raw bytes follow.
//!
//! A request that changes something carries the fencing number of the lock under which it is made.

pub mod facts;
pub mod lock;
pub mod node_config;
pub mod request;
pub mod response;

pub use facts::{
    CheckResult, ContainerFact, DataFacts, Health, ImageFact, LargeFact, ListedSnapshot, NodeFacts, OverFact, PushFact,
    QuotaFacts, Recovering, SnapshotFacts, Unfinished,
};
pub use lock::{Holder, Note};
pub use node_config::NodeConfig;
pub use request::{Bring, InstallTarget, MAX_PACK, Request, RestorePart, Vantage};
pub use response::Response;
