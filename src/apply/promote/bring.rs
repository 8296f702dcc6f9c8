//! Brings over what a release needs, while everything runs on: files, images, names. None of it changes what runs.

use lap_base::error::Result;

use super::{git, images, planned::Planned, stage::packed};
use crate::{
    apply::options::Options,
    release::Staged,
    wire::{
        client::Held,
        protocol::{InstallTarget, Request},
    },
};

/// Brings all of it under the node's lock; gives the number of bytes of images that were sent.
///
/// # Errors
/// What cannot be brought; nothing that runs has changed.
pub async fn bring(planned: &Planned, held: &Held, options: &Options) -> Result<u64> {
    let client = &planned.master.node.client;
    let install = async |place: InstallTarget, tar: Vec<u8>| {
        let request = Request::Install { fence: held.fence, place, size: tar.len() as u64 };
        client.ask(&request, &tar).await.map(|_| ())
    };
    if let Some(tar) = &planned.environment {
        options.events.note("  send the environment's files");
        install(InstallTarget::Env(planned.target.env.clone()), tar.clone()).await?;
    }
    if let Some(tar) = &planned.checks {
        install(InstallTarget::Checks(planned.target.checks.clone()), tar.clone()).await?;
    }
    for (place, files) in &planned.places {
        install(place.clone(), packed(files)?).await?;
    }
    for (what, files) in &planned.staged {
        let name = match what {
            Staged::Secrets(container) => format!("secrets.{container}"),
            Staged::Names => "names".to_owned(),
        };
        install(InstallTarget::Staged(name), packed(files)?).await?;
    }
    git::bring(planned, held, options).await?;
    images::bring(planned, held, options).await
}
