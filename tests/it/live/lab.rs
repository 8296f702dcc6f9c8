//! A lab for one test: a workspace in a temporary directory, a name nobody else has, gone when the test ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Condvar, Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::inside::inside;
use crate::times::Timed;

/// Two labs at a time: most of a test is waiting for something to come up, and two cores are what is there.
static TURNS: Turns = Turns { free: Mutex::new(2), given_back: Condvar::new() };

struct Turns {
    free: Mutex<usize>,
    given_back: Condvar,
}

/// Long enough that only what never comes is missed, also beside another lab on two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The steps of a whole restore.
pub const RESTORING: [&str; 8] = [
    "prepare the data",
    "stop the containers",
    "unmount /data",
    "switch",
    "mount /data",
    "keep the replaced data",
    "start the containers",
    "close",
];

/// Given back when it is dropped.
struct Turn;

impl Turn {
    fn take() -> Self {
        let free = TURNS.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = TURNS.given_back.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TURNS.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        TURNS.given_back.notify_one();
    }
}

/// A lab, and the turn to run it.
pub struct Lab {
    pub root: PathBuf,
    pub name: String,
    _dir: tempfile::TempDir,
    _timed: Timed,
    _turn: Turn,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts that it ended with 0 and returns what it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    /// Asserts that it ended with `code` and returns what it said.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self.err
    }
}

/// How the small lab's image begins: a shell and what belongs to one, in 2 MB. Every node of every test builds it.
pub const SMALL: &str = "FROM scratch\nADD rootfs.tar /\nCOPY tools /\nCOPY say /say\n";
/// What busybox is called there.
const TOOLS: &str = "cat chmod cp dd echo env false find grep head id ls mkdir mkfifo mv od printf ps rm sed seq sh sha256sum sleep \
                     sort stat sync tail test touch tr true wc";
/// That it consists of.
pub const ROOTFS: &str =
    "[build.rootfs]\nsuite = \"bookworm\"\nvariant = \"extract\"\npackages = [\"busybox-static\"]\n";

impl Lab {
    /// What `lap init` makes, untouched and committed.
    pub fn full(name: &str) -> Self {
        let lab = Self::new(name);
        lab.lap(&["init", ".", "--name", "lap"]).ok();
        lab.ready()
    }

