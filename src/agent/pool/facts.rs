//! What the file system below `/data` is and has.

use super::{grow, mountinfo::mountinfo, reserve};
use crate::wire::{paths, protocol::DataFacts};

/// What the file system below `/data` is and has.
pub fn facts() -> DataFacts {
    let filesystem = mountinfo()
        .into_iter()
        .rev()
        .find(|mount| mount.target == paths::DATA)
        .map_or_else(|| "none".to_owned(), |mount| mount.filesystem);
    let image = grow::image();
    let Ok(stat) = nix::sys::statvfs::statvfs(paths::DATA) else {
        return DataFacts { filesystem, size: 0, free: 0, image };
    };
    let unit = stat.fragment_size();
    // What the reserve lacks is not free: a command has it, or the agent will take it back.
    let free = (stat.blocks_available() * unit).saturating_sub(reserve::lacks());
    DataFacts { filesystem, size: stat.blocks() * unit, free, image }
}
