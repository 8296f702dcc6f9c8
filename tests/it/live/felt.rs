//! A snapshot and the person: its cost for those that write, its limit, why it stays, what it holds, what it refuses, its mount.

use super::lab::{Lab, SMALL};

/// Writes 16 MiB after the other, each to the disk: on a fast one, less is there before anybody looks twice.
const WRITER: &str = "CMD [\"/bin/sh\", \"-c\", \"while :; do dd if=/dev/zero of=/data/busy bs=8M count=2 conv=notrunc,fsync 2>/dev/null; done\"]\n";

fn json(lab: &Lab, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&lab.lap(arguments).ok()).unwrap()
}

#[test]
fn a_snapshot_tells_its_cost_keeps_its_limit_and_shows_what_it_holds() {
    let lab = Lab::tiny("felt");
    lab.write("containers/one/Dockerfile", &format!("{SMALL}{WRITER}"));
    lab.edit("containers/one/container.toml", "[build.rootfs]", "[snapshot]\nbefore = [\"/bin/true\"]\n[build.rootfs]");
    // It stands on `one`, and would write as that does.
    let sleeps = "command = [\"/bin/sh\", \"-c\", \"trap exit TERM; sleep infinity & wait\"]\ndepends_on";
    lab.edit("containers/two/container.toml", "depends_on", sleeps);
    // Nothing else may run in it: whoever waits for a child to become another program (vfork(2)) looks like one that waits for a disk.
    lab.edit("containers/two/container.toml", "healthcheck = { test = [\"CMD-SHELL\", \"grep -q two /say\"] }\n", "");
    lab.edit("lap.toml", "lab = \"tiny\"\n", "lab = \"tiny\"\n[snapshot]\nkeep = { last = 1 }\n");
    lab.commit();
    lab.lap(&["up"]).ok();
    the_wait_of_the_writers_is_told(&lab);
    let id = a_pause_over_the_limit_refuses_the_snapshot(&lab);
    why_each_stays_and_what_it_holds(&lab);
    a_subvolume_inside_is_kept_and_removed_with_a_snapshot(&lab, &id);
    a_snapshot_is_mounted_read_only(&lab);
}

fn the_wait_of_the_writers_is_told(lab: &Lab) {
    let mut waited = false;
    // A thread that waits for the disk most of the time does so at the moment, sooner or later.
    for _ in 0..40 {
        let said = lab.lap(&["snapshot", "--note", "busy"]).ok();
        assert!(
            said.contains("Slowest write during the snapshot: ") && said.contains("The hook `before` of `one` took ")
        );
        let shown = json(lab, &["snapshot", "show", "latest", "--json"]);
        let pause = &shown["snapshot"]["meta"]["pause"];
        assert!(pause["probe"].as_u64().unwrap() > 0, "{shown}");
        assert_eq!((&pause["hooks"][0]["hook"], &pause["hooks"][0]["failed"]), (&"before".into(), &().into()));
        assert!(pause["containers"].get("two").is_none(), "it only sleeps: {shown}");
        if pause["containers"]["one"].as_u64().is_some() {
            assert!(said.contains("Longest wait for the disk: `one` "), "{said}");
            waited = true;
            break;
        }
        // Each keeps what was written over.
        let id = shown["snapshot"]["meta"]["id"].as_str().unwrap();
        lab.lap(&["snapshot", "rm", "--yes", id]).ok();
    }
    assert!(waited, "`one` writes all the time, and was never seen to wait");
}

/// Returns the newest snapshot.
fn a_pause_over_the_limit_refuses_the_snapshot(lab: &Lab) -> String {
    // Nothing is on a disk within a microsecond: refused. Within a minute it is.
    let refused = lab.lap(&["snapshot", "--max-pause", "1us"]).fails(10);
    assert!(
        refused.contains("no snapshot was taken: writers would wait up to ")
            && refused.contains("longer than the limit of 0.0 ms")
    );
    assert!(lab.lap(&["snapshot", "--max-pause", "soon"]).fails(2).contains("is not a duration"));
    let before = json(lab, &["snapshot", "list", "--json"]).as_array().unwrap().len();
    let said = lab.lap(&["snapshot", "--max-pause", "1m"]).ok();
    assert!(!said.contains("longer than the limit"), "{said}");
    let list = json(lab, &["snapshot", "list", "--json"]);
    assert_eq!(list.as_array().unwrap().len(), before + 1);
    list[0]["meta"]["id"].as_str().unwrap().to_owned()
}

