//! Copies images from this machine's Docker to a node's, through the SSH connection: works before any registry runs.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::Docker;
use lap_base::error::{Error, Kind, Result};

use super::{Perform, carry_out, master::Master, options::Options, transfer};
use crate::{
    config::model::Environment,
    plan::{Action, Plan},
    report::LineSink,
    workspace::Workspace,
};

struct Seeder {
    here: Docker,
    there: Docker,
}

#[async_trait]
impl Perform for Seeder {
    async fn perform(&self, action: &Action, line: &LineSink<'_>) -> Result<()> {
        let Action::SeedImage { image } = action else {
            return Err(Error::new(Kind::Other, format!("not a step of the seed: {action}")));
        };
        transfer::copy(&self.here, &self.there, &[image], line).await.map(drop)
    }
}

/// Copies `images` to the master of `environment`.
///
/// # Errors
/// An image is not on this machine; the node does not answer; somebody holds its lock.
pub async fn seed(
    workspace: Arc<Workspace>,
    environment: &Environment,
    images: &[String],
    options: &Options,
) -> Result<()> {
    let here = crate::docker::local().await?;
    let mut plan = Plan::new(&environment.name);
    for image in images {
        here.inspect_image(image).await.map_err(|_| {
            Error::new(Kind::Host, format!("this machine's Docker has no image `{image}`"))
                .hint(format!("run `docker pull {image}`, then run the command again"))
        })?;
        plan.push(Action::SeedImage { image: image.clone() }, "requested", []);
    }
    let master = Master::connect(workspace, environment, Duration::from_secs(5)).await?;
    if options.dry_run {
        return Ok(());
    }
    let held = master.node.lock(options).await?;
    let there = master.node.client.docker(Some(held.fence))?;
    let result = carry_out(&plan, Arc::new(Seeder { here, there }), &options.events, &options.stop).await.1;
    let ended = held.end(result.as_ref().map(|_| ()).map_err(|error| error.message.clone())).await;
    result.and(ended)
}
