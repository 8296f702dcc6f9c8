//! Build contexts: the files of a container's directory, what they hash to, and the tar that Docker gets.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ignore::gitignore::GitignoreBuilder;
use lap_base::error::{Error, Kind, OrError, Result};
use sha2::{Digest, Sha256};

/// lap's own files in a container's directory: they do not go into the image.
const OWN: [&str; 2] = ["container.toml", CHECKS];
const CHECKS: &str = "checks";

/// The files of one directory.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// In the order of their paths.
    files: Vec<ContextFile>,
}

#[derive(Clone, Debug)]
struct ContextFile {
    /// Below the directory.
    name: String,
    path: PathBuf,
    /// Only the executable bit counts: git keeps no other.
    mode: u32,
    /// sha256 of the content, or of a link's target.
    hash: String,
    link: Option<PathBuf>,
}

impl ContextFile {
    fn read(path: &Path, name: String, metadata: &fs::Metadata) -> Result<Self> {
        let link = metadata.is_symlink().then(|| fs::read_link(path)).transpose();
        let link = link.or_error(Kind::Config, || format!("cannot read `{}`", path.display()))?;
        let hash = match &link {
            Some(target) => hex::encode(Sha256::digest(target.as_os_str().as_encoded_bytes())),
            None => hash_file(path)?,
        };
        let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        Ok(Self { name, path: path.to_path_buf(), mode, hash, link })
    }
}

impl Context {
    /// Reads a container's directory; `.dockerignore` leaves files out.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(dir: &Path) -> Result<Self> {
        let ignore_file = dir.join(".dockerignore");
        let mut builder = GitignoreBuilder::new(dir);
        if ignore_file.exists()
            && let Some(error) = builder.add(&ignore_file)
        {
            return Err(error).or_error(Kind::Config, || format!("cannot read `{}`", ignore_file.display()));
        }
        let ignored = builder.build().or_error(Kind::Config, || format!("cannot read `{}`", ignore_file.display()))?;
        let mut files = Vec::new();
        walk(dir, dir, &mut |path, name, metadata| {
            let own = OWN.iter().any(|own| name == *own || name.starts_with(&format!("{own}/")));
            if own || ignored.matched_path_or_any_parents(path, false).is_ignore() {
                return Ok(());
            }
            files.push(ContextFile::read(path, name.to_owned(), metadata)?);
            Ok(())
        })?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { files })
    }

    /// Reads the `checks` of these directories in `root`, as `<directory>/<file>`.
    ///
    /// # Errors
    /// A file cannot be read, or is a link: it could lead to another file on a node.
    pub fn checks<'a>(root: &Path, directories: impl Iterator<Item = &'a String>) -> Result<Self> {
        let mut files = Vec::new();
        for directory in directories {
            let dir = root.join(directory).join(CHECKS);
            if !dir.is_dir() {
                continue;
            }
            walk(&dir, &dir, &mut |path, name, metadata| {
                if metadata.is_symlink() {
                    let message = format!("`{}` is a link: replace it by a file", path.display());
                    return Err(Error::new(Kind::Config, message));
                }
                files.push(ContextFile::read(path, format!("{directory}/{name}"), metadata)?);
                Ok(())
            })?;
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { files })
    }

    /// There is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// (path, mode, sha256) of every file: what a build's identity is made of.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.files.iter().map(|file| (file.name.as_str(), file.mode, file.hash.as_str()))
    }

    /// sha256 over all of it.
    pub fn digest(&self) -> String {
        let text = serde_json::to_string(&self.inputs().collect::<Vec<_>>()).unwrap_or_default();
        hex::encode(Sha256::digest(text.as_bytes()))
    }

    /// Writes the context as a tar, always the same for the same files (owner, times and order are fixed), so that
    /// Docker's own build cache works; `more` are files that lap adds: (name, mode, path).
    ///
    /// # Errors
    /// A file cannot be read (any more), or the writer fails.
    pub fn write_tar<W: std::io::Write>(&self, out: W, more: &[(&str, u32, &Path)]) -> Result<W> {
        let mut tar = tar::Builder::new(out);
        for file in &self.files {
            let what = || format!("cannot pack `{}`", file.path.display());
            let mut header = tar::Header::new_gnu();
            header.set_mode(file.mode);
            if let Some(target) = &file.link {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, &file.name, target).or_error(Kind::Config, what)?;
            } else {
                append(&mut tar, header, &file.name, &file.path).or_error(Kind::Config, what)?;
            }
        }
        for (name, mode, path) in more {
            let mut header = tar::Header::new_gnu();
            header.set_mode(*mode);
            append(&mut tar, header, name, path)
                .or_error(Kind::Host, || format!("cannot pack `{}`", path.display()))?;
        }
        tar.into_inner().or_error(Kind::Other, || "cannot pack a build context".into())
    }
}

fn append<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    mut header: tar::Header,
    name: &str,
    path: &Path,
) -> std::io::Result<()> {
    let file = File::open(path)?;
    header.set_size(file.metadata()?.len());
    header.set_mtime(0);
    tar.append_data(&mut header, name, file)
}

fn walk(root: &Path, dir: &Path, each: &mut impl FnMut(&Path, &str, &fs::Metadata) -> Result<()>) -> Result<()> {
    let what = || format!("cannot read `{}`", dir.display());
    for entry in fs::read_dir(dir).or_error(Kind::Config, what)? {
        let path = entry.or_error(Kind::Config, what)?.path();
        let metadata =
            path.symlink_metadata().or_error(Kind::Config, || format!("cannot read `{}`", path.display()))?;
        if metadata.is_dir() {
            walk(root, &path, each)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            each(&path, &name, &metadata)?;
        }
    }
    Ok(())
}

fn hash_file(path: &Path) -> Result<String> {
    let what = || format!("cannot read `{}`", path.display());
    let mut file = File::open(path).or_error(Kind::Config, what)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).or_error(Kind::Config, what)? {
            0 => return Ok(hex::encode(hash.finalize())),
            got => hash.update(&buffer[..got]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_and_what_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("Dockerfile", "FROM scratch\n");
        write("container.toml", "description = \"x\"\n");
        write("notes.md", "no");
        write(".dockerignore", "*.md\n");
        let first = Context::read(dir.path()).unwrap();
        assert_eq!(first.inputs().map(|(name, ..)| name).collect::<Vec<_>>(), [".dockerignore", "Dockerfile"]);
        write("container.toml", "description = \"y\"\n");
        write("notes.md", "still no");
        assert_eq!(Context::read(dir.path()).unwrap().digest(), first.digest());
        fs::set_permissions(dir.path().join("Dockerfile"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(Context::read(dir.path()).unwrap().digest(), first.digest());
    }

    #[test]
    fn equal_files_make_an_equal_tar() {
        let make = || {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
            std::os::unix::fs::symlink("Dockerfile", dir.path().join("link")).unwrap();
            Context::read(dir.path()).unwrap().write_tar(Vec::new(), &[]).unwrap()
        };
        assert_eq!(make(), make());
    }
}
