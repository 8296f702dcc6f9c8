//! What a node that is made anew takes over from the one before it.

use std::{fs, path::Path};

use super::{Id, meta::directory};
use crate::{
    durable::{self, write_file},
    error::{Kind, OrError, Result},
};

/// What of `state` is true on another node, too: not its journal and its lock, nor what was under way there. What ran comes with
/// the restore.
const TRAVELS: [&str; 3] = ["releases", "ledger.jsonl", "dns"];

/// Puts the `state` that came with the fetched snapshot `id` into the node's own. May be done again.
///
/// # Errors
/// Something cannot be read or written.
pub fn adopt(pool: &Path, state: &Path, id: &Id) -> Result<()> {
    let from = directory(pool).join(id.to_string()).join("state");
    TRAVELS.into_iter().try_for_each(|name| copy(&from.join(name), &state.join(name)))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("cannot read `{}`", from.display());
    match fs::symlink_metadata(from) {
        Ok(meta) if meta.is_dir() => {
            durable::create_dir_all(to).or_error(Kind::Node, || format!("cannot make `{}`", to.display()))?;
            for entry in fs::read_dir(from).or_error(Kind::Node, what)? {
                let name = entry.or_error(Kind::Node, what)?.file_name();
                copy(&from.join(&name), &to.join(&name))?;
            }
            Ok(())
        }
        Ok(meta) if meta.is_file() => write_file(to, &fs::read(from).or_error(Kind::Node, what)?, 0o600),
        _ => Ok(()),
    }
}
