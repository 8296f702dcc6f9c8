//! Snapshots off the machine, as the node sees them: the child that copies and fetches, and what is known of the copies.

pub mod child;
mod known;
mod parent;

pub use known::{hear, known};
pub use parent::work;
