//! The ids of images on a node.

use std::collections::BTreeMap;

use crate::wire::protocol::facts::NodeFacts;

/// Ids of the node's images by what they were built from.
pub fn image_ids(facts: &NodeFacts) -> BTreeMap<String, String> {
    facts.images.iter().filter_map(|image| Some((image.build.clone()?, image.id.clone()))).collect()
}
