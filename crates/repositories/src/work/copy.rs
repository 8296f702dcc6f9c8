//! Copies a snapshot of this node into a repository.

use std::{collections::BTreeSet, path::Path};

use lap_base::error::{Error, Kind, OrError, Result};
use lap_snapshots as snapshot;
use lap_snapshots::{Id, Order, half};
use rustic_core::{
    BackupOptions, CheckOptions, IndexedIds, PathList, RepairIndexOptions, SnapshotOptions,
    jiff::{Timestamp, tz::TimeZone},
    repofile::{IndexFile, SnapshotFile, SnapshotSummary},
};

use crate::{
    file::{Folder, RepositoryFile},
    open::{Repository, guarded},
    restore::job::PLACE,
    snapshots::{Position, tags},
    verify::damage,
    warnings,
};

/// The snapshot to copy, and the names for its tags.
#[derive(Clone, Copy, Debug)]
pub struct CopySource<'a> {
    pub pool: &'a Path,
    /// The id of a snapshot, or `latest`.
    pub id: &'a str,
    pub lab: &'a str,
    pub environment: &'a str,
    pub node: &'a str,
    /// The generation of the snapshot's line in this repository. `None` means that the copy is older than all copies
    /// with a generation.
    pub generation: Option<u64>,
    /// Whether a user asked for this snapshot by name.
    pub asked: bool,
}

/// The result of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyStats {
    pub id: Id,
    /// The size in bytes of the new data in the repository, compressed and encrypted.
    pub added: u64,
    /// The size of all files in bytes.
    pub size: u64,
}

/// Copies a snapshot, and checks that it can be read. Data that an earlier, killed copy sent is not sent again.
///
/// # Errors
/// A file cannot be read, or the repository cannot be written. Then the copy is not listed there.
pub fn copy(repository: Repository, source: &CopySource<'_>) -> Result<CopyStats> {
    let CopySource { pool, id, lab, environment, node, generation, asked } = source;
    let meta = snapshot::find(pool, id)?;
    let _held = half::hold(pool, &meta.id)?;
    let place = |order: &Order| {
        let generation = (*generation)?;
        Some(Position { generation, count: order.count, line: order.line.clone() })
    };
    let place = meta.order.as_ref().and_then(place);
    adopt(&repository)?;
    let Repository { name, inner, .. } = repository;
    let name = name.as_str();
    let inner = guarded(name, || inner.to_indexed_ids())?;
    let snapshot = guarded(name, || {
        let mut options = SnapshotOptions::default();
        for tag in tags(lab, environment, &meta.id, place.as_ref(), *asked) {
            options = options.add_tags(&tag)?;
        }
        options.host = Some((*node).to_owned());
        options.time = Timestamp::from_second(meta.at).ok().map(|at| at.to_zoned(TimeZone::UTC));
        options.command = Some(format!("lap snapshot copy {environment}"));
        options.to_snapshot()
    })?;
    let directory = snapshot::stage(pool, &meta.id, std::process::id())?;
    let copied = send(name, &inner, &directory, snapshot);
    let unstaged = snapshot::unstage(pool, std::process::id());
    let summary = copied?;
    unstaged?;
    Ok(CopyStats { id: meta.id, added: summary.data_added_packed, size: summary.total_bytes_processed })
}

/// Sends a directory that does not change, and checks that all of its data has arrived.
fn send(
    name: &str,
    inner: &rustic_core::Repository<impl IndexedIds>,
    directory: &Path,
    snapshot: SnapshotFile,
) -> Result<SnapshotSummary> {
    let written = guarded(name, || {
        let mut options = BackupOptions::default();
        options.as_path = Some(PLACE.into());
        options.no_scan = true;
        let path = PathList::from_iter([directory.to_string_lossy().into_owned()]);
        inner.backup(&options, &path, snapshot)
    })?;
    warnings::clean()?;
    let checked = guarded(name, || inner.check_with_trees(CheckOptions::default(), vec![written.tree]))?;
    if let Some(first) = damage(checked).first() {
        return Err(Error::new(Kind::Node, format!("cannot verify the copy in `{name}`: {first}")));
    }
    Ok(written.summary.unwrap_or_default())
}

/// Adds the packs of a killed copy to the index. They are complete, but no index names them.
fn adopt(repository: &Repository) -> Result<()> {
    let name = &repository.name;
    let files = repository.storage.list(Folder::Data).or_error(Kind::Node, || format!("cannot read `{name}`"))?;
    let there: BTreeSet<RepositoryFile> = files.into_iter().map(|(file, _)| file).collect();
    let known: BTreeSet<RepositoryFile> = guarded(name, || {
        let mut known = BTreeSet::new();
        for index in repository.inner.stream_files::<IndexFile>()? {
            let (_, index) = index?;
            let packs = index.packs.iter().chain(&index.packs_to_delete);
            known.extend(packs.filter_map(|pack| RepositoryFile::new(Folder::Data, pack.id.to_hex().as_str())));
        }
        Ok(known)
    })?;
    if let Some(missing) = known.difference(&there).next() {
        let message = format!("`{name}` is damaged: `{missing}` is missing");
        return Err(Error::new(Kind::Node, message)
            .hint("`lap snapshot verify` lists all damage")
            .hint("run `restic rebuild-index` to drop lost data from the index; the next copy then sends the data that still exists"));
    }
    if there.is_subset(&known) {
        return Ok(());
    }
    guarded(name, || repository.inner.repair_index(&RepairIndexOptions::default(), false))
        .or_error(Kind::Node, || "cannot continue an earlier copy".into())?;
    // An unreadable pack that no index names does no harm.
    warnings::listen();
    Ok(())
}
