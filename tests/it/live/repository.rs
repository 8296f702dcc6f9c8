//! Snapshots off the machine: stock restic is the judge, and a kill in the middle costs nothing.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::lab::{Lab, Ran, run};

fn with_repository(name: &str) -> (Lab, tempfile::TempDir, PathBuf) {
    let lab = Lab::tiny(name);
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().join("lap");
    lab.edit(
        "lap.toml",
        "lab = \"tiny\"\n",
        &format!("lab = \"tiny\"\n[repositories]\noffice = \"{}\"\n", path.display()),
    );
    lab.commit();
    (lab, disk, path)
}

fn restic(lab: &Lab, repository: &std::path::Path, arguments: &[&str]) -> String {
    let password = lab.root.join(".lap/keys/repository.password");
    let mut command = Command::new("restic");
    command.args(["--no-cache", "--password-file"]).arg(password).arg("--repo").arg(repository).args(arguments);
    Ran::of(&command.output().unwrap()).ok()
}

fn node(lab: &Lab, script: &str) -> String {
    lab.on_node("test", &["sh", "-c", script]).ok()
}

/// Kills the agent's child as soon as `ready` is true.
fn kill_child(lab: &Lab, arguments: &[&str], ready: impl Fn() -> bool) {
    let mut working = lab.command(arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < Duration::from_secs(60) && working.try_wait().unwrap().is_none(), "too late");
        std::thread::sleep(Duration::from_millis(20));
    }
    lab.on_node("test", &["pkill", "-9", "-f", "agent repository"]).ok();
    assert!(!working.wait().unwrap().success());
}

fn size(path: &std::path::Path) -> u64 {
    let out = run("du", &["-sb", path.to_str().unwrap()]).out;
    out.split_whitespace().next().and_then(|size| size.parse().ok()).unwrap_or(0)
}

#[test]
fn off_the_machine_and_back() {
    let (lab, disk, path) = with_repository("repository");
    lab.lap(&["up"]).ok();
    assert!(lab.lap(&["snapshot", "copy"]).fails(2).contains("`test` has no snapshot yet"));
    node(&lab, "mkdir -p /data/one && head -c 60M /dev/urandom >/data/one/big && echo old >/data/one/file");
    lab.lap(&["snapshot"]).ok();
    let said = lab.lap(&["snapshot", "copy"]).fails(4);
    assert!(said.contains("there is no repository `office`") && said.contains("lap repository init office"), "{said}");
    let passphrase = disk.path().join("passphrase");
    std::fs::write(&passphrase, "a good passphrase\n").unwrap();
    let said = lab.lap(&["repository", "init", "--passphrase-file", passphrase.to_str().unwrap()]).ok();
    assert!(said.contains("`office` is there"), "{said}");

    // Killed in the middle: a repository that restic is content with, and nothing of it listed.
    kill_child(&lab, &["snapshot", "copy"], || size(&path.join("data")) > 16 << 20);
    restic(&lab, &path, &["check"]);
    assert!(lab.lap(&["snapshot", "list", "--from", "office"]).ok().contains("has no snapshots of `test`"));
    let before = size(&path.join("data"));
    let said = lab.lap(&["snapshot", "copy"]).ok();
    assert!(said.contains("is in `office`"), "{said}");
    assert!(size(&path.join("data")) < (60 << 20) + (2 << 20), "{before} bytes were there already");
    assert!(lab.lap(&["snapshot", "copy"]).ok().contains("already"));
    assert!(lab.lap(&["snapshot", "verify", "--read-data"]).ok().contains("all its data were read"));
    assert!(restic(&lab, &path, &["snapshots"]).contains("lap:test"));
    restic(&lab, &path, &["check", "--read-data"]);

    // The node loses everything, and gets it back.
    let id = lab.lap(&["snapshot", "list", "--from", "office", "--json"]).ok();
    let id = serde_json::from_str::<serde_json::Value>(&id).unwrap()[0]["id"].as_str().unwrap().to_owned();
    let sum = node(&lab, "sha256sum /data/one/big");
    lab.lap(&["snapshot", "rm", &id]).ok();
    node(&lab, "rm /data/one/big && echo new >/data/one/file");
    kill_child(&lab, &["snapshot", "fetch", &id, "--from", "office"], || {
        let script = "test $(du -sm /var/lib/lap/pool/snapshots | cut -f1) -ge 8";
        lab.on_node("test", &["sh", "-c", script]).code == 0
    });
    assert_eq!(node(&lab, "ls -A /var/lib/lap/pool/snapshots"), "", "a killed fetch leaves nothing");
    let said = lab.lap(&["restore", "latest", "--from", "office"]).ok();
    assert!(said.contains(&format!("`test` is as it was in {id}")), "{said}");
    assert_eq!(node(&lab, "sha256sum /data/one/big"), sum);
    assert_eq!(node(&lab, "cat /data/one/file"), "old\n");
    assert!(lab.lap(&["snapshot", "list"]).ok().contains("fetched"));

    // Somebody else's place, somebody else's keys.
    let said = lab.lap(&["snapshot", "copy", "--to", "/etc"]).fails(10);
    assert!(said.contains("`/etc` is not a repository, and not empty"), "{said}");
    // The password is on the node nowhere: it comes with each request.
    let key = lab.root.join(".lap/keys/repository.password");
    let password = std::fs::read_to_string(&key).unwrap();
    let everywhere =
        ["grep", "-rqsF", "-D", "skip", "--exclude=pool.img", password.trim(), "/var/lib/lap", "/data", "/etc", "/run"];
    assert_ne!(lab.on_node("test", &everywhere).code, 0);
    std::fs::write(key, "another-password-of-another-lab\n").unwrap();
    let said = lab.lap(&["snapshot", "list", "--from", "office"]).fails(9);
    assert!(said.contains("the lab's repository password does not open `office`"), "{said}");
}
