//! A directory of its own with a workspace in it, and `lap` run there as if nothing else were on the machine.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where no Docker is.
pub const NO_DOCKER: &str = "unix:///nonexistent/docker.sock";

/// A temporary directory: `office` in it is the workspace, `home` the user's.
pub struct Workspace {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Workspace {
    /// No workspace yet: `office` is an empty directory.
    pub fn none() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["office", "home"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        Self { dir, variables: BTreeMap::from([("DOCKER_HOST".to_owned(), NO_DOCKER.to_owned())]) }
    }

    /// The smallest right one: environments `test` and `prod` with their masters, one container, no keys.
    pub fn small() -> Self {
        Self::none()
            .with("lap.toml", "lab = \"office\"\ndefault = \"test\"\n")
            .with("nodes/rootfs.toml", "suite = \"bookworm\"\n")
            .with("env/test/env.toml", "description = \"where things are tried\"\n")
            .with("env/prod/env.toml", "promote_from = \"test\"\n")
            .with("nodes/test/node.toml", "environment = \"test\"\nrole = \"master\"\naddress = \".10\"\n")
            .with("nodes/prod/node.toml", "environment = \"prod\"\nrole = \"master\"\naddress = \".11\"\n")
            .container("git", "ports = [\"2200:22\"]\n")
    }

    /// The small one, with keys.
    pub fn with_keys() -> Self {
        let workspace = Self::small();
        workspace.lap(["keys", "new"]).code(0);
        workspace
    }

    /// As `lap init` writes it.
    pub fn from_templates() -> Self {
        let workspace = Self::none();
        workspace.lap_in(".", ["init", "office"]).code(0);
        workspace
    }

    /// With a file of the workspace, instead of what was there.
    pub fn with(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory");
        fs::write(path, bytes).expect("a file");
        self
    }

    /// With a container, `FROM scratch`.
    pub fn container(self, name: &str, toml: &str) -> Self {
        self.with(&format!("containers/{name}/container.toml"), toml)
            .with(&format!("containers/{name}/Dockerfile"), "FROM scratch\n")
    }

    /// Without a file or a directory.
    pub fn without(self, path: &str) -> Self {
        let path = self.root().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it was there");
        self
    }

    /// With a symbolic link.
    pub fn link(self, path: &str, target: &str) -> Self {
        std::os::unix::fs::symlink(target, self.root().join(path)).expect("a link");
        self
    }

    /// With a variable set for every run.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The workspace's directory.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("office")
    }

    /// A path beside the workspace.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `lap` in the workspace.
    pub fn lap<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
        self.lap_in("office", arguments)
    }

    /// Runs `lap` in a directory of the temporary one. Nothing of the caller's environment reaches it, nor a terminal.
    pub fn lap_in<'a>(&self, directory: &str, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        // They change this machine's own files, which no temporary directory holds: as root they would succeed.
        let words = |all: &[&str]| all.iter().all(|word| arguments.contains(word));
        let harmless = arguments.first() == Some(&"help") || words(&["--dry-run"]);
        assert!(
            harmless || !(words(&["keys", "trust"]) || words(&["dns", "install"])),
            "a test must not change this machine: `--dry-run`"
        );
        let output = Command::new(env!("CARGO_BIN_EXE_lap"))
            .args(&arguments)
            .current_dir(self.dir.path().join(directory))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("home/.cache"))
            .env("USER", "anna")
            .envs(&self.variables)
            .stdin(Stdio::null())
            .output()
            .expect("lap can be run");
        let text = |bytes: Vec<u8>| {
            let here = self.dir.path().display().to_string();
            String::from_utf8(bytes).expect("what lap prints is UTF-8").replace(&here, "[dir]")
        };
        Ended {
            line: format!("lap {}", arguments.join(" ")),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Every file and directory below the temporary one, with its mode.
    pub fn everything(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(self.dir.path(), self.dir.path(), &mut found);
        found
    }

    /// The permission bits of a file of the workspace, as `ls` would count them.
    pub fn mode(&self, path: &str) -> String {
        mode(&self.root().join(path))
    }
}

fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root).expect("it is below").display().to_string();
        found.insert(name, mode(&path));
        if path.is_dir() && !path.is_symlink() {
            walk(root, &path, found);
        }
    }
}

fn mode(path: &Path) -> String {
    let metadata = path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    format!("{:04o}", metadata.permissions().mode() & 0o7777)
}

/// How a run of `lap` ended. The temporary directory is called `[dir]` in what it printed.
pub struct Ended {
    line: String,
    code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// It ended with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        let Self { line, stdout, stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "`{line}`\n--- stdout\n{stdout}--- stderr\n{stderr}");
        self
    }

    /// It printed exactly this as its result.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert_eq!(self.stdout, text, "stdout of `{}`; stderr: {}", self.line, self.stderr);
        self
    }

    /// It said exactly this beside its result.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert_eq!(self.stderr, text, "stderr of `{}`", self.line);
        self
    }

    /// It failed with this code, these words and no result.
    #[track_caller]
    pub fn fails(self, code: i32, text: &str) -> Self {
        self.says(text).code(code).prints("")
    }
}
