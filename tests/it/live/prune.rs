//! What nothing needs is removed from two real nodes, killed at each step; what stays still does all it is there for.

use super::{
    lab::Lab,
    promote::{change_two, in_prod, prod, says, until_healthy},
    working,
};

const PROMOTE: [&str; 4] = ["promote", "--yes", "--settle", "0s"];
const PRUNE: [&str; 5] = ["prune", "prod", "--yes", "--grace", "0s"];

/// Each has something to do here.
const STEPS: [&str; 10] = [
    "list what exists",
    "remove releases",
    "remove snapshots",
    "remove containers",
    "remove images",
    "remove files",
    "remove images from the registry",
    "set layers aside",
    "wait for pushes that rely on them",
    "remove layers",
];

/// What runs in prod becomes a part of its registry, under the name that its release says.
fn push_two(lab: &Lab) {
    let json = lab.lap(&["status", "prod", "--json"]).ok();
    assert!(json.contains("two"), "{json}");
    let commit = prod(lab, "docker inspect --format '{{index .Config.Labels \"lap.commit\"}}' infra_two");
    let image = prod(lab, "docker inspect --format '{{.Image}}' infra_two");
    lab.push_image("prod", &image, &format!("infra/{commit}/two"));
}

/// Every image of every repository, by digest, from the registry's own files.
fn in_registry(lab: &Lab, node: &str) -> Vec<String> {
    let find =
        "cd /data/registry/docker/registry/v2/repositories && find . -path '*_manifests/revisions/sha256/*/link'";
    let found = lab.on_node(node, &["sh", "-c", find]).ok();
    let name = |line: &str| {
        let (repository, rest) = line.trim_start_matches("./").split_once("/_manifests/")?;
        let hex = rest.split('/').nth(2)?;
        Some(format!("localhost:5000/{repository}@sha256:{hex}"))
    };
    found.lines().filter_map(name).collect()
}

/// Begins one that dies before `step`; then all is well by itself.
fn kill_at(lab: &Lab, node: bool, step: &str) {
    let at = if node { format!("node {step}") } else { step.to_owned() };
    working::kill_at(lab, "prod", &at, &[&PRUNE[..], &["--wait"]].concat());
    until_healthy(lab);
}

