//! A container makes a btrfs subvolume in its data, which takes no right: nothing refuses because of it, and its content comes back.

use super::{
    lab::Lab,
    promote::{change_two, in_prod, prod, says, until_healthy},
};

const LAYERS: &str = "/data/two/layers";

/// As a program in a container does: no user of the node's, and no capability.
fn make(lab: &Lab, name: &str) {
    let user = "setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --inh-caps=-all";
    prod(lab, &format!("{user} btrfs subvolume create {LAYERS}/{name} && echo {name} >{LAYERS}/{name}/file && sync"));
}

/// Every file in there, and which of the directories are subvolumes.
fn layers(lab: &Lab) -> String {
    prod(lab, &format!("cd {LAYERS} && stat --format '%n %i' * | grep ' 256$'; grep -H . */file"))
}

#[test]
fn a_subvolume_in_the_data_is_in_nobodys_way() {
    let lab = Lab::two_environments("nested");
    lab.edit("containers/two/container.toml", "grep -q two /say", "test ! -e /data/broken");
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    prod(&lab, &format!("mkdir -p /data/one {LAYERS} && chown 1000 {LAYERS}"));
    make(&lab, "a");
    let old = layers(&lab);
    assert_eq!(old, "a 256\na/file:a");

    // A snapshot holds it, and a restore brings it back.
    lab.lap(&["snapshot", "prod"]).ok();
    let shown = lab.lap(&["snapshot", "show", "latest", "--env", "prod"]).ok();
    assert!(shown.contains("Subvolumes that containers made") && shown.contains("`two/layers/a`"), "{shown}");
    let id = prod(&lab, "ls /var/lib/lap/pool/snapshots");
    prod(&lab, &format!("echo changed >{LAYERS}/a/file"));
    make(&lab, "b");
    let changed = layers(&lab);
    lab.lap(&["restore", "--yes", &id, "prod"]).ok();
    assert_eq!(layers(&lab), old);
    until_healthy(&lab);
    let kept = prod(&lab, "ls /var/lib/lap/pool/snapshots | tail -1");
    lab.lap(&["restore", "--yes", &kept, "prod", "--only", "two"]).ok();
    assert_eq!(layers(&lab), changed);
    lab.lap(&["restore", "--yes", &id, "prod", "--only", "two"]).ok();
    assert_eq!(layers(&lab), old);

    // A release makes one, and comes to nothing: all of it is taken back, and what it left is kept.
    let falls = "while test ! -e /data/spoiled; do sleep 0.1; done; exit 1";
    change_two(&lab, "fails", &in_prod(&format!("touch /data/broken; {falls}")));
    prod(&lab, "echo 'pause wait until `two` is healthy' >/run/lap/die-at");
    let mut promoting = lab.start(&["promote", "--yes", "--settle", "0s"]);
    promoting.until_reached(&lab, "prod", "wait until `two` is healthy");
    make(&lab, "c");
    prod(&lab, &format!("echo spoiled >{LAYERS}/a/file; touch /data/two/spoiled; rm /run/lap/reached"));
    promoting.end().fails(7);
    assert_eq!((says(&lab, "two").as_str(), layers(&lab)), ("two", old.clone()));
    let left = prod(&lab, "cat /var/lib/lap/pool/snapshots/*/nested/*/file");
    assert!(left.contains("spoiled") && left.lines().any(|line| line == "c"), "{left}");
    until_healthy(&lab);

    // One that is well, and the way back from it.
    change_two(&lab, "new", &in_prod("echo new >/data/layers/a/file"));
    lab.lap(&["promote", "--yes", "--settle", "0s"]).ok();
    assert_ne!(layers(&lab), old);
    lab.lap(&["rollback", "--yes", "--settle", "0s"]).ok();
    assert_eq!((says(&lab, "two").as_str(), layers(&lab)), ("two", old));
    until_healthy(&lab);
    let left = prod(&lab, "ls -A /var/lib/lap/pool /var/lib/lap/pool/snapshots /var/lib/lap/pool/state");
    assert!(!left.contains(".new-") && !left.contains("lap-new") && !left.contains("switch.json"), "{left}");
}
