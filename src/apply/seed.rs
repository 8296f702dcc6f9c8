//! Copies images from this machine's Docker to a node's, through the SSH connection: works before any registry runs.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::{Docker, query_parameters::ImportImageOptions};
use futures_util::{StreamExt, TryStreamExt};

use super::{
    Perform, carry_out,
    run::node_failed,
    up::{Master, Options},
};
use crate::{
    config::model::Environment,
    drivers,
    error::{Error, Kind, Result},
    plan::{Action, Plan},
    report::{Line, bytes},
    workspace::Workspace,
};

struct Seeder {
    here: Docker,
    there: Docker,
}

#[async_trait]
impl Perform for Seeder {
    async fn perform(&self, action: &Action, line: &Line<'_>) -> Result<()> {
        let Action::SeedImage { image } = action else {
            return Err(Error::new(Kind::Other, format!("not for seeding: {action}")));
        };
        let what = format!("cannot copy `{image}`");
        // bollard wants a stream of its own: what was sent so far comes back through a channel.
        let (sent, mut progress) = tokio::sync::mpsc::unbounded_channel::<u64>();
        let chunks = self.here.export_image(image).map(move |chunk| {
            let _ = sent.send(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64));
            chunk.map_err(std::io::Error::other)
        });
        let options = ImportImageOptions::default();
        let mut load = self.there.import_image(options, bollard::body_try_stream(chunks), None);
        let mut total = 0;
        loop {
            tokio::select! {
                Some(more) = progress.recv() => {
                    total += more;
                    line(&bytes(total));
                }
                said = load.try_next() => match said.map_err(|error| node_failed(&what, &error))? {
                    None => return Ok(()),
                    Some(info) => {
                        if let Some(error) = info.error_detail.and_then(|error| error.message) {
                            return Err(Error::new(Kind::Node, format!("{what}: {error}")));
                        }
                    }
                },
            }
        }
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
    let here = drivers::docker::local().await?;
    let mut plan = Plan::new(&environment.name);
    for image in images {
        here.inspect_image(image).await.map_err(|_| {
            Error::new(Kind::Host, format!("this machine's Docker has no image `{image}`"))
                .hint(format!("`docker pull {image}`, then again"))
        })?;
        plan.push(Action::SeedImage { image: image.clone() }, "asked for", []);
    }
    let master = Master::connect(workspace, environment, Duration::from_secs(5)).await?;
    if options.dry_run {
        return Ok(());
    }
    let held = master.lock(options).await?;
    let there = master.client.docker(Some(held.fence))?;
    let result = carry_out(&plan, Arc::new(Seeder { here, there }), &options.events, &options.stop).await.1;
    let ended = held.end(result.as_ref().map(|_| ()).map_err(|error| error.message.clone())).await;
    result.and(ended)
}
