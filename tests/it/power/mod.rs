//! Power cuts between any two writes to the disk. A FUSE file below the pool's loop device logs writes and flushes; each operation runs
//! while another program calls fsync(2) all the time; then the image that a cut leaves is mounted, recovered as the agent does it, and judged:
//! nothing that is referenced is missing, and nothing that was acknowledged is lost.
//!
//! The tests play a few cuts of each operation, `scripts/soak power` all flushes and 200 cuts that a seed chooses.

mod busy;
mod campaign;
mod disk;
mod fuse;
mod log;
mod settings;
mod state;

pub use campaign::{Campaign, Notes};
