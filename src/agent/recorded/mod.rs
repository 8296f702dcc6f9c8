//! What the environment runs, as its state says: `current.json`, the files in `releases/` and the ledger, judged together. A release that
//! ran leaves a trace in each of them, so `current.json` is absent only where none of them knows of a release.

mod anew;
mod list;
mod read;

pub use anew::record;
pub use list::list;
pub use read::{Recorded, current, describe, described, ledger, path, read};
