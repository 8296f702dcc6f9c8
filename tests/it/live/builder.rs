//! A node that makes images for the master of its environment.

use super::lab::{Lab, run};

const NODE: &str = "environment = \"test\"\nrole = \"builder\"\ndisk = \"1g\"\n";

fn lab(name: &str) -> Lab {
    let lab = Lab::with_registry(name);
    lab.write("nodes/maker/node.toml", NODE);
    lab.commit();
    lab
}

/// The images of the lab on a node, with what nothing is called by any more.
fn images(lab: &Lab, node: &str, filter: &str) -> Vec<String> {
    let format = "{{.Repository}} {{.ID}}";
    let said = lab.on_node(node, &["docker", "images", "--no-trunc", "--filter", filter, "--format", format]).ok();
    let mut lines: Vec<String> =
        said.lines().filter(|line| !line.starts_with("localhost:")).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn makes_what_the_master_runs() {
    let lab = lab("builder");
    let said = lab.lap(&["up"]).ok();
    assert!(said.contains("`test` is up"), "{said}");
    lab.healthy();
    // The same images, byte for byte, and nothing was made where they run.
    let made = images(&lab, "maker", "label=lap.build");
    assert_eq!(made.len(), 3, "{made:?}");
    assert_eq!(images(&lab, "test", "label=lap.build"), made);
    let intermediate = |node: &str| lab.on_node(node, &["docker", "images", "--all", "--quiet"]).ok().lines().count();
    assert!(intermediate("maker") > 3);
    assert_eq!(intermediate("test"), lab.on_node("test", &["docker", "images", "--quiet"]).ok().lines().count());
    assert!(lab.lap(&["up"]).ok().contains("Nothing to do"));

    // A change: made there, brought, and what it replaces is not kept there.
    lab.edit("containers/two/Dockerfile", "echo two", "echo two too");
    lab.commit();
    let plan = lab.lap(&["up", "--dry-run"]).ok();
    assert!(plan.contains("build `two` on `maker`") && plan.contains("send the image of `two` from `maker`"), "{plan}");
    lab.lap(&["up"]).ok();
    lab.healthy();
    assert_eq!(lab.lap(&["exec", "two", "--", "cat", "/say"]).ok(), "two too\n");
    assert_eq!(images(&lab, "maker", "dangling=true"), Vec::<String>::new());

    // Who operates the lab may log in there, too, and whom lap.toml names no more may not.
    let lap = std::fs::read_to_string(lab.root.join("lap.toml")).unwrap();
    let key = lab.root.join(".lap/anna");
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "anna", "-f", key.to_str().unwrap()]).ok();
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    lab.write("lap.toml", &format!("{lap}[operators]\nanna = \"{}\"\n", public.trim()));
    let admitted = || lab.on_node("maker", &["cat", "/var/lib/lap/ssh/authorized_keys"]).ok().contains(" anna\n");
    assert!(!admitted());
    lab.lap(&["up"]).ok();
    assert!(admitted());
    lab.write("lap.toml", &lap);
    assert!(lab.lap(&["status"]).fails(7).contains("`test` still admits `anna` (SHA256:"));
    lab.lap(&["up"]).ok();
    assert!(!admitted());
    lab.healthy();

    // One that does not run is started.
    run("docker", &["stop", "--time", "0", &lab.node("maker")]).ok();
    assert!(lab.lap(&["up", "--dry-run"]).ok().contains("start the node `maker`"));
    lab.lap(&["up"]).ok();
    lab.healthy();

    // One that is new has nothing, and makes only what is needed.
    run("docker", &["rm", "--force", "--volumes", &lab.node("maker")]).ok();
    lab.edit("containers/one/say", "one", "another one");
    lab.commit();
    lab.lap(&["up"]).ok();
    lab.healthy();
    assert_eq!(lab.lap(&["exec", "one", "--", "cat", "/say"]).ok(), "another one\n");
}

/// A step back in history: what stands on an image stands on the one that is desired, not on the one that was built last.
#[test]
fn an_older_base_is_the_older_base() {
    let lab = Lab::with_registry("older-base");
    let file = "containers/two/Dockerfile";
    lab.edit(file, "RUN echo two > /say", "RUN cp /say /under; echo two > /say");
    lab.commit();
    lab.lap(&["up"]).ok();
    lab.edit("containers/one/say", "one", "newer");
    lab.commit();
    lab.lap(&["up"]).ok();
    assert_eq!(lab.lap(&["exec", "two", "--", "cat", "/under"]).ok(), "newer\n");
    lab.edit("containers/one/say", "newer", "one");
    lab.edit(file, "echo two > /say", "echo two again > /say");
    lab.commit();
    lab.lap(&["up"]).ok();
    lab.healthy();
    assert_eq!(lab.lap(&["exec", "two", "--", "cat", "/under", "/say"]).ok(), "one\ntwo again\n");
}
