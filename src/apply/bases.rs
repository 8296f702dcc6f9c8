//! Images from outside that Dockerfiles stand on: they must be there before what stands on them can be named, since a newer one of the
//! same name is a change.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use bollard::Docker;
use lap_base::error::{Error, Kind, Result};

use super::{
    Perform, build, carry_out,
    connected_node::{ConnectedNode, with_end},
    options::Options,
};
use crate::{
    observe::working_tree::WorkingTree,
    plan::{Action, Plan},
    report::LineSink,
    wire::{
        client::Held,
        protocol::{NodeFacts, Note},
    },
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

/// Pulls these images to the node that makes images, under its lock.
///
/// # Errors
/// An image is nowhere, another command holds the lock, or the lock is lost.
pub async fn pull(maker: &ConnectedNode, environment: &str, bases: &BTreeSet<String>, options: &Options) -> Result<()> {
    let mut plan = Plan::new(environment);
    for image in bases {
        plan.push(Action::PullBase { image: image.clone() }, "a Dockerfile uses it", []);
    }
    let held = maker.lock(options).await?;
    let docker = maker.client.docker(Some(held.fence))?;
    let performer = Arc::new(PullBases { docker, held });
    let (_, result) = carry_out(&plan, performer.clone(), &options.events, &options.stop).await;
    let end = result.as_ref().map(|_| ()).map_err(|error| error.message.lines().next().unwrap_or_default().to_owned());
    // A step that was stopped may keep the performer for a moment; the agent then sees the end of the connection.
    match Arc::try_unwrap(performer) {
        Ok(performer) => with_end(result, performer.held.end(end).await),
        Err(_) => result,
    }
}

/// Pulls images on a node that may be no master.
struct PullBases {
    docker: Docker,
    held: Held,
}

#[async_trait]
impl Perform for PullBases {
    async fn begins(&self, title: &str) -> Result<()> {
        self.held.note(&Note::Step(title.to_owned())).await
    }

    async fn did(&self, title: &str) {
        // The next step, or the end, reports a lost connection.
        let _ = self.held.note(&Note::Did(title.to_owned())).await;
    }

    async fn perform(&self, action: &Action, line: &LineSink<'_>) -> Result<()> {
        match action {
            Action::PullBase { image } => build::pull(&self.docker, image, line).await,
            other => Err(Error::new(Kind::Other, format!("this plan only pulls images: {other}"))),
        }
    }
}
