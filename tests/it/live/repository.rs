//! Snapshots off the machine: stock restic is the judge, and a kill in the middle costs nothing.

use std::{path::PathBuf, process::Command};

use super::lab::{Lab, Ran, run};

/// With the environment's own repository, which `init` makes.
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
    (lab, disk, path.join("env-test"))
}

fn restic(lab: &Lab, repository: &std::path::Path, arguments: &[&str]) -> String {
    let password = lab.root.join(".lap/keys/test/repository.password");
    let mut command = Command::new("restic");
    command.args(["--no-cache", "--password-file"]).arg(password).arg("--repo").arg(repository).args(arguments);
    Ran::of(&command.output().unwrap()).ok()
}

fn node(lab: &Lab, script: &str) -> String {
    lab.on_node("test", &["sh", "-c", script]).ok()
}

/// Kills the agent's child as soon as `ready` is true.
fn kill_child(lab: &Lab, arguments: &[&str], ready: impl Fn() -> bool) {
    let mut working = lab.start(arguments);
    working.until("what it is killed at", ready);
    lab.on_node("test", &["pkill", "-9", "-f", "agent repository"]).ok();
    assert_ne!(working.end().code, 0);
}

fn size(path: &std::path::Path) -> u64 {
    // The first copy makes it.
    if !path.exists() {
        return 0;
    }
    let out = run("du", &["-sb", path.to_str().unwrap()]).out;
    out.split_whitespace()
        .next()
        .unwrap_or_default()
        .parse()
        .unwrap_or_else(|error| panic!("`du` says {out:?}: {error}"))
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
    assert!(said.contains("Made `office`, with a repository for each environment"), "{said}");
    let said = lab.lap(&["repository"]).ok();
    assert!(said.contains("the lab's own repository, and one for each of `test`"), "{said}");

    // Killed in the middle: a repository that restic is content with, and nothing of it listed.
    kill_child(&lab, &["snapshot", "copy"], || size(&path.join("data")) > 16 << 20);
    restic(&lab, &path, &["check"]);
    assert!(lab.lap(&["snapshot", "list", "--from", "office"]).ok().contains("has no snapshots of `test`"));
    let before = size(&path.join("data"));
    let said = lab.lap(&["snapshot", "copy"]).ok();
    assert!(said.contains("` to `office`: "), "{said}");
    assert!(size(&path.join("data")) < (60 << 20) + (2 << 20), "{before} bytes were there already");
    assert!(lab.lap(&["snapshot", "copy"]).ok().contains("already"));
    assert!(lab.lap(&["snapshot", "verify", "--read-data"]).ok().contains("all its data was read"));
    assert!(restic(&lab, &path, &["snapshots"]).contains("lap:test"));
    restic(&lab, &path, &["check", "--read-data"]);

    // The node loses everything, and gets it back.
    let id = lab.lap(&["snapshot", "list", "--from", "office", "--json"]).ok();
    let id = serde_json::from_str::<serde_json::Value>(&id).unwrap()[0]["id"].as_str().unwrap().to_owned();
    let sum = node(&lab, "sha256sum /data/one/big");
    lab.lap(&["snapshot", "rm", "--yes", &id]).ok();
    node(&lab, "rm /data/one/big && echo new >/data/one/file");
    kill_child(&lab, &["snapshot", "fetch", &id, "--from", "office"], || {
        let script = "test $(du -sm /var/lib/lap/pool/snapshots | cut -f1) -ge 8";
        lab.on_node("test", &["sh", "-c", script]).code == 0
    });
    assert_eq!(node(&lab, "ls -A /var/lib/lap/pool/snapshots"), "", "a killed fetch leaves nothing");
    let said = lab.lap(&["restore", "--yes", "latest", "--from", "office"]).ok();
    assert!(said.contains(&format!("Restored `test` from {id}")), "{said}");
    assert_eq!(node(&lab, "sha256sum /data/one/big"), sum);
    assert_eq!(node(&lab, "cat /data/one/file"), "old\n");
    assert!(lab.lap(&["snapshot", "list"]).ok().contains("fetched"));

    // Somebody else's place, somebody else's keys.
    let said = lab.lap(&["snapshot", "copy", "--to", "/etc"]).fails(10);
    assert!(said.contains("`/etc` is not a repository, and not empty"), "{said}");
    // The password is on the node nowhere: it comes with each request.
    let key = lab.root.join(".lap/keys/test/repository.password");
    let password = std::fs::read_to_string(&key).unwrap();
    let everywhere =
        ["grep", "-rqsF", "-D", "skip", "--exclude=pool.img", password.trim(), "/var/lib/lap", "/data", "/etc", "/run"];
    assert_ne!(lab.on_node("test", &everywhere).code, 0);
    std::fs::write(key, "another-password-of-another-lab\n").unwrap();
    let said = lab.lap(&["snapshot", "list", "--from", "office"]).fails(9);
    assert!(said.contains("the lab's repository password does not open `office/env-test`"), "{said}");
}

