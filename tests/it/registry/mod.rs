//! Images between real registries: Debian's docker-registry, with the settings of this repository's container.

mod broken;
mod copied;
mod doors;
mod pruned;
mod stock;
mod wire;
