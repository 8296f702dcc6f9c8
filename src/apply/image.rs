//! What nodes are made from, by itself.

use std::sync::Arc;

use lap_base::error::Result;

use super::{carry_out, host::Host, options::Options};
use crate::{
    config::model::{Hypervisor, Provider},
    drivers::{boxes, node::docker},
    plan::{Action, Plan, nodes::image_tag},
    workspace::Workspace,
};

/// Makes it, unless it is there. Returns its name, or where it is.
///
/// # Errors
/// A program is missing or fails.
pub async fn make(workspace: Arc<Workspace>, what: (Provider, Hypervisor), options: &Options) -> Result<String> {
    let rootfs = workspace.lab.rootfs.clone();
    let (hypervisor, mut plan) = (what.1, Plan::new(""));
    let mut host = Host {
        workspace: workspace.clone(),
        keys: None,
        docker: None,
        facts: docker::HostFacts::default(),
        addresses: Default::default(),
    };
    let made = if what.0 == Provider::Vagrant {
        plan.push(Action::PackBox { hypervisor }, "requested", []);
        boxes::cached(&workspace.cache, &rootfs, hypervisor).display().to_string()
    } else {
        let client = crate::docker::local().await?;
        let facts = docker::observe(&client, &workspace.lab.name).await?;
        let tag = image_tag(&workspace.rootfs_identity());
        if !facts.images.contains(&tag) {
            plan.push(Action::MakeNodeImage { tag: tag.clone(), rootfs }, "requested", []);
        }
        host.docker = Some(client);
        tag
    };
    carry_out(&plan, Arc::new(host), &options.events, &options.stop).await.1?;
    Ok(made)
}
