//! `lap prune`: the agent decides and does it; images of nodes are on this machine, and this machine's to remove.

use std::{sync::Arc, time::Duration};

use lap_base::error::{Error, Kind, Result};

use super::{master::Master, options::Options, responses::unexpected};
use crate::{
    config::model::Environment,
    drivers::node::images,
    plan::{node_images, nodes::image_tag},
    wire::{
        protocol::{Request, Response},
        prune::{PruneDecision, PruneRules, Todo},
    },
    workspace::Workspace,
};

/// Decides about everything and, unless it is a dry run, does it.
///
/// # Errors
/// The node does not answer, somebody holds its lock, or it is not known what runs there. What could not be removed says so in its
/// decision.
pub async fn prune(
    workspace: Arc<Workspace>,
    environment: &Environment,
    rules: PruneRules,
    options: &Options,
) -> Result<Vec<PruneDecision>> {
    let master = Master::connect(workspace.clone(), environment, Duration::from_secs(5)).await?;
    // An agent of another build is replaced first: it may not know the question.
    master.node.facts(Some(options)).await?;
    let request = Request::Prune { holder: options.holder(), wait: options.wait, dry_run: options.dry_run, rules };
    let step = |text: &str| options.events.note(format!("  {text}"));
    let mut all = match master.node.client.work(&request, options.wait, master.node.busy(options), step).await? {
        Response::Swept { decisions } => decisions,
        other => return Err(unexpected(&other)),
    };
    all.extend(nodes(&workspace, rules, options.dry_run).await?);
    Ok(all)
}

/// Images of nodes on this machine.
async fn nodes(workspace: &Workspace, rules: PruneRules, dry_run: bool) -> Result<Vec<PruneDecision>> {
    let here = crate::docker::local().await?;
    let images = images::list(&here).await?;
    let wished = image_tag(&workspace.rootfs_identity());
    let mut decisions = node_images::decide(&images, &wished, &rules, lap_base::clock::now());
    for decision in decisions.iter_mut().filter(|_| !dry_run) {
        let Some(Todo::NodeImage(tag)) = &decision.todo else { continue };
        if let Err(error) = images::remove(&here, tag).await {
            decision.failed = Some(error.message);
        }
    }
    Ok(decisions)
}

/// An error if something could not be removed.
///
/// # Errors
/// That.
pub fn whole(decisions: &[PruneDecision]) -> Result<()> {
    let failed: Vec<String> = decisions
        .iter()
        .filter_map(|decision| decision.failed.as_ref().map(|why| format!("\n  `{}`: {why}", decision.name)))
        .collect();
    match failed.len() {
        0 => Ok(()),
        1 => Err(Error::new(Kind::Node, format!("one thing could not be removed:{}", failed.concat()))),
        count => Err(Error::new(Kind::Node, format!("{count} things could not be removed:{}", failed.concat()))),
    }
    .map_err(|error| error.hint("the other items were removed; the next `lap prune` tries again"))
}
