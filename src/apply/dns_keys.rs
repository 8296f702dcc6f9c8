//! Brings the DNS servers' keys to a master that runs, without waiting for the next `up`.

use lap_base::{
    archive::pack,
    error::{Error, Kind, Result},
};

use super::{install::Contents, master::Master, options::Options};
use crate::{
    config::{KEYS, model::Container},
    wire::protocol::{InstallTarget, Request},
};

/// Installs `keys.json` for the container that takes it, under the node's lock. The server sees it at once.
///
/// # Errors
/// What runs there takes no keys (an earlier release), somebody holds the lock, or the node does not answer.
pub async fn deliver(master: &Master, options: &Options) -> Result<()> {
    let facts = master.node.client.facts().await?;
    let current = facts.recorded.value_or_refuse()?;
    let running = current.into_iter().flat_map(|current| current.containers.into_values());
    // A certificate's key would be replaced with the rest of the place.
    let container = running.into_iter().find(|c| c.secrets.contains(KEYS) && !c.secrets.contains("tls.crt"));
    let container = container.ok_or_else(|| {
        Error::new(Kind::Refused, format!("the DNS server on `{}` accepts no keys", master.environment.name))
    })?;
    let held = master.node.lock(options).await?;
    let installed = install(master, &container, held.fence).await;
    let end = installed.as_ref().map(drop).map_err(|error| error.message.clone());
    let ended = held.end(end).await;
    installed.and(ended)
}

async fn install(master: &Master, container: &Container, fence: u64) -> Result<()> {
    // Read under the lock: who was waited for may have made or removed a key.
    let (keys, zone) = (master.workspace.keys()?, &master.workspace.lab.dns.zone);
    keys.dns_admin(&master.environment.name, zone)?;
    let keys = master.workspace.keys()?;
    let contents = Contents {
        workspace: &master.workspace,
        keys: Some(&keys),
        environment: &master.environment,
        seen: &master.seen,
        runs: None,
    };
    let place = InstallTarget::Secrets(container.name.clone());
    let files = contents.files(&place, Some(container))?;
    let tar = pack(files.iter().map(|(name, mode, bytes)| (name.as_str(), *mode, bytes.as_slice())))?;
    let request = Request::Install { fence, place, size: tar.len() as u64 };
    master.node.client.ask(&request, &tar).await.map(drop)
}
