//! The registry's files, beside a registry that serves. It has no cache of them (containers/registry/read.yml), so what is not there is
//! not there for it at once.
//!
//! A push asks which layers are there, and names them later: between that, one that nobody named must not vanish unseen. So layers are
//! first set aside, by a rename. From then on a push that needs one is told that it is not there, and sends it or fails. Then all is
//! looked at once more: what was named meanwhile goes back, and only the rest is removed. The registry's own `garbage-collect` looks
//! once and needs a registry that takes no pushes, hence one that was started anew.
//!
//! The registry may change its data at any time, so every file is reached by [`lap_base::beneath`]. What is set aside lies beside the data of
//! all containers, where the registry does not see it:
//!
//! ```text
//! /data/.lap-prune/blobs/<hex>   layers that are set aside; the name says where each belongs
//! /data/.lap-prune/gone          what is being removed
//! ```

mod aside;
mod read;
mod store;
mod sweep;

pub use aside::{is_set_aside, put_all_back, take_over};
pub use read::read_registry;
pub use sweep::{remove, sweep, tidy};
