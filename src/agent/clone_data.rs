//! Another environment's snapshot in the place of this one's data: received as btrfs sends it, only what differs from the last one
//! (as an archive, whole, where one of the two has no btrfs);
//! a copy of it is scrubbed by each container's own program; what comes of that is a snapshot here, and restored as any other.
//!
//! ```text
//! pool/received/<environment>/<id>/data   as it came, read-only: what the next one is compared with; no container sees it
//! pool/received/.new/data                 one that is being received
//! pool/snapshots/.new-<id>/data           the copy that is being scrubbed
//! ```
//!
//! Up to the restore nothing here has changed; a kill leaves what the next start sweeps away.

mod scrub;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use lap_base::{
    beneath::{Walk, dir::Dir},
    clock::now,
    durable,
    error::{Error, Kind, OrError, Result},
    state,
};
use lap_snapshots as snapshot;
use lap_snapshots::{
    Id, Meta, Reason,
    nested::{list, remove},
    volume,
};
use nix::fcntl::Flock;
use rustix::fs::FileType;
use tokio::{process::Command, runtime::Handle};

use super::{
    docker,
    pool::path,
    snapshots::{self, archive},
    system::failpoint,
};
use crate::wire::{
    paths,
    protocol::{Bring, Response, RestorePart},
};

pub use scrub::{is_pending, recover};

fn directory() -> PathBuf {
    Path::new(paths::POOL).join("received")
}

fn half() -> PathBuf {
    directory().join(".new")
}

/// One that came from `from`.
fn place(from: &str, id: &Id) -> PathBuf {
    directory().join(from).join(id.to_string())
}

/// The names in the directory of what came from `from`.
fn came(from: &str) -> Result<Vec<String>> {
    let directory = directory().join(from);
    if state::is_absent(&directory) {
        return Ok(Vec::new());
    }
    Ok(state::names(&directory).value_or_refuse()?.unwrap_or_default())
}

/// What came from `from`.
pub fn received(from: &str) -> Result<Response> {
    path()?;
    // An interrupted removal took the data first: no transfer can be based on what is left.
    let has_data = |name: &&String| !state::is_absent(&directory().join(from).join(name).join("data"));
    let list = came(from)?.iter().filter(has_data).filter_map(|name| name.parse().ok()).collect();
    Ok(Response::Received { list })
}

/// A snapshot here, and what keeps it and `parent` from being removed.
pub fn find(id: &Id, parent: Option<&Id>) -> Result<(Meta, Vec<Flock<File>>)> {
    let pool = path()?;
    let meta = snapshot::find(pool, &id.to_string())?;
    let held = [Some(id), parent]
        .into_iter()
        .flatten()
        .map(|id| lap_snapshots::half::hold(pool, id))
        .collect::<Result<_>>()?;
    Ok((meta, held))
}

/// Begins to send one.
pub fn pack(id: &Id, parent: Option<&Id>) -> Result<archive::ArchiveSource> {
    let pool = path()?;
    let mut command = Command::new("btrfs");
    command.args(["send", "--quiet"]);
    if let Some(parent) = parent {
        command.arg("-p").arg(snapshot::data(pool, parent));
    }
    command.arg(snapshot::data(pool, id));
    command.kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::piped());
    archive::ArchiveSource::of("btrfs send", command)
}

