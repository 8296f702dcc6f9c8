//! Images from one registry to another, by digest, through this machine: only the layers that are missing travel, and a layer
//! that another repository of the target has is mounted, not sent.
//!
//! What is here speaks the distribution protocol (`/v2/…`) over any byte stream, in TLS.

mod blob;
mod client;
mod copy;
mod fault;
mod manifest;
mod name;
mod tls;

pub use client::RegistryClient;
pub use copy::{ImageToCopy, TransferStats, copy};
pub use name::{Digest, repository};
