//! Power cuts between any two writes to the disk. A FUSE file below the pool's loop device logs writes and flushes; each operation runs
//! while another program calls fsync(2) all the time; then the image that a cut leaves is mounted, recovered as the agent does it, and judged:
//! nothing that is referenced is missing, and nothing that was acknowledged is lost.
//!
//! The tests play a few cuts of each operation, `scripts/soak power` all flushes and 200 cuts that a seed chooses.

use std::{fs::File, io::Write, path::Path};

mod busy;
mod campaign;
mod disk;
mod docker;
mod fuse;
mod log;
mod node;
mod pool;
mod registry;
mod settings;
mod snapshots;
mod state;
mod switch;

pub use campaign::{Campaign, Notes};
pub use pool::on_each;

/// As a database writes what it has acknowledged.
fn sync_file(path: &Path, text: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.sync_all().unwrap();
    File::open(path.parent().unwrap()).unwrap().sync_all().unwrap();
}
