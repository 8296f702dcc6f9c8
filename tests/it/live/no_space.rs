//! No room is left: on the node, where the repository lies; and the network is cut. Either the old state or the new one is there, whole,
//! the next step is said, and with room again the same command does it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::lab::{Lab, Ran, run, until, until_or};

fn node(lab: &Lab, script: &str) -> String {
    lab.on_node("test", &["sh", "-c", script]).ok()
}

fn snapshots(lab: &Lab) -> Vec<String> {
    let list: serde_json::Value = serde_json::from_str(&lab.lap(&["snapshot", "list", "--json"]).ok()).unwrap();
    list.as_array().unwrap().iter().map(|s| s["meta"]["id"].as_str().unwrap().to_owned()).collect()
}

/// What no command may leave.
fn left_over(lab: &Lab) -> String {
    node(lab, "ls -A /var/lib/lap/pool /var/lib/lap/pool/snapshots | grep -E 'lap-new|\\.new-' || true")
}

/// To the last block, data and metadata.
fn fill(lab: &Lab) {
    node(
        lab,
        "cd /data/two && head -c 4G /dev/urandom >fill 2>/dev/null; i=0; while head -c 3000 /dev/urandom >fill.$i 2>/dev/null; do i=$((i+1)); \
         [ $i -lt 20000 ] || break; done; sync; head -c 1M /dev/urandom >fill.last 2>/dev/null; true",
    );
    let free = node(lab, "df --output=avail -B1 /data | tail -n 1");
    assert!(free.trim().parse::<u64>().unwrap() < 1 << 20, "{free}");
}

fn empty(lab: &Lab) {
    // What a snapshot shares stays with it.
    node(
        lab,
        "cd /data/two && for file in fill*; do : >$file; done; rm -f fill*; sync; btrfs subvolume sync /var/lib/lap/pool",
    );
}

/// Whatever else is wrong with it.
fn healthy(lab: &Lab) -> bool {
    let status: serde_json::Value = serde_json::from_str(&lab.lap(&["status", "--json"]).out).unwrap_or_default();
    status["containers"]
        .as_array()
        .is_some_and(|all| !all.is_empty() && all.iter().all(|container| container["health"] == "healthy"))
}

/// All that a container wrote, read through its own mount.
fn read(lab: &Lab) -> String {
    lab.on_node("test", &["docker", "exec", "infra_one", "sh", "-c", "cat /data/file && sha256sum </data/big"]).ok()
}

fn until_healthy(lab: &Lab) {
    until_or(|| healthy(lab), || format!("{:?}", lab.lap(&["status"])));
}

fn one_sentence(ran: &Ran) {
    let error: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(error.len(), 1, "{ran:?}");
    assert!(!ran.err.contains("panicked") && !ran.out.contains("panicked"), "{ran:?}");
}

