//! One module per file of a workspace: which keys it has, which types they are of, what they default to.
//!
//! A value that is wrong is told and stands as its default from there on, so that one slip does not cause others.

pub mod build;
pub mod checks;
pub mod container;
pub mod copies;
pub mod data;
pub mod dns;
pub mod env;
pub mod healthcheck;
pub mod lap;
pub mod machine;
pub mod node;
pub mod promote;
pub mod rootfs;
pub mod snapshot;
mod variables;

use std::rc::Rc;

use super::file::SourceFile;

/// What one file says, and the file, for problems that only show later.
#[derive(Debug)]
pub struct ParsedFile<T> {
    /// `None` where it cannot be read or is not TOML: its value is only a name then.
    pub file: Option<Rc<SourceFile>>,
    pub value: T,
}

/// Every table of every file, for the test of the examples: file, path of the table, schema.
#[cfg(test)]
pub const SCHEMAS: [(&str, &str, &super::document::Schema); 17] = [
    ("lap.toml", "", &lap::SCHEMA),
    ("lap.toml", "network", &lap::NETWORK),
    ("lap.toml", "dns", &dns::SCHEMA),
    ("lap.toml", "snapshot", &snapshot::SCHEMA),
    ("lap.toml", "copies", &copies::SCHEMA),
    ("lap.toml", "promote", &promote::SCHEMA),
    ("node.toml", "", &node::SCHEMA),
    ("node.toml", "ssh", &machine::SSH),
    ("node.toml", "vm", &machine::VM),
    ("rootfs.toml", "", &build::ROOTFS),
    ("env.toml", "", &env::SCHEMA),
    ("container.toml", "", &container::SCHEMA),
    ("container.toml", "healthcheck", &healthcheck::SCHEMA),
    ("container.toml", "data", &data::SCHEMA),
    ("container.toml", "checks", &checks::SCHEMA),
    ("container.toml", "build", &build::SCHEMA),
    ("container.toml", "build.rootfs", &build::ROOTFS),
];
