//! Hostile containers on a real node: what they plant in their data leads root nowhere.

use super::lab::{Lab, run, until};

fn node(lab: &Lab, script: &str) -> String {
    lab.on_node("test", &["sh", "-c", script]).ok().trim().to_owned()
}

fn in_two(lab: &Lab, script: &str) -> String {
    node(lab, &format!("docker exec infra_two sh -c '{script}'"))
}

fn id(lab: &Lab) -> String {
    node(lab, "docker inspect --format '{{.Id}}' infra_two")
}

fn boot(lab: &Lab) {
    run("docker", &["kill", &lab.node("test")]).ok();
    run("docker", &["start", &lab.node("test")]).ok();
}

const TWO: &str = "depends_on = [\"one\"]\nhealthcheck = { test = [\"CMD-SHELL\", \"grep -q two /say\"] }\n";
const VOLUME: &str = "volumes = [\"/data/two/files:/files\"]\n";

#[test]
fn a_part_of_the_data_is_mounted_without_following_what_a_container_planted() {
    let lab = Lab::tiny("hostile");
    lab.write("containers/two/container.toml", &format!("{TWO}{VOLUME}"));
    let said = lab.lap(&["up"]);
    assert!(said.code != 0 && said.err.contains("cannot mount `/data/two/files`"), "{}", said.err);
    node(&lab, "mkdir -p /data/two/files && echo own >/data/two/files/say");
    lab.lap(&["up"]).ok();
    assert_eq!(in_two(&lab, "cat /files/say"), "own");

    // What has not changed is not made anew, and a boot mounts it again.
    let before = id(&lab);
    lab.lap(&["up"]).ok();
    assert_eq!(id(&lab), before);
    boot(&lab);
    until("the container runs after the boot", || lab.lap(&["status"]).code == 0);
    assert_eq!((in_two(&lab, "cat /files/say"), id(&lab)), ("own".into(), before.clone()));

    // A restore puts other files there, and the container sees these.
    lab.lap(&["snapshot"]).ok();
    let snapshot = node(&lab, "ls /var/lib/lap/pool/snapshots | tail -1");
    for part in [vec![], vec!["--only", "two"]] {
        in_two(&lab, "echo new >/files/say");
        lab.lap(&[&["restore", "--yes", &snapshot][..], &part].concat()).ok();
        assert_eq!(in_two(&lab, "cat /files/say"), "own", "{part:?}");
    }

    // The container exchanges the directory for a link to what is the node's own.
    in_two(&lab, "mv /data/files /data/moved && ln -s /var/lib/lap/secrets /data/files");
    let image = node(&lab, "docker inspect --format '{{.Image}}' infra_two");
    let control =
        format!("docker run --rm --mount type=bind,source=/data/two/files,target=/x --entrypoint ls {image} /x");
    assert!(node(&lab, &control).contains("one"), "the attack works without the protection");
    let said = lab.lap(&["restart", "test", "two"]);
    assert!(said.code != 0 && said.err.contains("symbolic link"), "{}", said.err);
    boot(&lab);
    until("the agent looked at the mounts", || {
        lab.on_node("test", &["sh", "-c", "docker ps --quiet --filter name=infra_one | grep ."]).code == 0
    });
    let runs = lab.on_node("test", &["sh", "-c", "docker exec infra_two ls /files"]);
    assert!(!runs.out.contains("one"), "{}", runs.out);
    assert_ne!(lab.lap(&["status"]).code, 0);

    // When the link is gone, all is well again.
    node(&lab, "rm /data/two/files && mv /data/two/moved /data/two/files");
    lab.lap(&["up"]).ok();
    until("the container runs again", || lab.lap(&["status"]).code == 0);
    assert_eq!(in_two(&lab, "cat /files/say"), "own");

    // A mount that no container uses any more is removed.
    lab.write("containers/two/container.toml", TWO);
    lab.lap(&["up"]).ok();
    lab.lap(&["prune", "--yes"]).ok();
    assert_eq!(node(&lab, "ls /var/lib/lap/binds; grep -c lap/binds /proc/self/mountinfo || true"), "0");
}

#[test]
fn a_registry_that_plants_links_moves_nothing_of_others() {
    let lab = Lab::with_registry("planted");
    lab.lap(&["up"]).ok();
    node(&lab, "mkdir -p /data/one/keys && echo secret >/data/one/keys/host");
    let one = || node(&lab, "cd /data/one && find . -type f -exec grep -H . {} +");
    let before = one();
    let repositories = "/data/registry/docker/registry/v2/repositories";
    node(&lab, &format!("mkdir -p /data/registry/.lap-prune {repositories}/infra"));
    node(&lab, "ln -s ../../one /data/registry/.lap-prune/blobs");
    node(&lab, &format!("cd {repositories}/infra && ln -s . a && ln -s . b && ln -s . c"));
    boot(&lab);
    until("the registry runs after the boot", || lab.lap(&["status"]).code == 0);
    let said = lab.lap(&["prune", "--yes", "--grace", "0s"]);
    assert!(said.code != 0 && said.out.contains("FAILED"), "{}{}", said.out, said.err);
    assert_eq!(one(), before);
    // Without the links nothing is in the way.
    node(&lab, &format!("rm {repositories}/infra/a {repositories}/infra/b {repositories}/infra/c"));
    lab.lap(&["prune", "--yes", "--grace", "0s"]).ok();
    assert_eq!(one(), before);
    assert_eq!(node(&lab, "ls -A /data | grep lap-prune || true"), "");
}
