//! Brings over what a release needs, while everything runs on: files, images, names. None of it changes what runs.

use std::sync::Arc;

use super::{Planned, git, images, packed};
use crate::{
    apply::up::{Options, short},
    error::{Error, Result},
    observe::{
        checkout::{self, Checkout},
        commit,
    },
    release::Staged,
    wire::{
        client::Held,
        protocol::{Place, Request},
    },
    workspace::Workspace,
};

/// The workspace as it was at a commit, and the directory it is in as long as it is needed.
///
/// # Errors
/// The commit is not in this workspace's repository, or it is no workspace.
pub fn checkout(workspace: &Arc<Workspace>, commit: &str) -> Result<(Arc<Workspace>, Option<Checkout>)> {
    let root = &workspace.lab.root;
    let head = commit::look(root)?;
    if head.id.as_deref() == Some(commit) && !head.dirty {
        return Ok((workspace.clone(), None));
    }
    let (at, checkout) = fresh(workspace, commit)?;
    Ok((Arc::new(at), Some(checkout)))
}

/// The same, from git in any case.
///
/// # Errors
/// As [`checkout`].
pub fn fresh(workspace: &Workspace, commit: &str) -> Result<(Workspace, Checkout)> {
    let root = &workspace.lab.root;
    let checkout =
        checkout::checkout(root, commit, &commit::inside(root)?, &tempfile::env::temp_dir()).map_err(|error| {
            error.hint(format!("fetch the commit {} with `git fetch`, and promote again", short(commit)))
        })?;
    let at = Workspace::at(&checkout.root, Some(&workspace.lab.name)).map_err(|error| {
        let message = format!("the commit {} cannot be used: {}", short(commit), error.message);
        Error { message, ..error }
    })?;
    Ok((at, checkout))
}

/// Brings all of it under the node's lock; gives the number of bytes of images that were sent.
///
/// # Errors
/// What cannot be brought; nothing that runs has changed.
pub async fn bring(planned: &Planned, held: &Held, options: &Options) -> Result<u64> {
    let client = &planned.master.client;
    let install = async |place: Place, tar: Vec<u8>| {
        let request = Request::Install { fence: held.fence, place, size: tar.len() as u64 };
        client.ask(&request, &tar).await.map(|_| ())
    };
    if let Some(tar) = &planned.environment {
        options.events.note("  send the environment's files");
        install(Place::Env(planned.target.env.clone()), tar.clone()).await?;
    }
    if let Some(tar) = &planned.checks {
        install(Place::Checks(planned.target.checks.clone()), tar.clone()).await?;
    }
    for (place, files) in &planned.places {
        install(place.clone(), packed(files)?).await?;
    }
    for (what, files) in &planned.staged {
        let name = match what {
            Staged::Secrets(container) => format!("secrets.{container}"),
            Staged::Names => "names".to_owned(),
        };
        install(Place::Staged(name), packed(files)?).await?;
    }
    git::bring(planned, held, options).await?;
    images::bring(planned, held, options).await
}
