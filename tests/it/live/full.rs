//! The workspace that `lap init` makes, as a person would use it.

use std::{fs, process::Command};

use super::lab::{Lab, Ran, run};

#[test]
fn a_working_lab() {
    let lab = Lab::full("full");
    let out = lab.lap(&["up"]).ok();
    assert!(out.contains("`test` is up"), "{out}");
    for container in ["artifact", "cache", "dns", "git", "maven", "registry"] {
        let row = out.lines().find(|line| line.starts_with(container)).unwrap_or_default();
        assert!(row.ends_with("healthy") && row.contains("running"), "{container}: {out}");
    }
    lab.healthy();
    nothing_to_do(&lab);
    let address = lab.address("test");
    the_hints_work_as_printed(&lab, &out);
    let mirror = mirror(&lab);
    names(&address, &mirror);
    git(&lab, &address);
    registry(&lab, &address);
    artifact_and_maven(&lab, &address);
    cache(&address, &mirror);
    checks(&lab);
    comes_back(&lab);
    a_stopped_container_is_seen_and_mended(&lab);
    only_what_changed_is_replaced(&lab);
    data_survives(&lab, &address);
    looking_inside(&lab);
    seed(&lab);
    production_beside_it(&lab);
}

fn nothing_to_do(lab: &Lab) {
    let before = lab.on_node("test", &["docker", "ps", "--quiet", "--no-trunc"]).ok();
    let out = lab.lap(&["up"]).ok();
    assert!(out.starts_with("Nothing to do: 6 containers run and are healthy"), "{out}");
    assert_eq!(lab.lap(&["up", "--dry-run"]).ok().lines().next(), Some("Nothing to do."));
    assert_eq!(lab.on_node("test", &["docker", "ps", "--quiet", "--no-trunc"]).ok(), before);
}

