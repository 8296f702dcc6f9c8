//! The programs and services that `apply` and `observe` work through. A driver knows how; it never decides what.

pub mod boxes;
pub mod command;

pub mod host;
pub mod node;
mod quickack;
pub mod rootfs;
pub mod site;
pub mod ssh;
pub mod stock_ssh;
