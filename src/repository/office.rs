//! What the operator's machine itself puts beside the snapshots, so that a repository and its passphrase are enough to begin
//! again: the keys, sealed (tag `lap-keys`), and the workspace with its git data (tag `lap-workspace`).

use std::{fs, path::Path, sync::Arc};

use rustic_core::{
    BackupOptions, LocalDestination, LsOptions, OpenStatus, PathList, RestoreOptions, SnapshotOptions,
    repofile::{Node, SnapshotFile},
};

use super::{Repository, Tell, open::guarded, warnings};
use crate::{
    error::{Error, Kind, OrError, Result},
    keys::recovery::Sealed,
};

const KEYS: &str = "lap-keys";
const WORKSPACE: &str = "lap-workspace";
/// The tags of both.
pub(super) const TAGS: [&str; 2] = [KEYS, WORKSPACE];
/// What stays here: keys and caches; of git, addresses with passwords in them, and programs that would run there.
const NOT_OURS: [&str; 3] = ["!**/.lap", "!**/.git/config", "!**/.git/hooks"];
/// The least git needs of it.
const GIT_CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n";

impl Repository {
    /// Puts the sealed keys into it, unless the same ones are there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_keys(&self, lab: &str, sealed: &Sealed) -> Result<()> {
        let digest = format!("lap-digest:{}", sealed.digest);
        let identity =
            format!("lap-identity:{}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&sealed.identity)));
        let newest = self.newest(KEYS)?;
        if newest.is_some_and(|file| file.tags.contains(&digest) && file.tags.contains(&identity)) {
            return Ok(());
        }
        let what = || "cannot write the keys for the repository".to_owned();
        let staging = tempfile::tempdir().or_error(Kind::Host, what)?;
        fs::write(staging.path().join("identity.age"), &sealed.identity).or_error(Kind::Host, what)?;
        fs::write(staging.path().join("keys.age"), &sealed.keys).or_error(Kind::Host, what)?;
        self.keep(staging.path(), KEYS, lab, &[digest, identity], BackupOptions::default())
    }

    /// Puts the workspace at `root` into it: all that git does not ignore, and git's own data.
    ///
    /// # Errors
    /// A file cannot be read, or the repository not written.
    pub fn keep_workspace(&self, lab: &str, root: &Path) -> Result<()> {
        let mut options = BackupOptions::default();
        options.ignore_filter_opts.git_ignore = true;
        options.ignore_filter_opts.no_require_git = true;
        options.excludes.globs = NOT_OURS.map(str::to_owned).to_vec();
        options.parent_opts.skip_if_unchanged = true;
        self.keep(root, WORKSPACE, lab, &[], options)
    }

    fn keep(&self, root: &Path, tag: &str, lab: &str, tags: &[String], mut options: BackupOptions) -> Result<()> {
        let name = self.name.as_str();
        warnings::listen();
        let again = self.again(true)?;
        let inner = guarded(name, || again.to_indexed_ids())?;
        let snapshot = guarded(name, || {
            let mut options = SnapshotOptions::default();
            for tag in ["lap", tag, &format!("lap-lab:{lab}")].into_iter().chain(tags.iter().map(String::as_str)) {
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

    /// The lab whose repository this is.
    ///
    /// # Errors
    /// It has no keys or no workspace, so that nothing can be recovered from it.
    pub fn recoverable(&self) -> Result<String> {
        for (tag, what) in [(KEYS, "keys"), (WORKSPACE, "workspace")] {
            if self.newest(tag)?.is_none() {
                return Err(Error::new(
                    Kind::Refused,
                    format!("`{}` has no {what} in it: nothing can be made from it alone", self.name),
                )
                .hint("`lap repository init` and `lap snapshot copy` of a workspace that is still there put it in"));
            }
        }
        let lab = self
            .newest(WORKSPACE)?
            .and_then(|file| file.tags.iter().find_map(|tag| tag.strip_prefix("lap-lab:").map(str::to_owned)));
        lab.ok_or_else(|| Error::new(Kind::Refused, format!("`{}` does not say whose it is", self.name)))
    }

    /// The identity and the sealed keys.
    ///
    /// # Errors
    /// They are damaged.
    pub fn sealed_keys(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let what = || "cannot read the keys of the repository".to_owned();
        let staging = tempfile::tempdir().or_error(Kind::Host, what)?;
        self.take_out(KEYS, staging.path())?;
        let read = |file: &str| fs::read(staging.path().join(file)).or_error(Kind::Host, what);
        Ok((read("identity.age")?, read("keys.age")?))
    }

    /// The workspace, into a directory that is there.
    ///
    /// # Errors
    /// It is damaged, or the directory cannot be written.
    pub fn workspace(&self, into: &Path) -> Result<()> {
        self.take_out(WORKSPACE, into)?;
        let git = into.join(".git");
        let config = git.join("config");
        if git.is_dir() && !config.exists() {
            fs::write(&config, GIT_CONFIG).or_error(Kind::Host, || format!("cannot write `{}`", config.display()))?;
        }
        Ok(())
    }

    /// The library uses one up with each index it reads.
    fn again(&self, strict: bool) -> Result<rustic_core::Repository<OpenStatus>> {
        let tell: Tell = Arc::new(|_: &str| {});
        Ok(Self::open_with(self.storage.clone(), &self.name, &self.key()?, strict, tell)?.inner)
    }

    fn newest(&self, tag: &str) -> Result<Option<SnapshotFile>> {
        let mut files = guarded(&self.name, || self.inner.get_all_snapshots())?;
        files.retain(|file| file.tags.contains(tag));
        Ok(files.into_iter().max_by_key(|file| file.time.timestamp()))
    }

    fn take_out(&self, tag: &str, into: &Path) -> Result<()> {
        let name = self.name.as_str();
        let newest = self.newest(tag)?;
        let newest = newest.ok_or_else(|| Error::new(Kind::Refused, format!("`{name}` has no `{tag}`")))?;
        warnings::listen();
        let again = self.again(false)?;
        let tree = guarded(name, || again.to_indexed())?;
        let mut options = RestoreOptions::default();
        options.delete = true;
        // Whoever recovers is the owner.
        options.no_ownership = true;
        let target = into.to_str().ok_or_else(|| Error::new(Kind::Other, "a path is not UTF-8"))?;
        guarded(name, || {
            let node: Node =
                tree.node_from_snapshot_path(&format!("{}:/{tag}", newest.id.to_hex().as_str()), |_| true)?;
            let all = tree.ls(&node, &LsOptions::default())?;
            let destination = LocalDestination::new(target, true, false)?;
            let plan = tree.prepare_restore(&options, all.clone(), &destination, false)?;
            tree.restore(plan, &options, all, &destination)
        })?;
        warnings::clean()
    }
}