#[test]
fn a_node_without_room_has_one_whole_state() {
    let lab = Lab::tiny("no-space");
    let disk = tempfile::tempdir().unwrap();
    let at = disk.path().join("lap").display().to_string();
    lab.edit("lap.toml", "lab = \"tiny\"\n", &format!("lab = \"tiny\"\n[repositories]\noffice = \"{at}\"\n"));
    lab.commit();
    lab.lap(&["up"]).ok();
    let passphrase = disk.path().join("passphrase");
    fs::write(&passphrase, "a good passphrase\n").unwrap();
    lab.lap(&["repository", "init", "--passphrase-file", passphrase.to_str().unwrap()]).ok();
    node(&lab, "mkdir -p /data/one && echo old >/data/one/file && head -c 100M /dev/urandom >/data/one/big && sync");
    lab.lap(&["snapshot"]).ok();
    lab.lap(&["snapshot", "copy"]).ok();
    let old = read(&lab);
    let first = snapshots(&lab).remove(0);
    node(&lab, "echo new >/data/one/file && head -c 100M /dev/urandom >/data/one/big && sync");
    let new = read(&lab);

    // A snapshot is taken, or none is.
    fill(&lab);
    let full = lab.lap(&["status"]).fails(7);
    assert!(
        full.contains("`/data` is full: ") && full.contains("remove them with `lap snapshot rm ID --env test`"),
        "{full}"
    );
    // What the hint says helps: more room, while everything runs. Then it is filled again.
    lab.edit("nodes/test/node.toml", "disk = \"1g\"", "disk = \"1100m\"");
    lab.commit();
    let said = lab.lap(&["up"]).ok();
    assert!(said.contains("`test` is up"), "{said}");
    lab.healthy();
    assert_eq!(read(&lab), new);
    fill(&lab);
    let ran = lab.lap(&["snapshot"]);
    if ran.code != 0 {
        one_sentence(&ran);
        assert_eq!(snapshots(&lab), [first.as_str()]);
    } else {
        assert_eq!(snapshots(&lab).len(), 2, "{ran:?}");
    }
    assert_eq!(left_over(&lab), "");
    assert_eq!(read(&lab), new);
    for id in snapshots(&lab).iter().filter(|id| **id != first) {
        lab.lap(&["snapshot", "rm", "--yes", id]).ok();
    }

    // A restore, whole and in part: done, or nothing happened.
    for arguments in [&["restore", "--yes", &first][..], &["restore", "--yes", &first, "--only", "one"]] {
        let ran = lab.lap(arguments);
        until_healthy(&lab);
        let is = read(&lab);
        if ran.code == 0 {
            assert_eq!(is, old, "{arguments:?}");
            let kept = snapshots(&lab).pop().unwrap();
            empty(&lab);
            lab.lap(&["restore", "--yes", &kept]).ok();
            until_healthy(&lab);
            assert_eq!(read(&lab), new, "what was there is kept");
            for id in snapshots(&lab).iter().filter(|id| **id != first) {
                lab.lap(&["snapshot", "rm", "--yes", id]).ok();
            }
            empty(&lab);
            fill(&lab);
        } else {
            one_sentence(&ran);
            assert_eq!(is, new, "{arguments:?}: {ran:?}");
        }
        assert_eq!(left_over(&lab), "", "{arguments:?}");
    }

    // A copy needs next to nothing; a fetch needs all of it.
    let ran = lab.lap(&["snapshot", "copy", "--snapshot", &first]);
    assert!(ran.code == 0, "{ran:?}");
    // What makes room needs none, also where the lock is taken for the first time after a start.
    run("docker", &["restart", "--time", "2", &lab.node("test")]).ok();
    until_healthy(&lab);
    lab.lap(&["snapshot", "rm", "--yes", &first]).ok();
    empty(&lab);
    node(&lab, "btrfs subvolume sync /var/lib/lap/pool");
    fill(&lab);
    let ran = lab.lap(&["snapshot", "fetch", "latest", "--from", "office"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    one_sentence(&ran);
    assert!(snapshots(&lab).is_empty(), "half of one is not listed");
    assert_eq!(left_over(&lab), "");
    assert_eq!(read(&lab), new);

    // With room again, the same commands do it.
    empty(&lab);
    let said = lab.lap(&["restore", "--yes", "latest", "--from", "office"]).ok();
    assert!(said.contains(&format!("Restored `test` from {first}")), "{said}");
    until_healthy(&lab);
    assert_eq!(read(&lab), old);
}

/// A disk of so many bytes, mounted.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", dir.path().to_str().unwrap()]).ok();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn resize(&self, size: &str) {
        run("mount", &["-o", &format!("remount,size={size}"), self.path().to_str().unwrap()]).ok();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run("umount", &["--lazy", self.path().to_str().unwrap()]);
    }
}