    /// A small one: `one`, and `two` that stands on it and waits for it.
    pub fn tiny(name: &str) -> Self {
        let lab = Self::new(name);
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&repository.join("nodes/rootfs.toml"), &lab.root.join("nodes/rootfs.toml"));
        lab.write("lap.toml", "lab = \"tiny\"\n");
        lab.write("env/test/env.toml", "description = \"small\"\n");
        lab.write(
            "nodes/test/node.toml",
            "environment = \"test\"\nrole = \"master\"\naddress = \".10\"\ndisk = \"1g\"\n",
        );
        let sleeps = "CMD [\"/bin/sh\", \"-c\", \"trap exit TERM; sleep infinity & wait\"]\n";
        lab.write("containers/one/Dockerfile", &format!("{SMALL}{sleeps}"));
        lab.write("containers/one/say", "one\n");
        let bin = lab.root.join("containers/one/tools/bin");
        fs::create_dir_all(&bin).unwrap();
        for tool in TOOLS.split_whitespace() {
            std::os::unix::fs::symlink("busybox", bin.join(tool)).unwrap();
        }
        lab.write(
            "containers/one/container.toml",
            &format!(
                "names = [\"one.internal\"]\nports = [\"8080:80\"]\nsecrets = [\"tls.crt\", \"tls.key\"]\n\
                 healthcheck = {{ test = [\"CMD\", \"/bin/test\", \"-e\", \"/say\"] }}\n{ROOTFS}"
            ),
        );
        lab.write("containers/two/Dockerfile", "FROM infra/one\nRUN echo two > /say\n");
        lab.write(
            "containers/two/container.toml",
            "depends_on = [\"one\"]\nhealthcheck = { test = [\"CMD-SHELL\", \"grep -q two /say\"] }\n",
        );
        lab.ready()
    }

    /// The small one, with the name server of this repository's workspace.
    pub fn with_dns(name: &str) -> Self {
        let lab = Self::tiny(name);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("containers/dns"), &lab.root.join("containers/dns"));
        let grants = "dns = [\"network_mode: host\", \"/var/lib/lap/names\", \"/var/lib/lap/pool/state/dns\"]";
        lab.write("lap.toml", &format!("lab = \"tiny\"\n[grants]\n{grants}\n"));
        // There is no `base` here; `one` has a shell, too.
        lab.edit("containers/dns/container.toml", "image = \"base\"", "image = \"one\"");
        lab.commit();
        lab
    }

    /// The small one, with a registry.
    pub fn with_registry(name: &str) -> Self {
        let lab = Self::tiny(name);
        lab.take_registry();
        lab
    }

    /// Two environments, with this repository's registry and git in each.
    pub fn with_git(name: &str) -> Self {
        let lab = Self::two_environments(name);
        let text = fs::read_to_string(lab.root.join("lap.toml")).unwrap();
        lab.write("lap.toml", &format!("{text}[grants]\ngit = [\"/var/lib/lap/push\"]\n"));
        lab.take_containers(&["base", "registry", "git"]);
        lab
    }

    /// The stock registry without a Debian around it, which is built in a second.
    pub fn take_registry(&self) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance/files");
        for (from, to) in [("Dockerfile", "Dockerfile"), ("toml", "container.toml"), ("serve", "serve")] {
            copy(&here.join(format!("registry.{from}")), &self.root.join("containers/registry").join(to));
        }
        for door in ["read.yml", "write.yml"] {
            let stock = Path::new(env!("CARGO_MANIFEST_DIR")).join("containers/registry").join(door);
            let text = fs::read_to_string(stock).unwrap().replace("/run/service/", "/run/secrets/");
            self.write(&format!("containers/registry/{door}"), &text);
        }
        self.commit();
    }

    /// This repository's containers of these names, too.
    pub fn take_containers(&self, names: &[&str]) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("containers");
        for name in names {
            copy(&here.join(name), &self.root.join("containers").join(name));
        }
        self.commit();
    }

    /// The small one, with `prod` beside `test`.
    pub fn two_environments(name: &str) -> Self {
        let lab = Self::tiny(name);
        lab.add_prod("description = \"real\"\npromote_from = \"test\"\n");
        lab
    }

    /// `prod` beside `test`, with this `env.toml`.
    pub fn add_prod(&self, environment: &str) {
        self.write("env/prod/env.toml", environment);
        let node = "environment = \"prod\"\nrole = \"master\"\naddress = \".11\"\ndisk = \"1g\"\n";
        self.write("nodes/prod/node.toml", node);
        self.edit("lap.toml", "lab = \"tiny\"\n", "lab = \"tiny\"\ndefault = \"test\"\n");
        // Of a run that was killed: until now nobody knew of it.
        self.lap(&["destroy", "prod", "--yes"]);
        self.commit();
    }

    fn new(name: &str) -> Self {
        let turn = Turn::take();
        let dir = tempfile::tempdir().unwrap();
        // The same prefix as in scripts/test, which sweeps up after a run that was killed.
        let checkout = hex::encode(Sha256::digest(env!("CARGO_MANIFEST_DIR").as_bytes()));
        let name = format!("t{}-{name}", &checkout[..8]);
        Self { root: dir.path().to_path_buf(), name, _dir: dir, _timed: Timed::begin(), _turn: turn }
    }

    fn ready(self) -> Self {
        self.destroy();
        self.write(".gitignore", "/.lap\n");
        self.git(&["init", "--quiet", "--initial-branch=master"]);
        self.commit();
        self.lap(&["keys", "new"]).ok();
        self
    }

    /// Commits everything in the workspace.
    pub fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@internal",
            "commit",
            "--quiet",
            "--message=x",
            "--allow-empty",
        ]);
    }

    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git").args(arguments).current_dir(&self.root).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes a file of the workspace.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// `git push` of HEAD to the `master` of the lab's own repository on test.
    pub fn push_command(&self) -> Command {
        let ssh = format!(
            "ssh -F none -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={}",
            self.root.join(".lap/keys/admin").display(),
            self.root.join(".lap/known_hosts").display()
        );
        let url = format!("ssh://git@{}:2200/lap", self.address("test"));
        let mut command = Command::new("git");
        command.args(["push", "--force", &url, "HEAD:refs/heads/master"]);
        command.current_dir(&self.root).env("GIT_SSH_COMMAND", ssh);
        command
    }

    /// Pushes, and gives what came back.
    #[track_caller]
    pub fn push(&self) -> String {
        let output = self.push_command().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }

    /// Makes a file of the workspace a program.
    pub fn executable(&self, path: &str) {
        fs::set_permissions(self.root.join(path), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Replaces `from`, which must be there, in a file of the workspace.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.root.join(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}");
        fs::write(self.root.join(path), text.replacen(from, to, 1)).unwrap();
    }

    /// `lap` with these arguments, in the workspace.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lap"));
        command.args(arguments).current_dir(&self.root).env("LAP_LAB", &self.name).stdin(Stdio::null());
        command
    }

    /// Runs `lap` to its end.
    pub fn lap(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// Starts `lap` with events as JSON lines, and calls `each` with every title that begins, until it says stop (`false`).
    pub fn watch(&self, arguments: &[&str], mut each: impl FnMut(&str, &Child) -> bool) -> Child {
        let mut command = self.command(arguments);
        command.args(["--progress", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        for line in out.lines().map_while(Result::ok) {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            if event["event"] == "started" && !each(event["title"].as_str().unwrap_or_default(), &child) {
                break;
            }
        }
        child
    }

    /// The node's address.
    pub fn address(&self, node: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks \"lap-{}\").IPAddress}}}}", self.name);
        let out = run("docker", &["inspect", "--format", &format, &self.node(node)]).ok();
        out.trim().to_owned()
    }

    /// The node's container on this machine.
    pub fn node(&self, node: &str) -> String {
        format!("lap-{}-{node}", self.name)
    }

    /// Pushes an image that is in a node's Docker as `name` into its registry, with the password that lies on the node; then Docker has it
    /// from there.
    pub fn push_image(&self, node: &str, image: &str, name: &str) {
        let script = format!(
            "set -eu; config=$(mktemp -d); trap 'rm -rf \"$config\"' EXIT; there=127.0.0.1:5001/{name}\n\
             docker --config \"$config\" login --username lap --password-stdin 127.0.0.1:5001 \
             </var/lib/lap/secrets/registry/registry.password >/dev/null 2>&1\n\
             docker tag {image} $there && docker --config \"$config\" push --quiet $there && docker rmi $there\n\
             docker pull --quiet localhost:5000/{name}"
        );
        self.on_node(node, &["sh", "-c", &script]).ok();
    }

    /// A command on the node, not through lap.
    pub fn on_node(&self, node: &str, command: &[&str]) -> Ran {
        inside(&self.node(node), command)
    }

    /// Asserts that everything runs and is healthy.
    #[track_caller]
    pub fn healthy(&self) {
        self.lap(&["status"]).ok();
    }

    fn destroy(&self) {
        for environment in fs::read_dir(self.root.join("env")).into_iter().flatten().flatten() {
            let name = environment.file_name().to_string_lossy().into_owned();
            self.lap(&["destroy", &name, "--yes"]);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in ["test", "prod"] {
                let log = run("docker", &["logs", "--tail", "20", &self.node(node)]);
                eprintln!("--- {}\n{}{}", self.node(node), log.out, log.err);
            }
        }
        self.destroy();
    }
}

/// Waits until something is so; `what` is that it is not.
#[track_caller]
pub fn until(what: &str, is: impl FnMut() -> bool) {
    until_or(is, || what.to_owned());
}

/// The same, with more to say when it never comes.
#[track_caller]
pub fn until_or(mut is: impl FnMut() -> bool, what: impl FnOnce() -> String) {
    let begun = Instant::now();
    while !is() {
        if begun.elapsed() > PATIENCE {
            panic!("waited in vain: {}", what());
        }
        sleep(Duration::from_millis(50));
    }
}

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Ran {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    Ran::of(&output.unwrap_or_else(|error| panic!("cannot run {program}: {error}")))
}

/// lap without what is only for finding faults, in this directory: all of it goes through an emulated machine's card.
pub fn stripped(dir: &Path) -> PathBuf {
    let binary = dir.join("lap");
    run("strip", &["-o", binary.to_str().unwrap(), env!("CARGO_BIN_EXE_lap")]).ok();
    binary
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap().flatten() {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}
