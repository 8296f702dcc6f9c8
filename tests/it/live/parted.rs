//! A repository that all environments share, as earlier versions made it, is parted while it stays of use.

use std::{path::Path, process::Command};

use super::lab::{Lab, Ran};

fn copies(lab: &Lab) -> Vec<(String, bool)> {
    let json = lab.lap(&["snapshot", "list", "--from", "office", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let copy = |copy: &serde_json::Value| (copy["id"].as_str().unwrap().to_owned(), copy["shared"] == true);
    json.as_array().unwrap().iter().map(copy).collect()
}

fn snapshots(repository: &Path) -> usize {
    std::fs::read_dir(repository.join("snapshots")).map_or(0, Iterator::count)
}

#[test]
fn copies_go_on_in_the_environments_own() {
    let lab = Lab::tiny("parted");
    let disk = tempfile::tempdir().unwrap();
    let (path, phrase) = (disk.path().join("lap"), disk.path().join("passphrase"));
    let section = format!("[copies]\nkeep = {{ last = 1 }}\n[repositories]\noffice = \"{}\"\n", path.display());
    lab.edit("lap.toml", "lab = \"tiny\"\n", &format!("lab = \"tiny\"\n{section}"));
    lab.commit();
    lab.lap(&["up"]).ok();
    std::fs::write(&phrase, "a good passphrase\n").unwrap();
    // One for all, with the lab's password: restic makes it as lap did.
    let mut restic = Command::new("restic");
    restic.args(["--no-cache", "init", "--password-file"]).arg(lab.root.join(".lap/keys/repository.password"));
    Ran::of(&restic.arg("--repo").arg(&path).output().unwrap()).ok();

    let write = |text: &str| {
        let script = format!("mkdir -p /data/one && echo {text} >/data/one/file");
        lab.on_node("test", &["sh", "-c", &script]).ok();
        lab.lap(&["snapshot"]).ok();
    };
    write("first");
    let ran = lab.lap(&["snapshot", "copy"]);
    assert!(ran.err.contains("`office` is shared") && ran.err.contains("lap repository init office"), "{}", ran.err);
    ran.ok();
    assert!(lab.lap(&["status"]).ok().contains("`office` is shared by all environments"));
    assert!(lab.lap(&["repository"]).ok().contains("one repository that all environments share"));
    let before = snapshots(&path);

    lab.lap(&["repository", "init", "--passphrase-file", phrase.to_str().unwrap()]).ok();
    assert!(lab.lap(&["repository"]).ok().contains("for reading"));
    write("second");
    lab.lap(&["snapshot", "copy"]).ok();
    assert_eq!(snapshots(&path), before, "nothing new goes into the shared one");
    assert_eq!(snapshots(&path.join("env-test")), 1);
    assert!(!lab.lap(&["status"]).ok().contains("is shared by all environments"));
    let all = copies(&lab);
    assert_eq!(all.iter().map(|(_, shared)| *shared).collect::<Vec<_>>(), [true, false]);
    assert!(lab.lap(&["snapshot", "list", "--from", "office"]).ok().contains("Only its tag says"));
    lab.lap(&["snapshot", "verify", "--read-data"]).ok();

    // The old one comes back, and says what it is.
    let old = &all[0].0;
    lab.lap(&["snapshot", "rm", "--yes", old]).ok();
    let ran = lab.lap(&["restore", "--yes", old, "--from", "office"]);
    assert!(ran.err.contains("only its tag says"), "{}", ran.err);
    ran.ok();
    assert_eq!(lab.on_node("test", &["cat", "/data/one/file"]).ok(), "first\n");

    // The policy counts both.
    let said = lab.lap(&["snapshot", "prune", "--yes", "--in", "office"]).ok();
    assert_eq!(copies(&lab), [(all[1].0.clone(), false)], "{said}");
    lab.lap(&["snapshot", "verify", "--read-data"]).ok();
}
