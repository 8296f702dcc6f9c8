//! The Docker of this node: its containers, images and their checks.

mod connection;
mod containers;
pub mod health;
pub mod image_files;
mod images;
pub mod mounts;

pub use connection::{answering, connect, port_is_taken};
pub use containers::{containers, names_by_id, running};
pub use images::{images, own_labels};