#[test]
fn what_stays_is_whole_wherever_it_is_killed() {
    let lab = Lab::two_environments("prune");
    lab.take_registry();
    lab.edit("lap.toml", "default = \"test\"\n", "default = \"test\"\n[promote]\nkeep = 2\nkeep_failed = \"0d\"\n");
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    for text in ["second", "third", "fourth"] {
        change_two(&lab, text, &format!("echo {text} >/data/file"));
        lab.write("env/prod/env.toml", &format!("description = \"{text}\"\npromote_from = \"test\"\n"));
        lab.commit();
        lab.lap(&["up"]).ok();
        lab.lap(&PROMOTE).ok();
        push_two(&lab);
    }
    change_two(&lab, "ends", &in_prod("echo spoiled >/data/file; exit 3"));
    lab.lap(&PROMOTE).fails(7);
    // What a container of an earlier release left, and a build that failed.
    prod(&lab, "docker create --name infra_old --label lap.container=old infra/one true");
    let build =
        "printf 'FROM infra/one\\nRUN echo half >/half\\nRUN false\\n' | docker build --quiet --force-rm - || true";
    prod(&lab, build);
    lab.on_node("test", &["sh", "-c", build]).ok();
    assert_eq!((says(&lab, "two").as_str(), prod(&lab, "cat /data/two/file").as_str()), ("two, fourth", "fourth"));

    // A look changes nothing, and somebody has to say yes.
    let before = (in_registry(&lab, "prod"), prod(&lab, "docker images --all --quiet | sort; ls /var/lib/lap/env"));
    let would = lab.lap(&["prune", "prod", "--dry-run", "--grace", "0s"]).ok();
    assert!(lab.lap(&["prune", "prod", "--grace", "0s"]).fails(2).contains("answer the question with `--yes`"));
    assert_eq!(before.0, in_registry(&lab, "prod"));
    assert_eq!(before.1, prod(&lab, "docker images --all --quiet | sort; ls /var/lib/lap/env"));
    for (kind, name, verdict, why) in [
        ("release", "1 ", "goes", "not among the newest 2"),
        ("release", "3 ", "stays", "the one before the running one"),
        ("release", "4 ", "stays", "it runs"),
        ("snapshot", "", "goes", "the data of a failed release"),
        ("snapshot", "", "stays", "the data for a rollback to release 3"),
        ("container", "infra_old", "goes", "and should not run"),
        ("image", "", "goes", "remains of a build"),
        ("image", "", "stays", "for release 3, snapshot "),
        ("files", "env/", "goes", "no kept item needs it"),
        ("registry", "infra/", "goes", "no kept item needs it"),
        ("layers", "", "goes", "no image in the registry names them"),
    ] {
        let one = |line: &str| {
            line.starts_with(kind)
                && line[kind.len()..].trim_start().starts_with(name)
                && line.contains(verdict)
                && line.contains(why)
        };
        assert!(would.lines().any(one), "{kind} {name} {verdict} {why}:\n{would}");
    }
    // What came lately stays.
    let young = lab.lap(&["prune", "prod", "--dry-run"]).ok();
    assert!(!young.lines().any(|line| line.starts_with("registry") && line.contains("goes")), "{young}");

    for step in STEPS {
        for node in [false, true] {
            kill_at(&lab, node, step);
            assert_eq!(says(&lab, "two"), "two, fourth", "killed at {step}");
            let list = lab.lap(&["release", "list"]).ok();
            assert!(list.lines().any(|line| line.starts_with("3 ")) && list.contains("runs"), "{step}: {list}");
        }
    }
    let done = lab.lap(&PRUNE).ok();
    assert!(!done.contains("FAILED"), "{done}");
    let again = lab.lap(&PRUNE).ok();
    assert!(again.contains("Nothing to remove."), "{again}");
    assert_eq!(lab.lap(&["release", "list"]).ok().lines().count(), 3, "a heading, 3 and 4");
    assert_eq!(prod(&lab, "ls /var/lib/lap/env | wc -l"), "2");
    assert_eq!(prod(&lab, "ls -A /data/registry"), "docker", "nothing is left aside");
    let names = prod(&lab, "docker ps --all --format '{{.Names}}' | sort | xargs");
    assert_eq!(names, "infra_one infra_registry infra_two");

    // Everything that is left can be had: by digest, from nothing but the registry; and each release comes back with its data.
    let left = in_registry(&lab, "prod");
    assert!(left.len() < before.0.len() && left.iter().any(|name| name.contains("/two@")), "{left:?}");
    for name in left {
        prod(&lab, &format!("docker pull --quiet {name}"));
    }
    for (release, text) in [("3", "third"), ("4", "fourth")] {
        lab.lap(&["rollback", release, "--yes", "--settle", "0s"]).ok();
        assert_eq!(says(&lab, "two"), format!("two, {text}"));
        assert_eq!(prod(&lab, "cat /data/two/file"), text);
        until_healthy(&lab);
    }

    // In an environment that has no releases, what runs stays.
    let done = lab.lap(&["prune", "--yes", "--grace", "0s"]).ok();
    assert!(done.lines().any(|line| line.starts_with("registry") && line.contains("removed")), "{done}");
    for name in in_registry(&lab, "test") {
        lab.on_node("test", &["docker", "pull", "--quiet", &name]).ok();
    }
    assert!(lab.lap(&["up"]).ok().contains("Nothing to do"));
    lab.lap(&["status"]).ok();
    change_two(&lab, "fifth", "true");
    lab.lap(&PROMOTE).ok();
    assert_eq!(says(&lab, "two"), "two, fifth");
}
