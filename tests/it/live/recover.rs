//! A lab is gone: its node, its workspace, its keys. A repository and a passphrase are left.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    lab::{Lab, Ran, run},
    working::Working,
};

const PASSPHRASE: &str = "nobody guesses this one\n";

struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let disk = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(disk.passphrase(), PASSPHRASE).unwrap();
        disk
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    fn passphrase(&self) -> PathBuf {
        self.dir.path().join("passphrase")
    }

    /// `lap recover` where nothing else is.
    fn recover(&self, lab: &Lab) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lap"));
        command.args(["recover", "--from", self.repository().to_str().unwrap(), "--passphrase-file"]);
        command.arg(self.passphrase()).arg("new").current_dir(self.dir.path());
        command.env("LAP_LAB", &lab.name).stdin(Stdio::null());
        command
    }
}

/// Everything but the repository goes.
fn destroy(lab: &Lab) {
    lab.lap(&["destroy", "test", "--yes"]).ok();
    for entry in fs::read_dir(&lab.root).unwrap().flatten() {
        if entry.path().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap()
        } else {
            fs::remove_file(entry.path()).unwrap()
        }
    }
}

fn node(lab: &Lab, script: &str) -> String {
    lab.on_node("test", &["sh", "-c", script]).ok()
}

/// What the lab's own destructor needs.
fn put_back(from: &Path, to: &Path) {
    let (from, to) = (format!("{}/.", from.display()), to.display().to_string());
    run("cp", &["--archive", &from, &to]).ok();
}

/// Elsewhere on the same machine, while it runs and while it is down.
fn a_lab_that_exists_is_left_alone(lab: &Lab, disk: &Disk, sums: &str, key: &[u8]) {
    let new = disk.dir.path().join("new");
    let refused = |found: &str| {
        let said = Ran::of(&disk.recover(lab).output().unwrap()).fails(10);
        assert!(said.contains(&format!("the lab `{}` exists", lab.name)) && said.contains(found), "{said}");
        assert!(said.contains("--workspace-only") && said.contains("lap destroy"), "{said}");
        assert!(!new.exists());
    };
    refused("the node `test` on this machine is running");
    // Asked twice it is no other question.
    refused("the node `test` on this machine is running");
    assert_eq!(node(lab, SUMS), sums);
    let said = Ran::of(&disk.recover(lab).arg("--workspace-only").output().unwrap()).ok();
    assert!(
        said.contains("The workspace and its keys are in ") && said.contains(&format!("lab = \"{}\"", lab.name)),
        "{said}"
    );
    assert_eq!(fs::read(new.join(".lap/keys/admin")).unwrap(), key);
    let mut status = Command::new(env!("CARGO_BIN_EXE_lap"));
    status.arg("status").current_dir(&new).env("LAP_LAB", &lab.name);
    Ran::of(&status.output().unwrap()).ok();
    fs::remove_dir_all(&new).unwrap();
    lab.lap(&["down"]).ok();
    refused("the node `test` on this machine is exited");
}

const SUMS: &str = "cd /data && find . -type f -exec sha256sum {} + | sort; find . -printf '%p %m %U %G %T@\\n' | grep -v '^\\. ' | sort";

#[test]
fn a_repository_and_a_passphrase_are_enough() {
    let (lab, disk) = (Lab::with_registry("recover"), Disk::new());
    let at = disk.repository().display().to_string();
    lab.edit("lap.toml", "lab = \"tiny\"\n", &format!("lab = \"tiny\"\n[repositories]\noffice = \"{at}\"\n"));
    lab.commit();
    lab.lap(&["up"]).ok();
    let file = disk.passphrase().display().to_string();
    lab.lap(&["repository", "init", "--passphrase-file", &file]).ok();
    let said = lab.lap(&["repository", "init", "--passphrase-file", &file]).ok();
    assert!(said.contains("Nothing to do"), "{said}");
    node(
        &lab,
        "mkdir -p /data/one/deep && head -c 20M /dev/urandom >/data/one/deep/big && chown 12:34 /data/one/deep/big",
    );
    node(&lab, "mkdir /var/lib/lap/pool/state/releases && echo 7 >/var/lib/lap/pool/state/releases/7");
    lab.write("uncommitted", "not yet\n");
    lab.lap(&["snapshot"]).ok();
    lab.lap(&["snapshot", "copy"]).ok();
    let (sums, key) = (node(&lab, SUMS), fs::read(lab.root.join(".lap/keys/admin")).unwrap());
    a_lab_that_exists_is_left_alone(&lab, &disk, &sums, &key);
    destroy(&lab);

    fs::write(disk.passphrase(), "somebody else's phrase\n").unwrap();
    let said = Ran::of(&disk.recover(&lab).output().unwrap()).fails(9);
    assert!(said.contains("the passphrase does not open"), "{said}");
    assert!(!disk.dir.path().join("new").exists());
    fs::write(disk.passphrase(), PASSPHRASE).unwrap();

    // Killed here and there; the same command goes on.
    for until in ["the workspace", "fetch ", "restore ", "start `one`"] {
        let mut working = Working::spawn(disk.recover(&lab).args(["--progress", "json"]));
        working.until_step(until);
        std::thread::sleep(Duration::from_millis(60));
        working.kill();
    }
    let said = Ran::of(&disk.recover(&lab).output().unwrap()).ok();
    assert!(said.contains("Recovered `test` from ") && said.contains("The workspace and its keys"), "{said}");
    let new = disk.dir.path().join("new");
    put_back(&new, &lab.root);
    assert_eq!(node(&lab, SUMS), sums);
    assert_eq!(node(&lab, "cat /var/lib/lap/pool/state/releases/7"), "7\n");
    assert_eq!(fs::read(new.join(".lap/keys/admin")).unwrap(), key);
    assert_eq!(fs::read_to_string(new.join("uncommitted")).unwrap(), "not yet\n");
    lab.healthy();
    // What nobody has any more is nothing to go on with; what is there is not overwritten.
    assert!(!new.join(".lap/recover.json").exists());
    assert!(Ran::of(&disk.recover(&lab).output().unwrap()).fails(10).contains("exists already"));
    let left = lab.lap(&["snapshot", "list", "--json"]).ok();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&left).unwrap().as_array().unwrap().len(), 1, "{left}");
    lab.lap(&["snapshot", "verify", "--read-data"]).ok();
}
