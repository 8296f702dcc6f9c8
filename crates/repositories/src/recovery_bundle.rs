//! The recovery bundle: files that the operator's machine itself adds to the repository, so that a repository and its
//! passphrase are enough for a recovery. It consists of the sealed keys (tag `lap-keys`) and the workspace with its git
//! data (tag `lap-workspace`).

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use lap_base::error::{Error, Kind, OrError, Result};
use rustic_core::{
    BackupOptions, IndexedFull, OpenStatus, PathList, SnapshotOptions, jiff::Timestamp, repofile::SnapshotFile,
};

use super::{
    open::{OnProgress, Repository, guarded},
    restore::{
        here_served,
        job::{RestoreJob, RestoreKind},
    },
    snapshots::label,
    warnings,
};

const KEYS: &str = "lap-keys";
const WORKSPACE: &str = "lap-workspace";
/// The tags of the two parts.
pub(super) const TAGS: [&str; 2] = [KEYS, WORKSPACE];

/// The tag with the number that shows which bundle is the newest one, because a clock may be wrong.
const COUNT: &str = "lap-count:";

/// The limit for numbers, so that there is always a next one. A larger number is not accepted.
const MOST_COUNTED: u64 = 1 << 53;

/// The maximum size in bytes of a file with sealed keys. Real ones are much smaller.
const MAX_KEYS_SIZE: usize = 64 << 20;
/// The files that are not stored: keys and caches; git's settings, which may contain passwords; and git's hooks, which
/// could run on the machine of the recovery.
const EXCLUDED: [&str; 3] = ["!**/.lap", "!**/.git/config", "!**/.git/hooks"];
/// The minimal settings that git needs.
const GIT_CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n";

/// The encrypted keys of the lab.
pub struct SealedKeys<'a> {
    /// An age identity file, encrypted with the passphrase.
    pub identity: &'a [u8],
    /// The keys, encrypted for this identity.
    pub keys: &'a [u8],
    /// A digest that changes when the keys change.
    pub digest: &'a str,
}

