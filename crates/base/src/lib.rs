//! The base of lap. This crate depends on no other part of lap.
//!
//! - [`error`], [`exit`]: errors with a [`Kind`], one sentence, and hints that name the next step,
//! - [`state`]: state files, which are absent, have a value, or are unreadable,
//! - [`durable`]: files that are either complete or absent after a power cut,
//! - [`beneath`]: access to a directory that an untrusted program fills; no link is followed,
//! - [`random`], [`secret`]: random bytes from the kernel, and values that are never printed,
//! - [`label`], [`nameservers`], [`upstreams`]: parts of DNS that not only the name server needs,
//! - [`archive`], [`cgroups`], [`clock`], [`descriptors`], [`words`]: small helpers.
//!
//! ```
//! use lap_base::{Kind, durable, state, state::State};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let file = directory.path().join("lock.json");
//! assert!(state::is_absent(&file));
//! durable::write_file(&file, b"{\"number\": 7}", 0o600)?;
//! let read: State<serde_json::Value> = state::json(&file);
//! assert!(matches!(read, State::Value(value) if value["number"] == 7));
//!
//! // A damaged file does not count as absent: the command refuses to continue.
//! durable::write_file(&file, b"{\"numb", 0o600)?;
//! let error = state::json::<serde_json::Value>(&file).value_or_refuse().unwrap_err();
//! assert_eq!(error.kind, Kind::Refused);
//! # Ok(())
//! # }
//! ```

pub mod archive;
pub mod beneath;
pub mod cgroups;
pub mod clock;
pub mod descriptors;
pub mod durable;
pub mod error;
pub mod exit;
pub mod label;
pub mod nameservers;
pub mod random;
pub mod secret;
pub mod state;
#[doc(hidden)]
pub mod testing;
pub mod upstreams;
pub mod words;

pub use error::{Error, Kind, OrError, Result};
