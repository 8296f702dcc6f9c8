//! A node with the role `builder`: it makes the images of its environment, and the master takes them from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bollard::{Docker, query_parameters::PruneImagesOptionsBuilder};
use lap_base::error::{Error, Kind, Result};

use super::{
    build, connected_node::ConnectedNode, images::image_ids, master::Master, options::Options, run::node_failed,
    transfer,
};
use crate::{
    release::desired_state::DesiredState,
    report::LineSink,
    wire::{
        client::{AgentClient, Held},
        labels::LABEL_BUILD,
    },
};

/// A builder whose lock is held.
pub struct Builder {
    pub node: String,
    pub docker: Docker,
    client: AgentClient,
    held: Held,
}

/// Connects to the builder of this master's environment. `None`: the environment has no builder; or this program runs on the master, which
/// builds pushes itself and has no key for other nodes.
///
/// # Errors
/// It does not answer.
pub async fn connect(master: &Master) -> Result<Option<ConnectedNode>> {
    let (Some(keys), Some(node)) = (&master.keys, &master.environment.builder) else { return Ok(None) };
    let address = master.seen.nodes.get(node).copied();
    let address = address.ok_or_else(|| Error::new(Kind::Node, format!("the address of `{node}` is not known")))?;
    let name = &master.environment.name;
    let session = master.workspace.connect(keys, node, address, Duration::from_secs(5)).await.map_err(|error| {
        let message = format!("the builder of `{name}` does not answer: {}", error.message);
        Error::new(error.kind, message).hint(format!("`lap up {name}` starts it, `lap node list` shows its state"))
    })?;
    Ok(Some(ConnectedNode { name: node.clone(), client: session.agent() }))
}

impl Builder {
    /// Takes its lock.
    ///
    /// # Errors
    /// Somebody has it, and it is not to be waited for.
    pub async fn take(node: &ConnectedNode, options: &Options) -> Result<Self> {
        let held = node.lock(options).await?;
        let docker = node.client.docker(Some(held.fence))?;
        Ok(Self { node: node.name.clone(), docker, client: node.client.clone(), held })
    }

    /// Ids of its images by what they were built from.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn images(&self) -> Result<BTreeMap<String, String>> {
        Ok(image_ids(&self.client.facts().await?))
    }

    /// Gives it back.
    ///
    /// # Errors
    /// It was lost before.
    pub async fn end(self, end: std::result::Result<(), String>) -> Result<()> {
        self.held.end(end).await
    }

    /// Brings the images of these containers, with those from outside that they stand on, under the names they have where they are
    /// built. What the builder had of them before, and nothing stands on any more, it forgets.
    ///
    /// # Errors
    /// One is not there, or something else came.
    pub async fn bring(
        &self,
        to: &Docker,
        desired: &DesiredState,
        containers: &[String],
        bases: &BTreeMap<String, BTreeSet<String>>,
        line: &LineSink<'_>,
    ) -> Result<()> {
        let ids = self.images().await?;
        let mut images: BTreeSet<&str> = BTreeSet::new();
        for name in containers {
            build::name_it(&self.docker, desired, &ids, name).await?;
            images.extend(bases.get(name).into_iter().flatten().map(String::as_str));
        }
        let names: Vec<String> = containers.iter().map(|name| build::name(name)).collect();
        images.extend(names.iter().map(String::as_str));
        transfer::copy(&self.docker, to, &images.into_iter().collect::<Vec<_>>(), line).await?;
        for (container, name) in containers.iter().zip(&names) {
            if self.layers(&self.docker, name).await? != self.layers(to, name).await? {
                let message =
                    format!("the image of `{container}` that `{}` sent differs from the one it built", self.node);
                return Err(Error::new(Kind::Node, message).hint("run `lap up` to send it again"));
            }
        }
        let old = [("dangling", vec!["true"]), ("label", vec![LABEL_BUILD])].into();
        let pruned = self.docker.prune_images(Some(PruneImagesOptionsBuilder::new().filters(&old).build())).await;
        pruned.map(drop).map_err(|error| node_failed(&format!("cannot remove old images on `{}`", self.node), &error))
    }

    /// The digests of its layers, which are the same wherever it is.
    async fn layers(&self, docker: &Docker, name: &str) -> Result<Vec<String>> {
        let image = docker.inspect_image(name).await;
        let image = image.map_err(|error| node_failed(&format!("cannot look at the image `{name}`"), &error))?;
        Ok(image.root_fs.and_then(|files| files.layers).unwrap_or_default())
    }
}