/// Takes what another environment's agent sent.
pub async fn receive(bring: &Bring, from: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Result<()> {
    path()?;
    let (half, whole) = (half(), place(&bring.from, &bring.id));
    sweep()?;
    if whole.exists() && state::is_absent(&whole.join("data")) {
        // The rest of a removal that was interrupted.
        drop_received(&whole)?;
    }
    if whole.exists() {
        // It would be the same one: what was sent is thrown away by whoever sent it.
        return Err(Error::new(Kind::Refused, format!("{} of `{}` is on the node already", bring.id, bring.from)));
    }
    for directory in [whole.parent().unwrap_or(&whole), &half] {
        durable::create_dir_all(directory).or_error(Kind::Node, || format!("cannot make `{}`", directory.display()))?;
    }
    let fed = if bring.archive { unpack(&half, from).await } else { replay(&half, from).await };
    let named = fed.and_then(|()| {
        // The next one is only what differs from it, so its content is on the disk before its name.
        volume::sync(Path::new(paths::POOL))?;
        durable::publish(&half, &whole).or_error(Kind::Node, || format!("cannot rename `{}`", half.display()))
    });
    if named.is_err() {
        let _ = sweep();
    }
    named
}

async fn replay(half: &Path, from: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Result<()> {
    let mut command = Command::new("btrfs");
    // Whatever the stream says, it is written below that directory only.
    command.args(["receive", "--quiet", "--chroot"]).arg(half);
    command.kill_on_drop(true).stdout(Stdio::null()).stderr(Stdio::piped());
    archive::feed("btrfs receive", command, from).await.map(drop)
}

async fn unpack(half: &Path, from: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Result<()> {
    let data = half.join("data");
    volume::create(&data)?;
    let number = volume::number(&data)?;
    archive::unpack(from, half).await?;
    // An archive may hold a link of this name.
    if fs::symlink_metadata(&data).is_ok_and(|meta| meta.is_dir()) && volume::number(&data)? == number {
        return volume::set_read_only(&data);
    }
    Err(Error::new(Kind::Node, "the received data is not a snapshot of lap"))
}

/// Removes one that came in part.
///
/// # Errors
/// btrfs refuses.
pub fn sweep() -> Result<()> {
    drop_received(&half())
}

/// What the name of a received snapshot ends with while it is removed.
const REMOVED: &str = ".removed";

fn renamed(directory: &Path, name: &str) -> Result<PathBuf> {
    let (from, to) = (directory.join(name), directory.join(format!("{name}{REMOVED}")));
    durable::publish(&from, &to).or_error(Kind::Node, || format!("cannot rename `{}`", from.display()))?;
    Ok(to)
}

fn drop_received(path: &Path) -> Result<()> {
    if path.join("data").exists() {
        remove::delete_all(&path.join("data"))?;
    }
    snapshot::remove_tree(path)
}

/// Scrubs a copy of what was received, and puts it in the place of the present.
pub fn run(by: &str, bring: &Bring, note: Box<dyn Fn(&str) + Send>) -> Result<Response> {
    let pool = path()?;
    let source = place(&bring.from, &bring.id).join("data");
    if !source.is_dir() {
        return Err(Error::new(Kind::Node, format!("{} of `{}` was not received", bring.id, bring.from)));
    }
    let step = |text: &str| {
        note(text);
        failpoint::at(text);
    };
    step("copy the received data");
    let at = now();
    let text = format!("{} of `{}`, scrubbed", bring.id, bring.from);
    let id = snapshot::free_id(pool, at);
    let order = Some(snapshot::order::next(pool, &id)?);
    let meta = Meta {
        id,
        at,
        reason: Reason::Brought,
        note: Some(text),
        by: by.to_owned(),
        current: None,
        pause: None,
        order,
        nested: list::Nested::default(),
    };
    let half = snapshot::begin(pool, &meta.id)?;
    let prepared = prepare(pool, &source, &half.join("data"), bring, &step).and_then(|()| {
        step("keep the scrubbed copy");
        volume::sync(pool)?;
        snapshot::finish(pool, &meta)
    });
    if let Err(error) = prepared {
        return Err(match lap_snapshots::half::drop_half(&half) {
            Ok(()) => error.hint("nothing was changed"),
            Err(also) => error.hint(format!("and then: {also}")),
        });
    }
    // Only the last is of use.
    let there = directory().join(&bring.from);
    for old in came(&bring.from)?.into_iter().filter(|name| *name != bring.id.to_string()) {
        // Where data is removed file by file, what is left after a kill is no base for a transfer: the name goes first.
        let old = if old.ends_with(REMOVED) { there.join(old) } else { renamed(&there, &old)? };
        drop_received(&old)?;
    }
    snapshots::restore(by, &meta.id.to_string(), RestorePart::All, note)
}

fn prepare(pool: &Path, source: &Path, copy: &Path, bring: &Bring, step: &dyn Fn(&str)) -> Result<()> {
    volume::copy(source, copy)?;
    let open = Dir::open(copy)?;
    for entry in open.list(&Walk::whole())? {
        let name = entry.text();
        // A container's data is a directory: nothing else that another environment sends is taken for it.
        if bring.scrub.contains_key(&name) && entry.kind() == FileType::Directory {
            continue;
        }
        // Of no container here, so nobody said how to scrub it; the node's own (`.images`) is each node's.
        step(&format!("remove `{}` from the copy", name.escape_debug()));
        open.remove(&entry.name)?;
    }
    let images = pool.join("data/.images");
    if images.exists() {
        snapshot::copy(&images, &copy.join(".images"))?;
    }
    let docker = Handle::current().block_on(docker::connect())?;
    for (name, (how, patience)) in &bring.scrub {
        scrub::one(&docker, name, how, *patience, copy, step)?;
    }
    volume::set_read_only(copy)
}