impl Repository {
    /// Stores the sealed keys, unless the newest ones are the same.
    ///
    /// # Errors
    /// The repository cannot be written.
    pub fn keep_keys(&self, lab: &str, sealed: &SealedKeys<'_>) -> Result<()> {
        let digest = format!("lap-digest:{}", sealed.digest);
        let identity = format!("lap-identity:{}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(sealed.identity)));
        let newest = self.newest(KEYS)?;
        if newest.is_some_and(|file| file.tags.contains(&digest) && file.tags.contains(&identity)) {
            return Ok(());
        }
        let what = || "cannot write the keys for the repository".to_owned();
        let staging = tempfile::tempdir().or_error(Kind::Host, what)?;
        fs::write(staging.path().join("identity.age"), sealed.identity).or_error(Kind::Host, what)?;
        fs::write(staging.path().join("keys.age"), sealed.keys).or_error(Kind::Host, what)?;
        self.keep(staging.path(), KEYS, lab, &[digest, identity], BackupOptions::default())
    }

    /// Stores the workspace at `root`: all files that git does not ignore, and git's own data.
    ///
    /// # Errors
    /// A file cannot be read, or the repository cannot be written.
    pub fn keep_workspace(&self, lab: &str, root: &Path) -> Result<()> {
        let mut options = BackupOptions::default();
        options.ignore_filter_opts.git_ignore = true;
        options.ignore_filter_opts.no_require_git = true;
        options.excludes.globs = EXCLUDED.map(str::to_owned).to_vec();
        options.parent_opts.skip_if_unchanged = true;
        self.keep(root, WORKSPACE, lab, &[], options)
    }

    fn keep(&self, root: &Path, tag: &str, lab: &str, tags: &[String], mut options: BackupOptions) -> Result<()> {
        let name = self.name.as_str();
        warnings::listen();
        let again = self.again(true)?;
        let inner = guarded(name, || again.to_indexed_ids())?;
        let newest = self.newest(tag)?;
        let next = newest.as_ref().map_or(0, |file| position(file).0) + 1;
        // The library would compare with the one that has the latest date.
        options.parent_opts.parents = newest.iter().map(|file| file.id.to_hex().as_str().to_owned()).collect();
        let snapshot = guarded(name, || {
            let mut options = SnapshotOptions::default();
            for tag in ["lap", tag, &format!("lap-lab:{lab}"), &format!("{COUNT}{next}")]
                .into_iter()
                .chain(tags.iter().map(String::as_str))
            {
                options = options.add_tags(tag)?;
            }
            options.host = Some(lab.to_owned());
            options.command = Some("lap snapshot copy".into());
            options.to_snapshot()
        })?;
        options.as_path = Some(format!("/{tag}").into());
        let path = PathList::from_iter([root.to_string_lossy().into_owned()]);
        guarded(name, || inner.backup(&options, &path, snapshot))?;
        warnings::clean()
    }

    /// Returns the name of the lab that this repository belongs to.
    ///
    /// # Errors
    /// The repository has no keys or no workspace, so a recovery is impossible.
    pub fn recoverable(&self) -> Result<String> {
        for (tag, what) in [(KEYS, "keys"), (WORKSPACE, "workspace")] {
            if self.newest(tag)?.is_none() {
                return Err(Error::new(
                    Kind::Refused,
                    format!("`{}` contains no {what}: a recovery needs it", self.name),
                )
                .hint("run `lap repository init` and `lap snapshot copy` in an existing workspace to store it"));
            }
        }
        // The name becomes the name of a directory, so `label` checks it.
        let lab = self.newest(WORKSPACE)?.and_then(|file| label(&file, "lap-lab:"));
        lab.ok_or_else(|| Error::new(Kind::Refused, format!("`{}` does not name its lab", self.name)))
    }

    /// Returns the identity and the sealed keys.
    ///
    /// # Errors
    /// A file is damaged, or is not a regular file.
    pub fn sealed_keys(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let name = self.name.as_str();
        let newest = self.newest_of(KEYS)?;
        let again = self.again(false)?;
        let tree = guarded(name, || again.to_indexed())?;
        let read = |file: &str| read(name, &tree, &newest, &format!("/{KEYS}/{file}"));
        Ok((read("identity.age")?, read("keys.age")?))
    }

    /// Restores the workspace into an empty directory. A child process that can write nowhere else does it.
    ///
    /// # Errors
    /// The workspace is damaged or forged, or the directory cannot be written.
    pub fn workspace(&self, into: &Path) -> Result<()> {
        self.workspace_by(into, |job| here_served(&job, self.storage.clone(), into))
    }

    /// Restores the workspace with the function `restore`.
    pub(super) fn workspace_by(&self, into: &Path, restore: impl FnOnce(RestoreJob) -> Result<()>) -> Result<()> {
        let restic = self.newest_of(WORKSPACE)?.id.to_hex().as_str().to_owned();
        restore(RestoreJob { what: RestoreKind::Workspace, restic, repository: self.name.clone(), key: self.key()? })?;
        let git = into.join(".git");
        if !fs::symlink_metadata(&git).is_ok_and(|meta| meta.is_dir()) {
            return Ok(());
        }
        // git's settings are never restored, so the file must be new.
        let config = git.join("config");
        let made = OpenOptions::new().write(true).create_new(true).open(&config);
        made.and_then(|mut file| file.write_all(GIT_CONFIG.as_bytes()))
            .or_error(Kind::Host, || format!("cannot write `{}`", config.display()))
    }

    /// Opens the repository again, because rustic_core consumes it with each index.
    fn again(&self, strict: bool) -> Result<rustic_core::Repository<OpenStatus>> {
        let tell: OnProgress = Arc::new(|_: &str| {});
        Ok(Self::open_with(self.storage.clone(), &self.name, &self.key()?, strict, tell)?.inner)
    }

    fn newest(&self, tag: &str) -> Result<Option<SnapshotFile>> {
        let mut files = guarded(&self.name, || self.inner.get_all_snapshots())?;
        files.retain(|file| file.tags.contains(tag));
        Ok(files.into_iter().max_by_key(position))
    }

    fn newest_of(&self, tag: &str) -> Result<SnapshotFile> {
        let name = &self.name;
        self.newest(tag)?.ok_or_else(|| Error::new(Kind::Refused, format!("`{name}` has no `{tag}`")))
    }
}

/// Returns the sort key of a bundle. Bundles without a number, from an earlier version, are older than all others, and
/// are sorted by date.
pub(super) fn position(file: &SnapshotFile) -> (u64, Timestamp) {
    let count = file.tags.iter().find_map(|tag| tag.strip_prefix(COUNT)?.parse().ok()).filter(|n| *n < MOST_COUNTED);
    (count.unwrap_or(0), file.time.timestamp())
}

/// Reads a file of a snapshot into memory.
fn read(
    name: &str,
    tree: &rustic_core::Repository<impl IndexedFull>,
    snapshot: &SnapshotFile,
    path: &str,
) -> Result<Vec<u8>> {
    let node = guarded(name, || tree.node_from_snapshot_and_path(snapshot, path))?;
    if !node.is_file() {
        return Err(Error::new(Kind::Refused, format!("`{path}` of `{name}` is not a file")));
    }
    let mut content = Limited(Vec::new());
    guarded(name, || tree.dump(&node, &mut content))?;
    Ok(content.0)
}

/// A buffer with a maximum size.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_KEYS_SIZE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
