//! What ran here: the releases that are kept, and the ledger.

use std::path::Path;

use lap_base::error::{Error, Result};

use super::read::read;
use crate::wire::{paths, protocol::Response};

/// All of it.
///
/// # Errors
/// The directory of the releases cannot be read.
pub fn list() -> Result<Response> {
    let found = read(Path::new(paths::STATE));
    if let Some(unreadable) = &found.directory {
        return Err(Error::from(unreadable.clone()));
    }
    let next = found.next_number();
    let list = found.releases.into_iter().map(|(number, release)| (number.to_string(), release)).collect();
    Ok(Response::Releases { list, ledger: found.ledger, chain: found.chain, next })
}
