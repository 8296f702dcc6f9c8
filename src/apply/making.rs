//! What the making of images on a node needs.

use super::builder::Builder;
use crate::observe::working_tree::WorkingTree;

/// What images are made from, and where.
#[derive(Default)]
pub struct Making {
    /// The working tree, where images are built from it.
    pub tree: Option<WorkingTree>,
    /// `None`: they are made where they run.
    pub builder: Option<Builder>,
}
