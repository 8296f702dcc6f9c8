//! What every part of lap stands on, and what depends on no part of lap.
//!
//! - [`error`], [`exit`]: an error has a [`Kind`], one sentence, and hints that name the next step,
//! - [`state`]: a state file is absent, has a value, or is unreadable,
//! - [`durable`]: files that are whole after a power cut, or not there,
//! - [`beneath`]: files in a directory that somebody else fills; no link is followed,
//! - [`random`], [`secret`]: bytes that cannot be guessed, and values that are not printed,
//! - [`label`], [`nameservers`], [`upstreams`]: parts of DNS that more than the name server needs,
//! - [`archive`], [`cgroups`], [`clock`], [`descriptors`], [`words`]: one small thing each.
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
//! // A damaged file is not an absent one: the command refuses.
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
