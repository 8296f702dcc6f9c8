//! What lap changed on this machine, kept until it is taken back: `/var/lib/lap-install/resolver/<lab>.json`, 0600, since
//! `daemon.json` may hold a proxy's password.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use lap_base::{Error, Kind, OrError, Result};
use serde::{Deserialize, Serialize};

use super::{
    block::{self, Cut},
    daemon,
    file::{self, Content},
    tree::inside,
};

/// Where records are.
pub const DIRECTORY: &str = "/var/lib/lap-install/resolver";
/// What this lap writes, and the highest it reads. Keys may be added without a new number; they are passed over.
const FORMAT: u32 = 1;

/// What one lab changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverRecord {
    pub format: u32,
    pub lab: String,
    pub zone: String,
    /// Who was asked to read its files anew, for people.
    pub manager: String,
    /// Not all is done: files may be written or not, and nobody may have read them.
    pub pending: bool,
    pub files: Vec<Kept>,
    /// Directories that were not there before.
    #[serde(default)]
    pub made: Vec<PathBuf>,
    /// The commands, each its words, that make the files count.
    #[serde(default)]
    pub reload: Vec<Vec<String>>,
}

/// One file that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Links followed, as seen from the machine's root directory.
    pub path: PathBuf,
    /// What was there; `None`: nothing.
    pub before: Option<Content>,
    /// What lap wrote; more than one while a change of it is under way.
    pub written: Vec<Content>,
    pub part: OwnedPart,
}

/// What of a file is ours, should somebody else have changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnedPart {
    /// The lines between our comments.
    Block,
    /// The key `dns` of a JSON object, with this list; `was`: its value's text before.
    Dns { list: Vec<String>, was: Option<String> },
}

impl ResolverRecord {
    /// An empty one.
    pub fn new(lab: &str, zone: &str, manager: &str) -> Self {
        let (lab, zone, manager) = (lab.to_owned(), zone.to_owned(), manager.to_owned());
        Self { format: FORMAT, lab, zone, manager, pending: true, files: vec![], made: vec![], reload: vec![] }
    }

    /// Where it lies.
    pub fn path(lab: &str) -> PathBuf {
        Path::new(DIRECTORY).join(format!("{lab}.json"))
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Kind::Refused`]: another lap wrote it, in a way this one cannot read.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let newer = serde_json::from_slice::<Format>(bytes).is_ok_and(|f| f.format > FORMAT);
        if newer {
            return Err(Error::new(Kind::Refused, format!("`{}` was written by a newer lap", path.display()))
                .hint("run `lap dns install --undo` with the newer lap, or use it from now on"));
        }
        serde_json::from_slice(bytes)
            .or_error(Kind::Refused, || format!("`{}` is not a record of lap", path.display()))
            .map_err(|e| {
                e.hint("it contains the former state of files; remove lap's lines from these files by hand, then move it away")
            })
    }

    /// Writes it, durably, before anything that it tells of is done.
    pub fn save(&self, root: &Path) -> Result<()> {
        let path = inside(root, &Self::path(&self.lab));
        let dir = inside(root, Path::new(DIRECTORY));
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&dir);
        made.or_error(Kind::Host, || format!("cannot make directory `{}`", dir.display()))?;
        let bytes = serde_json::to_vec_pretty(self).or_error(Kind::Other, || "the record".into())?;
        let owner = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        file::write(&path, &Content { bytes, mode: 0o600, uid: owner.0, gid: owner.1 })
    }

    /// Whether a [`Self::save`] was killed here before the record had its name.
    pub fn left_over(root: &Path, lab: &str) -> bool {
        let empty = |dir| fs::read_dir(inside(root, dir)).is_ok_and(|mut entries| entries.next().is_none());
        file::beside(&inside(root, &Self::path(lab))).exists() || Path::new(DIRECTORY).ancestors().take(2).any(empty)
    }

    /// Removes it, and its directories when they are empty.
    pub fn forget(root: &Path, lab: &str) -> Result<()> {
        file::sweep(&inside(root, &Self::path(lab)));
        file::remove(&inside(root, &Self::path(lab)))?;
        for dir in Path::new(DIRECTORY).ancestors().take(2) {
            match fs::remove_dir(inside(root, dir)) {
                Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => break,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Kept {
    /// What the file would be without us, from what it is now. `pending`: we may have been killed while we wrote it.
    ///
    /// # Errors
    /// [`Kind::Refused`]: somebody changed it so that our part cannot be told from theirs.
    pub fn without(&self, lab: &str, pending: bool, now: Option<&Content>) -> Result<Option<Content>> {
        // Who removed the file removed our part with it.
        let Some(now) = now else { return Ok(None) };
        // The same bytes, and the mode that somebody else may have given them since.
        let was = || self.before.as_ref().map(|before| now.with(before.bytes.clone()));
        if self.before.as_ref().is_some_and(|before| before.bytes == now.bytes) {
            return Ok(Some(now.clone()));
        }
        // A beginning of what we wrote, or wrote back: that is how far writing in place came.
        let torn = |other: &Content| pending && other.bytes.starts_with(&now.bytes);
        let ours = self.written.iter().any(|written| written.bytes == now.bytes);
        if ours || self.written.iter().chain(&self.before).any(torn) {
            return Ok(was());
        }
        match &self.part {
            OwnedPart::Block => match block::cut(&now.bytes, lab) {
                Cut::None => Ok(Some(now.clone())),
                Cut::Clean { part, rest } if self.wrote(lab, &part) => {
                    let nothing = self.before.is_none() && rest.trim_ascii().is_empty();
                    Ok((!nothing).then(|| now.with(rest)))
                }
                Cut::Clean { .. } | Cut::Unclear => {
                    Err(self.changed(&format!("remove the lines from `lap {lab}: begin` to `lap {lab}: end` by hand")))
                }
            },
            OwnedPart::Dns { list, was } => {
                let text = now.text();
                match daemon::read(&text) {
                    Ok(None) => Ok(Some(now.clone())),
                    Ok(Some(dns)) if dns.list == *list => {
                        let left = daemon::set(&text, was.as_deref());
                        let nothing = self.before.is_none() && daemon::is_empty(&left);
                        Ok((!nothing).then(|| now.with(left)))
                    }
                    Ok(Some(dns)) if !dns.list.iter().any(|server| list.contains(server)) => Ok(Some(now.clone())),
                    Ok(Some(_)) => Err(self.changed(&match was {
                        Some(was) => format!("set `dns` to `{was}` or to the right value by hand"),
                        None => "remove the key `dns` by hand, or set it to other servers".into(),
                    })),
                    Err(why) => Err(self.changed(&format!("{why}; correct it"))),
                }
            }
        }
    }

    fn wrote(&self, lab: &str, part: &[u8]) -> bool {
        self.written.iter().any(|w| matches!(block::cut(&w.bytes, lab), Cut::Clean { part: ours, .. } if ours == part))
    }

    fn changed(&self, what: &str) -> Error {
        let message = format!("lap's part of `{}` was changed", self.path.display());
        Error::new(Kind::Refused, message).hint(format!("{what}, then run the same command again; nothing was changed"))
    }
}