fn status(lab: &Lab) -> serde_json::Value {
    serde_json::from_str(&lab.lap(&["status", "--json"]).out).unwrap()
}

fn copies(lab: &Lab) -> Vec<String> {
    let json = lab.lap(&["snapshot", "list", "--from", "office", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    json.as_array().unwrap().iter().map(|copy| copy["id"].as_str().unwrap().to_owned()).collect()
}

/// What the node knows is as old as it is made here: nobody waits for days.
fn age(lab: &Lab, days: u32) {
    let seconds = days * 24 * 3600;
    let script = format!(
        "cd /var/lib/lap/pool/state && awk '{{ if (match($0, /1[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]/)) \
         print substr($0, 1, RSTART - 1) (substr($0, RSTART, RLENGTH) - {seconds}) substr($0, RSTART + RLENGTH); else print }}' \
         copies.json >x && mv x copies.json && touch -d '-99 days' /var/lib/lap/policy/snapshot.json"
    );
    node(lab, &script);
}

#[test]
fn copies_by_themselves() {
    let (lab, disk, path) = with_repository("due");
    lab.edit(
        "lap.toml",
        "[repositories]",
        "[snapshot]\nevery = \"24h\"\n[copies]\nevery = \"1d\"\nverify = \"7d\"\nread = \"100%\"\nkeep = { daily = 1 }\n[repositories]",
    );
    lab.commit();
    lab.lap(&["up"]).ok();
    let passphrase = disk.path().join("passphrase");
    std::fs::write(&passphrase, "a good passphrase\n").unwrap();
    lab.lap(&["repository", "init", "--passphrase-file", passphrase.to_str().unwrap()]).ok();
    node(&lab, "mkdir -p /data/one && head -c 8M /dev/urandom >/data/one/big");
    lab.lap(&["snapshot"]).ok();

    let said = lab.lap(&["snapshot", "copy", "--due", "--all"]).ok();
    assert!(said.contains("` to `office`, ") && said.contains("Verified `office`."), "{said}");
    assert_eq!(lab.lap(&["snapshot", "copy", "--due"]).ok(), "", "nothing is due, nothing is said");
    let text = lab.lap(&["status"]).ok();
    assert!(text.contains("copies in `office`: the newest ") && text.contains("verified "), "{text}");
    let first = copies(&lab).pop().unwrap();
    assert_eq!(status(&lab)["facts"]["copies"]["office"]["verified"]["newest"], first.as_str());

    // Days go by.
    age(&lab, 15);
    node(&lab, "touch -d '-1 minute' /var/lib/lap/policy/snapshot.json");
    lab.lap(&["status"]).ok();
    age(&lab, 0);
    let said = lab.lap(&["status"]).fails(7);
    assert!(said.contains("the newest copy in `office` is older than lap.toml allows"), "{said}");
    assert!(said.contains("`office` was verified longer ago than lap.toml allows"), "{said}");
    assert!(!status(&lab)["healthy"].as_bool().unwrap());
    // The repository knows better when the newest copy was made; verified it was not.
    let said = lab.lap(&["snapshot", "copy", "--due"]).ok();
    assert!(said.contains("Verified `office`.") && !said.contains("Copied"), "{said}");
    lab.lap(&["status"]).ok();

    // One that somebody asked for by name stays; else the newest of the day, the newest and the verified one.
    let take = || {
        node(&lab, "head -c 8M /dev/urandom >/data/one/big");
        let json = lab.lap(&["snapshot", "--progress", "json"]).ok();
        let id = json.split("\"id\": \"").nth(1).and_then(|rest| rest.split('"').next());
        id.unwrap().to_owned()
    };
    let asked = take();
    // Also if it had been copied before anybody asked.
    lab.lap(&["snapshot", "copy"]).ok();
    assert!(lab.lap(&["snapshot", "copy", "--snapshot", &asked]).ok().contains("already"));
    let middle = take();
    lab.lap(&["snapshot", "copy"]).ok();
    let last = take();
    lab.lap(&["snapshot", "copy"]).ok();
    let before = size(&path.join("data"));
    let said = lab.lap(&["snapshot", "prune", "--yes", "--in", "office", "--dry-run"]).ok();
    let line = |id: &str| said.lines().find(|line| line.contains(id)).unwrap_or_default().to_owned();
    assert!(line(&first).contains("the newest verified one"), "{said}");
    assert!(line(&asked).contains("taken by hand"), "{said}");
    assert!(
        line(&middle).contains("would be removed") && line(&last).contains("the newest; the newest of its day"),
        "{said}"
    );
    assert_eq!(copies(&lab).len(), 4);

    // Killed on the way: what is listed is whole, and the same again ends it.
    let mut working = lab.start(&["snapshot", "prune", "--yes", "--in", "office"]);
    working.until("the first copy goes", || copies_on_disk(&path) < 4);
    working.kill();
    // Its lock is a dead one's: lap removes it by itself, restic when it is asked to.
    assert!(restic(&lab, &path, &["check", "--no-lock"]).contains("no errors"));
    let said = lab.lap(&["snapshot", "prune", "--yes", "--in", "office"]).ok();
    assert_eq!(copies(&lab), [first.as_str(), &asked, &last], "{said}");
    assert!(size(&path.join("data")) < before - (7 << 20), "{said}");
    lab.lap(&["snapshot", "rm", "--yes", "--in", "office", &asked]).ok();
    assert!(lab.lap(&["snapshot", "rm", "--yes", "--in", "office", &asked]).fails(2).contains("has no snapshot"));
    assert_eq!(copies(&lab), [first.as_str(), &last]);
    assert!(restic(&lab, &path, &["check", "--read-data"]).contains("no errors"));

    // Damage is told until it is mended.
    let pack = run("sh", &["-c", &format!("find {} -type f -size +1M | head -1", path.join("data").display())]).ok();
    let pack = PathBuf::from(pack.trim());
    let whole = std::fs::read(&pack).unwrap();
    let mut bytes = whole.clone();
    bytes[1000] ^= 1;
    run("chmod", &["u+w", pack.to_str().unwrap()]).ok();
    std::fs::write(&pack, bytes).unwrap();
    assert!(lab.lap(&["snapshot", "verify", "--read-data"]).fails(7).contains("`office` is damaged"));
    assert!(lab.lap(&["status"]).fails(7).contains("`office` is damaged"));
    assert!(lab.lap(&["snapshot", "copy", "--due"]).fails(7).contains("`office` is damaged"));
    std::fs::write(&pack, whole).unwrap();
    assert!(lab.lap(&["snapshot", "copy", "--due"]).ok().contains("Verified `office`."));
    lab.lap(&["status"]).ok();
}

fn copies_on_disk(path: &std::path::Path) -> usize {
    std::fs::read_dir(path.join("snapshots")).unwrap().count()
}
