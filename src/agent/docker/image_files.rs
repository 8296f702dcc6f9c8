//! Images as files, for what must run before any registry does.

use std::path::{Path, PathBuf};

use bollard::query_parameters::ImportImageOptions;
use futures_util::{StreamExt, TryStreamExt};
use lap_base::{
    durable,
    error::{Error, Kind, OrError, Result},
};
use tokio::io::AsyncWriteExt;

use crate::{agent::docker, wire::paths};

/// Writes an image to [`paths::IMAGES`].
///
/// # Errors
/// There is no such image; the disk is full.
pub async fn save(image: &str, file: &str) -> Result<()> {
    let target = path_of(file)?;
    let mut stream = docker::connect().await?.export_image(image);
    let new = target.with_extension("lap-new");
    let what = || format!("cannot write `{}`", new.display());
    let mut out = tokio::fs::File::create(&new).await.or_error(Kind::Node, what)?;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.or_error(Kind::Node, || format!("cannot save the image `{image}`"))?;
        out.write_all(&chunk).await.or_error(Kind::Node, what)?;
    }
    out.flush().await.or_error(Kind::Node, what)?;
    let published = tokio::task::spawn_blocking(move || durable::publish(&new, &target)).await;
    let published = published.or_error(Kind::Other, || "the agent".into())?;
    published.or_error(Kind::Node, || format!("cannot write the image `{file}`"))
}

/// Loads what [`save`] wrote.
///
/// # Errors
/// There is no such file, or Docker refuses it.
pub async fn load(file: &str) -> Result<()> {
    let path = path_of(file)?;
    let what = || format!("cannot load `{}`", path.display());
    let bytes = tokio::fs::read(&path).await.or_error(Kind::Node, what)?;
    let docker = docker::connect().await?;
    let said: Vec<_> = docker
        .import_image(ImportImageOptions::default(), bollard::body_full(bytes.into()), None)
        .try_collect()
        .await
        .or_error(Kind::Node, what)?;
    match said.into_iter().find_map(|info| info.error_detail) {
        Some(error) => Err(Error::new(Kind::Node, format!("{}: {}", what(), error.message.unwrap_or_default()))),
        None => Ok(()),
    }
}

fn path_of(file: &str) -> Result<PathBuf> {
    if file.contains('/') || file.starts_with('.') {
        return Err(Error::new(Kind::Refused, format!("`{file}` is not a file's name")));
    }
    durable::create_dir_all(Path::new(paths::IMAGES))
        .or_error(Kind::Node, || format!("cannot make `{}`", paths::IMAGES))?;
    Ok(Path::new(paths::IMAGES).join(file))
}
