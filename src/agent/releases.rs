//! What ran here: the releases that are kept, and the ledger.

use std::{collections::BTreeMap, fs, path::Path};

use super::{paths, protocol::Answer};
use crate::{error::Result, release};

/// All of it.
///
/// # Errors
/// The ledger cannot be read.
pub fn list() -> Result<Answer> {
    let state = Path::new(paths::STATE);
    let mut list = BTreeMap::new();
    for entry in fs::read_dir(state.join("releases")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_suffix(".json").filter(|number| number.parse::<u64>().is_ok()).map(str::to_owned);
        let json = fs::read(entry.path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
        list.extend(number.zip(json));
    }
    let path = state.join("ledger.jsonl");
    let chain = release::verify(&path).map(|(_, hash)| hash).map_err(|error| error.message);
    // A damaged one shows what can be shown; `chain` says that it is damaged.
    let ledger = release::read(&path).unwrap_or_default();
    Ok(Answer::Releases { list, ledger, chain })
}
