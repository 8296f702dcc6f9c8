//! One drill of a workspace at a time, and what the one before left when it was killed.

use std::{
    fs::{self, File},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use lap_base::error::{Error, Kind, OrError, Result};
use nix::fcntl::{Flock, FlockArg};

/// The lock, as long as the drill lasts. The file names the environment whose nodes the drill makes, so that the next drill takes no
/// other lab of the same name for a leftover.
pub struct Alone {
    file: Flock<File>,
    path: PathBuf,
}

impl Alone {
    /// Takes it.
    ///
    /// # Errors
    /// A drill of this workspace runs.
    pub fn take(root: &Path) -> Result<Self> {
        let path = root.join(".lap/drill.lock");
        let what = || format!("cannot lock `{}`", path.display());
        fs::create_dir_all(root.join(".lap")).or_error(Kind::Host, what)?;
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = Flock::lock(file.or_error(Kind::Host, what)?, FlockArg::LockExclusiveNonblock);
        let file = file.map_err(|_| {
            Error::new(Kind::Locked, "another drill of this lab is running").hint("try again when it has finished")
        })?;
        Ok(Self { file, path })
    }

    /// The environment that a killed drill made nodes of.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn left(&mut self) -> Result<Option<String>> {
        let (mut text, path) = (String::new(), &self.path);
        let read = self.file.rewind().and_then(|()| self.file.read_to_string(&mut text));
        read.or_error(Kind::Host, || format!("cannot read `{}`", path.display()))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Says that nodes of this environment are about to be made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(&mut self, environment: &str) -> Result<()> {
        self.set(environment)
    }

    /// Says that they are gone.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(&mut self) -> Result<()> {
        self.set("")
    }

    fn set(&mut self, text: &str) -> Result<()> {
        let path = &self.path;
        let written = self.file.set_len(0).and_then(|()| self.file.rewind());
        let written = written.and_then(|()| self.file.write_all(text.as_bytes())).and_then(|()| self.file.sync_all());
        written.or_error(Kind::Host, || format!("cannot write `{}`", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_next_knows_what_a_killed_one_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Alone::take(dir.path()).unwrap();
        assert_eq!(first.left().unwrap(), None);
        first.begin("production").unwrap();
        assert_eq!(Alone::take(dir.path()).err().unwrap().kind, Kind::Locked);
        drop(first);
        let mut second = Alone::take(dir.path()).unwrap();
        assert_eq!(second.left().unwrap().as_deref(), Some("production"));
        second.begin("test").unwrap();
        assert_eq!(second.left().unwrap().as_deref(), Some("test"));
        second.end().unwrap();
        drop(second);
        assert_eq!(Alone::take(dir.path()).unwrap().left().unwrap(), None);
    }
}
