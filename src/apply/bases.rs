//! Images from outside that Dockerfiles stand on: they must be there before what stands on them can be named, since a newer one of the
//! same name is a change.

use std::{collections::BTreeSet, sync::Arc};

use lap_base::error::Result;

use super::{making::Making, master::Master, options::Options};
use crate::{
    observe::working_tree::WorkingTree,
    plan::{Action, Plan},
    release::desired_state::DesiredState,
    wire::{client::Held, protocol::NodeFacts},
};

/// The id that an image from outside has on a node, by the name that a Dockerfile gives it.
pub fn id(facts: &NodeFacts, image: &str) -> Option<String> {
    let tagged = tagged(image);
    facts.images.iter().find(|fact| fact.tags.contains(&tagged)).map(|fact| fact.id.clone())
}

fn tagged(image: &str) -> String {
    if image.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// Those that are not on the node where images are made.
pub fn missing(tree: Option<&WorkingTree>, facts: &NodeFacts) -> BTreeSet<String> {
    let there = |image: &str| {
        id(facts, image).is_some() || facts.images.iter().any(|fact| fact.digests.iter().any(|d| d == image))
    };
    tree.into_iter().flat_map(|tree| tree.bases.values().flatten()).filter(|image| !there(image)).cloned().collect()
}

/// Pulls them under the lock, which ends with it.
///
/// # Errors
/// One is nowhere, or the lock is lost.
pub async fn pull(maker: &Arc<Master>, held: Held, bases: &BTreeSet<String>, options: &Options) -> Result<()> {
    let mut plan = Plan::new(&maker.environment.name);
    for image in bases {
        plan.push(Action::PullBase { image: image.clone() }, "a Dockerfile uses it", []);
    }
    let facts = NodeFacts::default();
    maker.carry_out(&plan, held, &facts, DesiredState::nothing(), Making::default(), options).await
}
