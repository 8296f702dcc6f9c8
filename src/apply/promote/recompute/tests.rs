use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::*;
use crate::{
    apply::{checkout::fresh, options::short},
    release::{desired_state::DesiredState, manifest::ReleaseManifest},
    wire::protocol::ImageFact,
};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn git(root: &Path, arguments: &[&str]) {
    let who = ["-c", "user.name=t", "-c", "user.email=t@internal"];
    let output = Command::new("git").args(who).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A workspace in a directory of a larger repository, committed.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { dir: tempfile::tempdir().unwrap() };
        let root = lab.root();
        let rootfs = Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes/rootfs.toml");
        write(&root, "nodes/rootfs.toml", &fs::read_to_string(rootfs).unwrap());
        write(&root, "lap.toml", "lab = \"x\"\n[grants]\nweb = [\"/srv\"]\n");
        write(&root, "env/test/env.toml", "description = \"small\"\n");
        write(&root, "nodes/test/node.toml", "environment = \"test\"\nrole = \"master\"\naddress = \".10\"\n");
        write(&root, "containers/base/Dockerfile", "FROM debian:12\n");
        write(&root, "containers/base/container.toml", "scale = 0\n");
        write(&root, "containers/web/Dockerfile", "FROM infra/base\n");
        write(
            &root,
            "containers/web/container.toml",
            "ports = [\"80:80\"]\nvolumes = [\"/srv:/srv:ro\"]\n[build.args]\nA = \"1\"\n",
        );
        write(&root, "containers/web/checks/answers", "#!/bin/sh\n");
        write(&root, "containers/dns/Dockerfile", "FROM scratch\nCOPY lap /lap\n");
        write(&root, "containers/dns/container.toml", "[build]\nwith_lap = true\n");
        write(lab.dir.path(), ".gitignore", "*.cache\n");
        git(lab.dir.path(), &["init", "--quiet"]);
        git(lab.dir.path(), &["add", "--all"]);
        git(lab.dir.path(), &["commit", "--quiet", "--message=x"]);
        lab
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("office/lab")
    }

    fn open(&self) -> Workspace {
        Workspace::at(&self.root(), None).unwrap()
    }

    /// What `lap up` records, on a node that has this image of Debian.
    fn runs(&self, debian: &str) -> ReleaseManifest {
        let facts = node(debian);
        let desired = tree(&self.open().lab, "test", |image| bases::id(&facts, image)).unwrap().desired;
        let DesiredState { commit, containers, images, env, checks, release } = desired;
        ReleaseManifest { commit, containers, images, env, checks, release, by: "anna".into(), at: 1 }
    }

    fn recompute(&self, runs: &ReleaseManifest, makers: &[Option<&NodeFacts>]) -> Result<Recomputed> {
        let here = self.open();
        let (at, _checkout) = fresh(&here, &runs.commit)?;
        recompute(&here, &at, "test", runs, makers)
    }
}

fn node(debian: &str) -> NodeFacts {
    let image = ImageFact { id: debian.into(), tags: vec!["debian:12".into()], digests: Vec::new(), build: None };
    NodeFacts { images: vec![image], ..NodeFacts::default() }
}

#[test]
fn what_up_and_a_push_record_is_what_the_commit_says() {
    let lab = Lab::new();
    let (runs, facts) = (lab.runs("sha256:1"), node("sha256:1"));
    let found = lab.recompute(&runs, &[Some(&facts)]).unwrap();
    assert!(found.unsure.is_empty());
    let all = DesiredState { release: None, ..found.desired };
    assert!(all.is(&runs) && all.containers == runs.containers);
    // A push is built from a checkout.
    let (at, _checkout) = fresh(&lab.open(), &runs.commit).unwrap();
    let pushed = tree(&at.lab, "test", |image| bases::id(&facts, image)).unwrap().desired;
    assert!(pushed.is(&runs));
    // A lap from before did not write some keys, one from later writes more.
    let mut older = serde_json::to_value(&runs).unwrap();
    let web = older["containers"]["web"].as_object_mut().unwrap();
    web.remove("snapshot");
    web.remove("checks");
    lab.recompute(&serde_json::from_value(older).unwrap(), &[Some(&facts)]).unwrap();
    let mut later = serde_json::to_value(&runs).unwrap();
    later["containers"]["web"]["weight"] = json!(3);
    later["parts"] = json!({});
    lab.recompute(&serde_json::from_value(later).unwrap(), &[Some(&facts)]).unwrap();
}

