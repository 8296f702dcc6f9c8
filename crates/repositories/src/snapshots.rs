//! The snapshots of labs in a repository.

use lap_base::{
    error::{Error, Kind, Result},
    label::is_label,
};
use lap_snapshots::{Id, Meta, Order};
use rustic_core::repofile::SnapshotFile;
use serde::Serialize;

use super::{
    lock::RepositoryLock,
    open::{Repository, guarded},
};

/// A copy of a snapshot in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    pub id: Id,
    pub lab: String,
    pub environment: String,
    /// The time of the snapshot in Unix seconds, by the clock of its node. It is for people only.
    pub at: i64,
    /// The position of the copy among the environment's copies, or `None` if an earlier version made it.
    pub order: Option<Position>,
    /// The full id in restic.
    pub restic: String,
    /// The size of all files in bytes.
    pub size: Option<u64>,
    /// Whether a user asked for this copy by name.
    pub asked: bool,
    /// Whether it is in a repository that all environments share. Then only its tag shows the environment, and every
    /// node that copied there could write any tag.
    pub shared: bool,
}

/// The position of a copy among an environment's copies in one repository. A new node counts in a new line, and the
/// first copy of a line gets the next generation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    pub generation: u64,
    pub count: u64,
    pub line: String,
}

/// The limit for numbers, so that there is always a next one. A larger number is not accepted.
const MOST: u64 = 1 << 53;

impl Position {
    /// Returns the generation of a snapshot with `order` among these copies. Returns `None` if the snapshot has no
    /// position, because it came from another repository and no copy of its line is here.
    pub fn generation(order: &Order, copies: &[Copy]) -> Option<u64> {
        let places = || copies.iter().filter_map(|copy| copy.order.as_ref());
        if let Some(same) = places().find(|place| place.line == order.line) {
            return Some(same.generation);
        }
        // A snapshot from another repository is not newer than the copies that its node, or a later one, made here.
        let newest = places().map(|place| place.generation).max().unwrap_or(0);
        order.generation.is_none().then_some(newest + 1)
    }

    /// Whether the copy of this snapshot is newer than all these copies.
    pub fn is_newest(meta: &Meta, copies: &[Copy]) -> bool {
        if copies.iter().any(|copy| copy.id == meta.id) {
            return false;
        }
        let Some(order) = &meta.order else {
            // An earlier version took it.
            return copies.iter().all(|copy| copy.order.is_none() && copy.at < meta.at);
        };
        let Some(generation) = Self::generation(order, copies) else { return copies.is_empty() };
        let position = Self { generation, count: order.count, line: order.line.clone() };
        copies.iter().all(|copy| copy.order.as_ref() < Some(&position))
    }

    fn tag(&self) -> String {
        format!("{ORDER}{}.{}.{}", self.generation, self.count, self.line)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let mut number = || parts.next()?.parse().ok().filter(|number| *number < MOST);
        let (generation, count) = (number()?, number()?);
        let line = parts.next().filter(|line| is_label(line))?.to_owned();
        Some(Self { generation, count, line })
    }
}

const ORDER: &str = "lap-order:";

/// The tag of a copy that a user asked for by name.
const ASKED: &str = "lap-asked";

/// Returns the tags by which a copy is found again.
pub(super) fn tags(lab: &str, environment: &str, id: &Id, order: Option<&Position>, asked: bool) -> Vec<String> {
    let mut tags = vec!["lap".into(), format!("lap:{environment}"), format!("lap-id:{id}"), format!("lap-lab:{lab}")];
    tags.extend(order.map(Position::tag));
    tags.extend(asked.then(|| ASKED.to_owned()));
    tags
}

/// Returns the name in a tag, or `None` if there is no such tag or no valid name in it. A name becomes part of paths
/// and of output, and a node can write any tag.
pub(super) fn label(file: &SnapshotFile, prefix: &str) -> Option<String> {
    file.tags.iter().find_map(|tag| tag.strip_prefix(prefix)).filter(|name| is_label(name)).map(str::to_owned)
}

fn read(file: &SnapshotFile) -> Option<Copy> {
    let tag = |prefix: &str| file.tags.iter().find_map(|tag| tag.strip_prefix(prefix));
    Some(Copy {
        id: tag("lap-id:")?.parse().ok()?,
        lab: label(file, "lap-lab:")?,
        environment: label(file, "lap:")?,
        at: file.time.timestamp().as_second(),
        order: tag(ORDER).and_then(Position::parse),
        restic: file.id.to_hex().as_str().to_owned(),
        size: file.summary.as_ref().map(|summary| summary.total_bytes_processed),
        asked: file.tags.contains(ASKED),
        shared: false,
    })
}

impl Repository {
    /// Returns all copies of labs, the oldest first.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn copies(&self) -> Result<Vec<Copy>> {
        let files = guarded(&self.name, || self.inner.get_all_snapshots())?;
        let mut all: Vec<Copy> = files.iter().filter_map(read).collect();
        all.sort_by(|a, b| (&a.order, a.at, &a.id, !a.asked).cmp(&(&b.order, b.at, &b.id, !b.asked)));
        // A killed [`Self::ask_for`] leaves two files for one copy.
        all.dedup_by(|a, b| (&a.lab, &a.environment, &a.id) == (&b.lab, &b.environment, &b.id));
        Ok(all)
    }

    /// Marks a copy as one that a user asked for by name. `_lock` must be an exclusive lock of this repository.
    ///
    /// # Errors
    /// The copy no longer exists, or its new description cannot be written. In the second case nothing changes.
    pub fn ask_for(&self, copy: &Copy, _lock: &RepositoryLock) -> Result<()> {
        let files: Vec<SnapshotFile> = guarded(&self.name, || self.inner.get_all_snapshots())?;
        let Some(mut file) = files.into_iter().find(|file| file.id.to_hex().as_str() == copy.restic) else {
            return Err(Error::new(Kind::Locked, format!("the copy {} in `{}` no longer exists", copy.id, self.name))
                .hint("run the same command to copy it again"));
        };
        let old = file.id;
        file.tags.add(ASKED.to_owned());
        // As in restic, the new file refers to the original one.
        file.original.get_or_insert(old);
        // The new file is written before the old one is removed, so a kill loses neither.
        guarded(&self.name, || self.inner.save_snapshots(vec![file]))?;
        guarded(&self.name, || self.inner.delete_snapshots(&[old]))
    }

    /// Returns the copies of one environment, the oldest first.
    ///
    /// # Errors
    /// The repository cannot be read, or has copies of other labs only.
    pub fn copies_of(&self, lab: &str, environment: &str) -> Result<Vec<Copy>> {
        let all = self.copies()?;
        if let Some(other) = all.first().filter(|_| all.iter().all(|copy| copy.lab != lab)) {
            let message = format!("`{}` is the repository of another lab, `{}`", self.name, other.lab);
            return Err(Error::new(Kind::Refused, message).hint("each lab needs repositories of its own"));
        }
        Ok(all.into_iter().filter(|copy| copy.lab == lab && copy.environment == environment).collect())
    }
}
