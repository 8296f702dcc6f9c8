//! A workspace as a test writes it, and what `load` says about it.

mod checks;
mod examples;
mod files;
mod good;
mod init;
mod keys;
mod speed;

use std::{fs, path::Path};

use super::{load, model::Lab};

/// A workspace in a directory of its own: right as it is, until a test adds what is wrong.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// Environments `test` and `prod` with their masters, no containers.
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        world
            .with("lap.toml", "lab = \"lap\"\n")
            .with("nodes/rootfs.toml", "suite = \"bookworm\"\n")
            .with("env/test/env.toml", "description = \"t\"\n")
            .with("env/prod/env.toml", "promote_from = \"test\"\n")
            .with("nodes/test/node.toml", "environment = \"test\"\nrole = \"master\"\naddress = \".10\"\n")
            .with("nodes/prod/node.toml", "environment = \"prod\"\nrole = \"master\"\naddress = \".11\"\n")
    }

    /// With a file, instead of what was there.
    fn with(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    fn without(self, path: &str) -> Self {
        let path = self.dir.path().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        self
    }

    /// With a container, `FROM scratch`.
    fn container(self, name: &str, toml: &str) -> Self {
        self.with(&format!("containers/{name}/container.toml"), format!("{toml}\n"))
            .with(&format!("containers/{name}/Dockerfile"), "FROM scratch\n")
    }

    fn link(self, path: &str, target: impl AsRef<Path>) -> Self {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    fn load(&self) -> Lab {
        load(self.dir.path(), None).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// All that is wrong, a line each; empty when all is right.
    fn problems(&self) -> String {
        load(self.dir.path(), None).err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[track_caller]
    fn says(&self, want: &[&str]) {
        assert_eq!(self.problems(), want.join("\n"));
    }
}

/// Each text in `path` makes exactly these lines, which begin with the path.
#[track_caller]
fn each(path: &str, table: &[(&str, &[&str])]) {
    for (text, want) in table {
        let mut world = World::new();
        if path.starts_with("containers/") {
            world = world.container("a", "");
        }
        let want: Vec<_> = want.iter().map(|line| format!("{path}:{line}")).collect();
        assert_eq!(world.with(path, text).problems(), want.join("\n"), "{text}");
    }
}