/// Each line is run by a shell in the workspace; `sudo lap keys trust && docker pull` would change this machine, so
/// that one is tried with curl against the same registry, with the certificate it would install.
fn the_hints_work_as_printed(lab: &Lab, out: &str) {
    fs::write(lab.root.join("README.md"), "a file to put\n").unwrap();
    let hints: Vec<&str> = out.lines().skip_while(|line| *line != "Try next:").skip(1).map(str::trim).collect();
    assert_eq!(hints.len(), 3, "{out}");
    for hint in hints.iter().filter(|hint| !hint.contains("keys trust")) {
        let output = Command::new("bash").args(["-c", hint]).current_dir(&lab.root).output().unwrap();
        assert!(output.status.success(), "{hint}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(lab.root.join("hello/.git").is_dir());
    fs::remove_dir_all(lab.root.join("hello")).unwrap();
    fs::remove_file(lab.root.join("README.md")).unwrap();
    let pull = hints[1].rsplit(' ').next().unwrap();
    let (registry, repository) = pull.split_once('/').unwrap();
    let url = format!("https://{registry}/v2/{repository}/tags/list");
    assert!(curl(lab, &[&url]).ok().contains("latest"));
}

/// Each container's own, after they were used; and they see what is wrong.
fn checks(lab: &Lab) {
    let out = lab.lap(&["check"]).ok();
    assert_eq!(out.lines().filter(|line| line.contains("  ok  ")).count(), 7, "{out}");
    lab.on_node(
        "test",
        &["sh", "-c", "mkdir -p /data/git/repositories/a.git && echo x >/data/git/repositories/a.git/HEAD"],
    )
    .ok();
    let failed = lab.lap(&["check", "git", "dns"]);
    assert!(
        failed.code == 7 && failed.err.contains("1 of 3 checks failed: `repositories-are-whole` of `git`"),
        "{failed:?}"
    );
    assert!(failed.out.contains("| /data/repositories/a.git cannot be read"), "{}", failed.out);
    lab.on_node("test", &["rm", "-r", "/data/git/repositories/a.git"]).ok();
}

/// Its newest copy makes a second lab of the same containers that is healthy and passes every check.
fn comes_back(lab: &Lab) {
    let disk = tempfile::tempdir().unwrap();
    let (repository, passphrase) = (disk.path().join("repository"), disk.path().join("passphrase"));
    fs::write(&passphrase, "a good passphrase\n").unwrap();
    let (repository, passphrase) = (repository.to_str().unwrap(), passphrase.to_str().unwrap());
    lab.lap(&["repository", "init", repository, "--passphrase-file", passphrase]).ok();
    lab.lap(&["snapshot"]).ok();
    lab.lap(&["snapshot", "copy", "--to", repository]).ok();
    let said = lab.lap(&["recover", "--drill", "--from", repository]).ok();
    assert!(said.contains("Recovered `test` from ") && said.contains("healthy, 7 checks passed"), "{said}");
}

fn dig(address: &str, arguments: &[&str]) -> String {
    let server = format!("@{address}");
    let mut all = vec!["+short", "+time=20", server.as_str()];
    all.extend(arguments);
    run("dig", &all).ok().trim().to_owned()
}

fn names(address: &str, mirror: &str) {
    for name in ["git.internal", "git.test.internal", "docker.internal", "ubuntu.cache.internal", "test.node.internal"]
    {
        assert_eq!(dig(address, &[name]), address, "{name}");
    }
    assert_eq!(dig(address, &["+tcp", "maven.internal"]), address);
    assert_eq!(dig(address, &["-x", address]), "test.node.internal.");
    assert!(run("dig", &[&format!("@{address}"), "nothing.internal"]).ok().contains("status: NXDOMAIN"));
    assert!(!dig(address, &[mirror.split('/').next().unwrap()]).is_empty(), "what is not ours is forwarded");
}

fn git(lab: &Lab, address: &str) {
    let (key, known) = (lab.root.join(".lap/keys/admin"), lab.root.join(".lap/known_hosts"));
    let ssh = format!(
        "ssh -F none -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={}",
        key.display(),
        known.display()
    );
    let git = |directory: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@internal"]).args(arguments);
        let output = command.current_dir(directory).env("GIT_SSH_COMMAND", &ssh).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let dir = tempfile::tempdir().unwrap();
    let url = format!("ssh://git@{address}:2200/team/project");
    git(dir.path(), &["clone", "--quiet", &url, "one"]);
    let one = dir.path().join("one");
    fs::write(one.join("file"), "kept\n").unwrap();
    git(&one, &["add", "file"]);
    git(&one, &["commit", "--quiet", "--message=first"]);
    git(&one, &["push", "--quiet", "origin", "HEAD:master"]);
    git(dir.path(), &["clone", "--quiet", &url, "two"]);
    assert_eq!(fs::read_to_string(dir.path().join("two/file")).unwrap(), "kept\n");
    // Nobody without the key.
    let other = Command::new("git")
        .args(["ls-remote", &url])
        .env(
            "GIT_SSH_COMMAND",
            format!("ssh -F none -o BatchMode=yes -o IdentityFile=/dev/null -o UserKnownHostsFile={}", known.display()),
        )
        .output()
        .unwrap();
    assert!(!other.status.success());
}

fn registry(lab: &Lab, address: &str) {
    let image = "localhost:5000/team/thing:1";
    lab.on_node("test", &["docker", "tag", "infra/base", image]).ok();
    assert_ne!(lab.on_node("test", &["docker", "push", "--quiet", image]).code, 0, "port 5000 is for reading");
    lab.on_node("test", &["docker", "rmi", image]).ok();
    lab.push_image("test", "infra/base", "team/thing:1");
    let listed = curl(lab, &[&format!("https://{address}:5000/v2/team/thing/tags/list")]).ok();
    assert!(listed.contains("\"1\""), "{listed}");
    // Without the lab's root nobody believes it.
    assert_ne!(run("curl", &["--silent", &format!("https://{address}:5000/v2/")]).code, 0);
}

fn curl(lab: &Lab, arguments: &[&str]) -> Ran {
    let root = lab.root.join(".lap/keys/root.crt");
    let mut all = vec!["--silent", "--show-error", "--fail", "--cacert", root.to_str().unwrap()];
    all.extend(arguments);
    run("curl", &all)
}

fn artifact_and_maven(lab: &Lab, address: &str) {
    let file = lab.root.join(".lap/thing.bin");
    fs::write(&file, b"\0\x01thing").unwrap();
    let netrc = lab.root.join(".lap/test.netrc");
    let (file, netrc) = (file.to_str().unwrap(), netrc.to_str().unwrap());
    for url in [
        format!("https://{address}:8443/build/1/thing.bin"),
        format!("https://{address}:8444/releases/internal/demo/thing/1.0/thing-1.0.jar"),
    ] {
        assert_ne!(curl(lab, &["--upload-file", file, &url]).code, 0, "{url}: nobody without the password");
        curl(lab, &["--netrc-file", netrc, "--upload-file", file, &url]).ok();
        assert_eq!(curl(lab, &[&url]).ok(), "\0\x01thing");
    }
    let release = format!("https://{address}:8444/releases/internal/demo/thing/1.0/thing-1.0.jar");
    assert_ne!(
        curl(lab, &["--netrc-file", netrc, "--upload-file", file, &release]).code,
        0,
        "a release stays as it is"
    );
}

/// Where the node's own packages came from, without `http://`.
fn mirror(lab: &Lab) -> String {
    let sources =
        lab.on_node("test", &["sh", "-c", "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null"]).out;
    let url = sources.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect("an http mirror");
    url.trim_end_matches('/').to_owned()
}

fn cache(address: &str, mirror: &str) {
    let url = format!("http://{address}:3142/{mirror}/dists/bookworm/InRelease");
    let out = run("curl", &["--silent", "--show-error", "--fail", &url]).ok();
    assert!(out.contains("Codename: bookworm"));
}

fn a_stopped_container_is_seen_and_mended(lab: &Lab) {
    lab.on_node("test", &["docker", "stop", "infra_git"]).ok();
    let said = lab.lap(&["status"]).fails(7);
    assert!(said.contains("not healthy: `git`"), "{said}");
    let out = lab.lap(&["up", "--dry-run"]).ok();
    assert!(out.contains("replace `git`") && out.contains("it is exited"), "{out}");
    lab.lap(&["up"]).ok();
    lab.healthy();
}

fn only_what_changed_is_replaced(lab: &Lab) {
    let ids = || lab.on_node("test", &["docker", "ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}"]).ok();
    let before = ids();
    lab.edit("containers/artifact/site.conf", "server {", "# changed\nserver {");
    lab.lap(&["up"]).ok();
    let after = ids();
    let changed: Vec<&str> =
        before.lines().filter(|line| !after.contains(*line)).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(changed, ["infra_artifact"]);
}

fn data_survives(lab: &Lab, address: &str) {
    lab.lap(&["down"]).ok();
    assert_eq!(lab.lap(&["down"]).ok(), "Nothing to do.\n");
    lab.lap(&["status"]).fails(5);
    lab.lap(&["up"]).ok();
    lab.healthy();
    assert_eq!(curl(lab, &[&format!("https://{address}:8443/build/1/thing.bin")]).ok(), "\0\x01thing");
    lab.lap(&["stop"]).ok();
    lab.lap(&["status"]).fails(7);
    lab.lap(&["start"]).ok();
    lab.healthy();
    lab.lap(&["restart", "test", "artifact"]).ok();
    lab.healthy();
}

fn looking_inside(lab: &Lab) {
    assert_eq!(lab.lap(&["exec", "registry", "--", "cat", "/etc/hostname"]).ok().trim(), "registry");
    assert_eq!(lab.lap(&["ssh", "--", "hostname"]).ok().trim(), "test");
    assert_eq!(lab.lap(&["ssh", "test", "--", "echo", "a  b", "$HOME"]).ok(), "a  b $HOME\n");
    assert_eq!(lab.lap(&["ssh", "--", "sh", "-c", "exit 3"]).code, 3);
    assert!(lab.lap(&["logs", "--tail", "5", "registry"]).ok().lines().count() <= 5);
    let status: serde_json::Value = serde_json::from_str(&lab.lap(&["status", "--json"]).ok()).unwrap();
    assert_eq!((&status["healthy"], &status["facts"]["data"]["filesystem"]), (&true.into(), &"btrfs".into()));
    assert!(lab.lap(&["doctor"]).ok().contains("node `test` has its own host key"));
}

fn seed(lab: &Lab) {
    let image = format!("{}-seeded:1", lab.name);
    let tar = lab.root.join(".lap/image.tar");
    assert!(
        Command::new("tar")
            .args(["cf", tar.to_str().unwrap(), "lap.toml"])
            .current_dir(&lab.root)
            .status()
            .unwrap()
            .success()
    );
    run("docker", &["import", tar.to_str().unwrap(), &image]).ok();
    let seeded = lab.lap(&["image", "seed", &image]);
    run("docker", &["rmi", &image]).ok();
    seeded.ok();
    assert!(lab.lap(&["image", "list"]).ok().contains(&image));
    lab.lap(&["image", "seed", "no-such-image"]).fails(4);
}

/// prod's first release is made from a clean commit; then the tree's changes do not reach it.
fn production_beside_it(lab: &Lab) {
    let said = lab.lap(&["up", "prod"]).fails(10);
    assert!(said.contains("the first release of `prod` is made from a clean commit"), "{said}");
    lab.commit();
    lab.lap(&["up", "--all"]).ok();
    let out = lab.lap(&["status", "prod"]).ok();
    assert!(out.contains("release 1"), "{out}");
    let (test, prod) = (lab.address("test"), lab.address("prod"));
    assert_eq!(dig(&test, &["git.internal"]), test);
    assert_eq!(dig(&test, &["git.prod.internal"]), prod);
    assert_eq!(dig(&prod, &["git.internal"]), prod);
    lab.edit("containers/artifact/site.conf", "# changed", "# changed again");
    let out = lab.lap(&["up", "prod"]).ok();
    assert!(out.contains("`prod` runs release 1") && out.contains("later changes need a promotion"), "{out}");
    // A release whose images are gone comes back from its registry, and that from its file.
    lab.lap(&["stop", "prod"]).ok();
    lab.on_node("prod", &["docker", "system", "prune", "--all", "--force"]).ok();
    assert_eq!(lab.on_node("prod", &["docker", "images", "--quiet"]).ok(), "");
    lab.lap(&["start", "prod"]).ok();
    lab.lap(&["status", "prod"]).ok();
    lab.lap(&["down", "--all"]).ok();
    lab.lap(&["destroy", "prod"]).fails(2);
    lab.lap(&["destroy", "prod", "--yes"]).ok();
    assert_eq!(
        run("docker", &["volume", "ls", "--quiet", "--filter", &format!("name=lap-{}-prod", lab.name)]).ok(),
        ""
    );
}