fn why_each_stays_and_what_it_holds(lab: &Lab) {
    let text = lab.lap(&["snapshot", "list"]).ok();
    assert!(text.contains("STAYS") && text.contains("taken by hand; the newest; among the last 1"), "{text}");
    lab.on_node("test", &["sh", "-c", "head -c 3000000 /dev/urandom >/data/two/only && sync"]).ok();
    lab.lap(&["snapshot"]).ok();
    lab.on_node("test", &["sh", "-c", "rm /data/two/only && sync"]).ok();
    let text = lab.lap(&["snapshot", "show", "latest"]).ok();
    // How wide a column is depends on what else is in it.
    let row = text.lines().find(|line| line.starts_with("two")).unwrap_or_default();
    let holds = row.split_whitespace().eq(["two", "2.9", "MiB", "2.9", "MiB"]);
    assert!(text.contains("Stays: ") && text.contains("Running at that time: ") && holds, "{text}");
    assert!(lab.lap(&["snapshot", "show", "20200101-000000"]).fails(2).contains("there is no snapshot"));
}

fn a_subvolume_inside_is_kept_and_removed_with_a_snapshot(lab: &Lab, id: &str) {
    // A subvolume in the data is a snapshot of its own beside the data, and goes with it. So does one that got into a snapshot.
    let subvolumes = || lab.on_node("test", &["btrfs", "subvolume", "list", "/var/lib/lap/pool"]).ok();
    lab.on_node("test", &["btrfs", "subvolume", "create", "/data/two/own"]).ok();
    lab.lap(&["snapshot"]).ok();
    let shown = json(lab, &["snapshot", "show", "latest", "--json"]);
    let newest = shown["snapshot"]["meta"]["id"].as_str().unwrap();
    let beside = format!("snapshots/{newest}/nested/0");
    assert!(subvolumes().contains(&beside), "{}", subvolumes());
    lab.lap(&["snapshot", "rm", "--yes", newest]).ok();
    assert!(!subvolumes().contains(newest), "{}", subvolumes());
    lab.on_node("test", &["btrfs", "subvolume", "delete", "/data/two/own"]).ok();
    let nest = format!(
        "cd /var/lib/lap/pool/snapshots/{id} && btrfs property set -ts data ro false && btrfs subvolume create data/a \
         && btrfs subvolume create data/a/b && btrfs property set -ts data ro true"
    );
    lab.on_node("test", &["sh", "-c", &nest]).ok();
    lab.lap(&["snapshot", "rm", "--yes", id]).ok();
    assert!(!subvolumes().contains(id), "{}", subvolumes());
}

fn a_snapshot_is_mounted_read_only(lab: &Lab) {
    let place = lab.root.join("a place");
    std::fs::create_dir(&place).unwrap();
    lab.on_node("test", &["sh", "-c", "echo then >/data/two/say"]).ok();
    lab.lap(&["snapshot"]).ok();
    lab.on_node("test", &["sh", "-c", "echo now >/data/two/say"]).ok();
    let place = place.to_str().unwrap();
    lab.lap(&["snapshot", "mount", "latest", place]).ok();
    assert_eq!(std::fs::read_to_string(format!("{place}/two/say")).unwrap(), "then\n");
    assert!(std::fs::write(format!("{place}/two/say"), "x").is_err());
    assert!(lab.lap(&["snapshot", "mount", "latest", place]).fails(10).contains("mounted"));
    assert!(lab.lap(&["snapshot", "mount", "20200101-000000", place, "--undo"]).fails(2).contains("has the snapshot"));
    lab.lap(&["snapshot", "mount", "latest", place, "--undo"]).ok();
    assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
    assert!(lab.lap(&["snapshot", "mount", "latest", place, "--undo"]).fails(2).contains("has no snapshot mounted"));
}