#[test]
fn every_difference_is_refused_by_name() {
    let lab = Lab::new();
    let (runs, facts) = (lab.runs("sha256:1"), node("sha256:1"));
    let digest = format!("sha256:{}", "a".repeat(64));
    let reference = |path: &str| json!(format!("{REGISTRY_ADDRESS}/{path}@{digest}"));
    let web = |key: &'static str, value: Value| (format!("/containers/web/{key}"), value, format!("`web`: {key}"));
    let image = |container: &str, key: &str, value: Value, told: &str| {
        (format!("/images/{container}/{key}"), value, format!("`{container}`: {told}"))
    };
    for (pointer, value, told) in [
        web("privileged", json!(true)),
        web("volumes", json!([{ "source": "/", "target": "/host", "read_only": false }])),
        web("cap_add", json!(["SYS_ADMIN"])),
        web("network_mode", json!("host")),
        web("command", json!(["sh"])),
        web("secrets", json!(["keys.json"])),
        web("user", json!("root")),
        web("environment", json!({ "LD_PRELOAD": "/x" })),
        web("checks", json!({ "image": "base", "timeout": { "secs": 1, "nanos": 0 } })),
        web("build", json!({ "args": {}, "with_lap": false, "rootfs": null, "parents": ["base"] })),
        ("/checks".into(), json!("0"), "`checks`".into()),
        ("/env".into(), json!("0"), "`env`".into()),
        image("web", "build", json!("0".repeat(32)), "image"),
        image("base", "build", json!("0".repeat(32)), "image"),
        image("dns", "build", json!("../x"), "image"),
        image("web", "parents", json!([]), "its image"),
        image("web", "reference", reference("infra/c/other"), "its image"),
        image("web", "reference", reference("infra/../web"), "its image"),
        image("web", "reference", json!("registry.example.org/infra/c/web@sha256:0"), "its image"),
    ] {
        let mut forged = serde_json::to_value(&runs).unwrap();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = if parent.is_empty() { &mut forged } else { forged.pointer_mut(parent).unwrap() };
        assert_ne!(parent[key], value, "{pointer}");
        parent[key] = value;
        let error = lab.recompute(&serde_json::from_value(forged).unwrap(), &[Some(&facts)]).err().expect(&pointer);
        let want = format!("`test` does not run what commit {} says: {told}", short(&runs.commit));
        assert_eq!((error.kind, error.message.as_str()), (Kind::Refused, want.as_str()), "{pointer}");
    }
    // Whole containers, and several differences at once.
    let mut forged = runs.clone();
    let mut evil = forged.containers.remove("web").unwrap();
    evil.name = "evil\u{1b}[2K".into();
    forged.containers.insert(evil.name.clone(), evil);
    forged.images.remove("base");
    let error = lab.recompute(&forged, &[Some(&facts)]).err().unwrap();
    let want = "`base`: image; `evil\\u{1b}[2K`: the commit has no such container; `web`: missing there";
    assert!(error.message.ends_with(want), "{error}");
    // References that a registry of lap's gives are as good as none.
    let mut right = serde_json::to_value(&runs).unwrap();
    right["images"]["web"]["reference"] = reference("infra/0a-dirty-1/web");
    lab.recompute(&serde_json::from_value(right).unwrap(), &[Some(&facts)]).unwrap();
}

#[test]
fn an_image_counts_as_recomputed_only_where_all_it_is_made_from_is_known() {
    let lab = Lab::new();
    let runs = lab.runs("sha256:1");
    let (same, other, none) = (node("sha256:1"), node("sha256:2"), NodeFacts::default());
    let unsure = |makers: &[Option<&NodeFacts>]| -> Vec<String> {
        lab.recompute(&runs, makers).map(|found| found.unsure.into_iter().collect()).unwrap_or(vec!["refused".into()])
    };
    assert_eq!(unsure(&[Some(&same)]), [""; 0]);
    assert_eq!(unsure(&[Some(&other)]), ["refused"], "what it stands on is another one now");
    assert_eq!(unsure(&[Some(&other), Some(&same)]), [""; 0], "the builder made it");
    for makers in [&[Some(&none)][..], &[None], &[Some(&other), None], &[Some(&other), Some(&none)]] {
        assert_eq!(unsure(makers), ["base", "web"], "the same name may have been another image then");
    }
    // Another lap made it.
    let mut another = runs.clone();
    another.images.get_mut("dns").unwrap().build = "1".repeat(32);
    let found = lab.recompute(&another, &[Some(&same)]).unwrap();
    assert_eq!(found.unsure.into_iter().collect::<Vec<_>>(), ["dns"]);
}

#[test]
fn a_file_that_git_ignores_is_named() {
    let lab = Lab::new();
    write(&lab.root(), "containers/web/left.cache", "x");
    let (runs, facts) = (lab.runs("sha256:1"), node("sha256:1"));
    let error = lab.recompute(&runs, &[Some(&facts)]).err().unwrap();
    assert!(error.message.ends_with("says: `web`: image"), "{error}");
    assert!(
        error.hints.iter().any(|hint| hint.starts_with("`containers/web/left.cache` is in this working tree")),
        "{error:?}"
    );
}
