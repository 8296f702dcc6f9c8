//! Images of nodes on the machine where they live.

use crate::{
    drivers::node::images::NodeImage,
    prune::young::{YOUNG, is_young},
    wire::prune::{ItemKind, PruneDecision, PruneRules, Todo},
};

/// Another lab of this machine may be about to make a node from one that no node has.
const LEAST_GRACE: u64 = 24 * 3600;

/// `wished` is what this workspace makes nodes from.
pub fn decide(images: &[NodeImage], wished: &str, rules: &PruneRules, now: i64) -> Vec<PruneDecision> {
    let rules = PruneRules { grace: rules.grace.max(LEAST_GRACE), ..*rules };
    let decide = |image: &NodeImage| {
        let stays = |why: String| PruneDecision::stays(ItemKind::NodeImage, &image.tag, why).with_size(image.size);
        match &image.used_by {
            Some(container) => stays(format!("`{container}` is made from it")),
            None if image.tag == wished => stays("this workspace's nodes are made from it".into()),
            None if is_young(image.created, &rules, now) => stays(YOUNG.into()),
            None => {
                let todo = Todo::NodeImage(image.tag.clone());
                PruneDecision::removed(ItemKind::NodeImage, &image.tag, "no node is made from it", todo)
                    .with_size(image.size)
            }
        }
    };
    images.iter().map(decide).collect()
}