fn restic(lab: &Lab, repository: &Path, arguments: &[&str]) -> String {
    let password = lab.root.join(".lap/keys/test/repository.password");
    let mut command = Command::new("restic");
    command
        .args(["--no-cache", "--password-file"])
        .arg(password)
        .arg("--repo")
        .arg(repository.join("env-test"))
        .args(arguments);
    Ran::of(&command.output().unwrap()).ok()
}

#[test]
fn a_copy_that_breaks_off_goes_on_later() {
    let lab = Lab::tiny("broken-copy");
    let disk = Small::new("48m");
    let at: PathBuf = disk.path().join("lap");
    lab.edit(
        "lap.toml",
        "lab = \"tiny\"\n",
        &format!("lab = \"tiny\"\n[repositories]\noffice = \"{}\"\n", at.display()),
    );
    lab.commit();
    lab.lap(&["up"]).ok();
    let passphrase = lab.root.join(".lap/passphrase");
    fs::write(&passphrase, "a good passphrase\n").unwrap();
    lab.lap(&["repository", "init", "--passphrase-file", passphrase.to_str().unwrap()]).ok();
    node(&lab, "mkdir -p /data/one && head -c 80M /dev/urandom >/data/one/big && sync");
    lab.lap(&["snapshot"]).ok();
    let copies = || lab.lap(&["snapshot", "list", "--from", "office"]).ok();

    // The repository's disk is full.
    let ran = lab.lap(&["snapshot", "copy"]);
    assert_ne!(ran.code, 0);
    one_sentence(&ran);
    assert!(ran.err.contains("the disk there is full"), "{ran:?}");
    disk.resize("52m");
    assert!(copies().contains("has no snapshots of `test`"));
    assert!(restic(&lab, &at, &["check"]).contains("no errors"));

    // The network is cut: what was sent stays, and is not sent again.
    disk.resize("300m");
    let network = format!("lap-{}", lab.name);
    let address = lab.address("test");
    let mut copying = lab.command(&["snapshot", "copy"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let size = || -> u64 {
        let dir = at.join("env-test/data");
        if !dir.exists() {
            return 0;
        }
        let out = run("du", &["-sb", dir.to_str().unwrap()]).out;
        let size = out.split_whitespace().next().unwrap_or_default();
        size.parse().unwrap_or_else(|error| panic!("`du` says {out:?}: {error}"))
    };
    let (before, begun) = (size(), Instant::now());
    while size() < before + (8 << 20) {
        assert!(begun.elapsed() < Duration::from_secs(300) && copying.try_wait().unwrap().is_none(), "too late");
        std::thread::sleep(Duration::from_millis(5));
    }
    // It must not come to its end while Docker is at it.
    let sends = |signal: &str| node(&lab, &format!("pkill -{signal} -f 'agent [r]epository'"));
    sends("STOP");
    run("docker", &["network", "disconnect", &network, &lab.node("test")]).ok();
    sends("CONT");
    until("it does not wait for ever", || copying.try_wait().unwrap().is_some());
    let ran = Ran::of(&copying.wait_with_output().unwrap());
    assert_ne!(ran.code, 0);
    one_sentence(&ran);
    run("docker", &["network", "connect", "--ip", &address, &network, &lab.node("test")]).ok();
    let sent = size();
    assert!(copies().contains("has no snapshots of `test`"));
    assert!(restic(&lab, &at, &["check"]).contains("no errors"));
    let said = lab.lap(&["snapshot", "copy"]).ok();
    assert!(said.contains("` to `office`: "), "{said}");
    assert!(
        size() >= sent && size() < (84 << 20) && sent > 8 << 20,
        "{sent} bytes were there already, {} are now",
        size()
    );
    assert!(restic(&lab, &at, &["check", "--read-data"]).contains("no errors"));
    // The agent's child of the copy that was cut off is gone, and so is what it put together.
    until("nothing is left", || node(&lab, "ls -A /var/lib/lap/pool/snapshots | grep -F .new- || true").is_empty());
}
