//! Providers: how lap gets a node. They differ only in that; what happens on a node is the same for all.

pub mod docker;
pub mod images;
