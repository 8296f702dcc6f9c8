//! Brings over what a release needs, while everything runs on: files, images, names. None of it changes what runs.

use std::{collections::BTreeMap, sync::Arc};

use bollard::query_parameters::ImportImageOptions;
use futures_util::{StreamExt, TryStreamExt};

use super::{Planned, Shared, packed};
use crate::{
    agent::{
        client::Held,
        protocol::{Place, Request},
    },
    apply::{
        run::node_failed,
        up::{Master, Options, short},
    },
    error::{Error, Kind, Result},
    observe::{
        checkout::{self, Checkout},
        commit,
    },
    plan::wish::Wish,
    release::Staged,
    workspace::Workspace,
};

/// The workspace as it was at a commit, and the directory it is in as long as it is needed.
///
/// # Errors
/// The commit is not in this workspace's repository, or it is no workspace.
pub fn checkout(workspace: &Arc<Workspace>, commit: &str) -> Result<(Arc<Workspace>, Option<Checkout>)> {
    let root = &workspace.lab.root;
    let head = commit::look(root);
    if head.id.as_deref() == Some(commit) && !head.dirty {
        return Ok((workspace.clone(), None));
    }
    let checkout = checkout::checkout(root, commit, &commit::inside(root), &tempfile::env::temp_dir())
        .map_err(|error| error.hint(format!("`git fetch` it (commit {}), and promote again", short(commit))))?;
    let at = Workspace::open(&checkout.root, Some(&workspace.lab.name))?;
    Ok((Arc::new(at), Some(checkout)))
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
        options.events.note("  bring the environment's files");
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
    images(planned, held, options).await
}

/// Those of the containers that are made, and are not there yet.
async fn images(planned: &Planned, held: &Held, options: &Options) -> Result<u64> {
    let wish = Wish::from(planned.target.clone());
    let there = |build: &str| planned.facts.images.iter().any(|image| image.build.as_deref() == Some(build));
    let missing = planned.changes.starts(&wish).filter_map(|(name, ..)| Some((name, wish.images.get(name)?)));
    // What checks run in may be an image that nothing runs from: the gate needs it all the same.
    let asked = wish.running().filter_map(|container| container.checks.as_ref()?.image.as_ref());
    let asked = asked.filter_map(|name| wish.images.get_key_value(name));
    let missing = missing.chain(asked.map(|(name, image)| (name.as_str(), image)));
    let missing: BTreeMap<_, _> = missing.filter(|(_, image)| !there(&image.build)).collect();
    let Some(from) = &planned.from else {
        return match missing.first_key_value() {
            None => Ok(0),
            Some((name, _)) => {
                Err(Error::new(Kind::Refused, format!("the image of `{name}` is not on the node any more")))
            }
        };
    };
    if missing.is_empty() {
        return Ok(0);
    }
    let facts = from.client.facts().await?;
    let mut ids = Vec::new();
    for (name, image) in missing {
        let fact = facts.images.iter().find(|fact| fact.build.as_deref() == Some(&image.build));
        let fact = fact.ok_or_else(|| {
            Error::new(Kind::Node, format!("the image of `{name}` is not on `{}`", from.environment.name))
        })?;
        options.events.note(format!("  bring the image of `{name}`"));
        ids.push(fact.tags.first().cloned().unwrap_or_else(|| fact.id.clone()));
    }
    saved(from, &planned.master, held, &ids).await
}

/// From one Docker to the other, through this machine.
async fn saved(from: &Master, to: &Master, held: &Held, images: &[String]) -> Result<u64> {
    let what = "cannot bring the images";
    let (here, there) = (from.client.docker(None)?, to.client.docker(Some(held.fence))?);
    let sent: Shared<u64> = Arc::default();
    let counter = sent.clone();
    let names: Vec<&str> = images.iter().map(String::as_str).collect();
    let chunks = here.export_images(&names).map(move |chunk| {
        if let (Ok(bytes), Ok(mut sent)) = (&chunk, counter.lock()) {
            *sent += bytes.len() as u64;
        }
        chunk.map_err(std::io::Error::other)
    });
    let mut load = there.import_image(ImportImageOptions::default(), bollard::body_try_stream(chunks), None);
    while let Some(info) = load.try_next().await.map_err(|error| node_failed(what, &error))? {
        if let Some(error) = info.error_detail.and_then(|error| error.message) {
            return Err(Error::new(Kind::Node, format!("{what}: {error}")));
        }
    }
    let bytes = sent.lock().map_or(0, |sent| *sent);
    Ok(bytes)
}
