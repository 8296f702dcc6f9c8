//! The only place that changes the world: carries a plan out.

pub mod admits;
mod bases;
pub mod build;
mod builder;
pub mod check;
mod checkout;
mod connected_node;
mod images;
pub mod outcome;
mod responses;

pub mod copies;
pub mod dns_keys;
pub mod down;
pub mod drill;
mod files;
mod grow;
pub mod host;
pub mod host_install;
pub mod image;
pub mod install;
pub mod into;
mod joining;
pub mod local;
pub mod machine;
mod making;
pub mod master;
pub mod node;
pub mod options;
mod place;
pub mod promote;
pub mod prune;
pub mod push;
mod push_image;
pub mod record;
pub mod recover;
pub mod registry;
pub mod repository;
pub mod run;
pub mod schedule;
pub mod seed;
pub mod snapshot;
mod transfer;
pub mod up;
pub mod vm;

pub use schedule::{Perform, Report, carry_out};
