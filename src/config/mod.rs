//! Reads a workspace: `lap.toml`, `nodes/`, `containers/`, `env/`.
//!
//! The way through: `files` (bytes, links) → `read` (one module per file of the workspace: keys and types) → `check`
//! (what several files say together) → [`model::Lab`]. Single values (a port, a duration) live in `value`. No step stops
//! at the first problem: all go into one [`problem::Ledger`] and come out sorted, each with its line.

pub mod app_address;
mod check;
pub mod dockerfile;
mod document;
mod example;
mod file;
mod files;
mod find;
mod graph;
mod init;
pub mod lines;
mod load;
pub mod model;
pub mod network;
pub mod problem;
mod read;
pub mod value;
mod workspace;

#[cfg(test)]
mod tests;

pub use check::beyond;
pub use example::example;
pub use find::find;
pub use init::{init, template};
pub use load::load;
pub use problem::{Problem, Problems};
pub use read::{
    container::{KEYS, REGISTRY_HTPASSWD, REGISTRY_PASSWORD, SECRETS},
    machine::destination,
    node::text as machine_file,
};
