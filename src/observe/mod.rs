//! Looks, and changes nothing: files of the workspace, git, this machine, nodes.

pub mod checkout;
pub mod commit;
pub mod context;
pub mod doctor;
pub mod finding;
pub mod hypervisors;

pub mod working_tree;
