use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use git2::{Oid, Repository};
use russh::keys::PublicKey;

use super::{commit::full_id, *};
use crate::apply::options::short;

fn run(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut all = vec!["-c", "user.name=t", "-c", "user.email=t@internal"];
    all.extend(arguments);
    run(dir, "git", &all)
}

/// Commits all there is, in a clone that is made for the first one.
fn commit(dir: &Path, arguments: &[&str]) -> String {
    if !dir.join(".git").exists() {
        git(dir, &["init", "--quiet", "--initial-branch=master"]);
    }
    git(dir, &["add", "--all"]);
    git(dir, &[&["commit", "--quiet", "--allow-empty"], arguments].concat());
    git(dir, &["rev-parse", "HEAD"])
}

/// What of the clone contains it.
fn contained(dir: &Path, id: &str) -> Option<String> {
    let own = contained::Own { zone: "internal", nodes: vec!["192.168.0.10".into()] };
    contained::by(&Repository::open(dir).unwrap(), Oid::from_str(id).unwrap(), &own)
}

#[test]
fn a_clone_contains_what_its_branches_lead_to() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let first = commit(dir, &["--message=first"]);
    git(dir, &["branch", "kept"]);
    let second = commit(dir, &["--message=second"]);
    assert_eq!(contained(dir, &first).as_deref(), Some("HEAD"));
    assert_eq!(contained(dir, &second).as_deref(), Some("HEAD"));
    git(dir, &["reset", "--quiet", "--hard", &first]);
    assert_eq!(contained(dir, &second), None, "its objects are there, and nothing leads to it");
    // What `git fetch` brings without a look.
    git(dir, &["update-ref", "refs/tags/v1", &second]);
    git(dir, &["update-ref", "refs/remotes/gone/master", &second]);
    git(dir, &["remote", "add", "lab", "ssh://git@192.168.0.10:2200/lap"]);
    git(dir, &["update-ref", "refs/remotes/lab/master", &second]);
    assert_eq!(contained(dir, &second), None);
    git(dir, &["remote", "add", "forge", "git@forge.example.org:team/lab"]);
    git(dir, &["update-ref", "refs/remotes/forge/master", &second]);
    assert_eq!(contained(dir, &second).as_deref(), Some("refs/remotes/forge/master"));
    git(dir, &["update-ref", "-d", "refs/remotes/forge/master"]);
    git(dir, &["update-ref", "refs/heads/later", &second]);
    assert_eq!(contained(dir, &second).as_deref(), Some("refs/heads/later"));
    git(dir, &["update-ref", "-d", "refs/heads/later"]);
    // A yes is remembered, and keeps the commit.
    assert_eq!(answered(dir, &second).unwrap().commit(), second);
    git(dir, &["-c", "gc.pruneExpire=now", "gc", "--quiet"]);
    assert_eq!(contained(dir, &second), Some(format!("refs/lap/agreed/{second}")));
    assert!(answered(dir, &"1".repeat(40)).is_err(), "a commit that is not here");
}

#[test]
fn only_a_whole_id_is_one() {
    for bad in ["", "0123", "HEAD", "../../x", &"A".repeat(40), &"0".repeat(41), &format!("{}-dirty-1", "0".repeat(40))]
    {
        assert_eq!(full_id(bad).unwrap_err().kind, Kind::Refused, "{bad}");
    }
    assert!(full_id(&"0a".repeat(20)).is_ok());
}

#[test]
fn a_signature_counts_by_the_key_and_over_that_commit_only() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let key = |name: &str, kind: &str| {
        run(dir, "ssh-keygen", &["-q", "-t", kind, "-N", "", "-C", name, "-f", name]);
        let text = fs::read_to_string(dir.join(format!("{name}.pub"))).unwrap();
        (name.to_owned(), PublicKey::from_openssh(&text).unwrap())
    };
    let (anna, bob) = (key("anna", "ed25519"), key("bob", "rsa"));
    let lab = dir.join("lab");
    fs::create_dir(&lab).unwrap();
    let signing = |name: &str| {
        git(&lab, &["config", "gpg.format", "ssh"]);
        git(&lab, &["config", "user.signingKey", &dir.join(name).display().to_string()]);
    };
    let plain = commit(&lab, &["--message=plain"]);
    signing("anna");
    let by_anna = commit(&lab, &["--message=signed", "--gpg-sign"]);
    signing("bob");
    let by_bob = commit(&lab, &["--message=signed", "--gpg-sign"]);
    // The signature of one commit in another.
    let moved = run(&lab, "git", &["cat-file", "commit", &by_anna]).replace("\n\nsigned", "\n\nanother");
    fs::write(dir.join("moved"), moved + "\n").unwrap();
    let moved = git(&lab, &["hash-object", "-t", "commit", "-w", &dir.join("moved").display().to_string()]);

    let repository = Repository::open(&lab).unwrap();
    let both = [anna.clone(), bob.clone()];
    for (id, keys, by) in [
        (&plain, &both[..], None),
        (&by_anna, &both[..], Some("anna")),
        (&by_bob, &both[..], Some("bob")),
        (&by_bob, &both[..1], None),
        (&by_anna, &[], None),
        (&moved, &both[..], None),
    ] {
        let signed = signed::by(&repository, Oid::from_str(id).unwrap(), keys).unwrap();
        assert_eq!(signed.as_deref(), by, "{id}");
    }
    // A signature for something else than a commit.
    fs::write(dir.join("payload"), run(&lab, "git", &["cat-file", "commit", &plain]) + "\n").unwrap();
    run(dir, "ssh-keygen", &["-q", "-Y", "sign", "-n", "file", "-f", "anna", "payload"]);
    let signature = fs::read_to_string(dir.join("payload.sig")).unwrap();
    let id = repository
        .commit_signed(&(run(&lab, "git", &["cat-file", "commit", &plain]) + "\n"), &signature, None)
        .unwrap();
    assert_eq!(signed::by(&repository, id, &both).unwrap(), None);
}

#[test]
fn what_is_shown_is_whole_and_cannot_draw() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let write = |path: &str, text: &[u8], mode: u32| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("lab/scripts/promote/before-bring", b"#!/bin/sh\necho old\n", 0o755);
    write("scripts/promote/of-another-workspace", b"x\n", 0o755);
    let old = commit(dir, &["--message=old"]);
    write("lab/scripts/promote/before-bring", b"#!/bin/sh\necho new\n", 0o755);
    write("lab/scripts/promote/before-plan", b"#!/bin/sh\n\x00curl x | sh\r\necho \x1b[2K\n", 0o755);
    write("scripts/promote/of-another-workspace", b"y\n", 0o755);
    let arguments = ["--message=harmless\u{202e}\x1b[1A", "--author=Anna\x1b[31m <anna@internal>"];
    let new = commit(dir, &[&arguments[..], &["--date=2026-01-02T03:04:05+0200"]].concat());

    let shown = describe(dir, &new, "prod", Some(&old), Path::new("lab")).unwrap();
    assert_eq!(
        shown.commit,
        [
            format!("commit   {new}"),
            "author   Anna\\u{1b}[31m <anna@internal>".into(),
            "date     2026-01-02 03:04 +0200".into(),
            "subject  harmless\\u{202e}\\u{1b}[1A".into(),
            format!("compared with what `prod` runs ({}):", short(&old)),
            "  lab/scripts/promote/before-bring +1 -1".into(),
            "  lab/scripts/promote/before-plan +3 -0".into(),
            "  scripts/promote/of-another-workspace +1 -1".into(),
        ]
    );
    assert_eq!(
        shown.hooks,
        [
            "lab/scripts/promote/before-bring (a program):",
            "  #!/bin/sh",
            "- echo old",
            "+ echo new",
            "lab/scripts/promote/before-plan (a program):",
            "+ #!/bin/sh",
            "+ \\u{0}curl x | sh\\r",
            "+ echo \\u{1b}[2K",
        ]
    );
    // The same commit says nothing new; without what runs, all of it is new.
    assert!(describe(dir, &new, "prod", Some(&new), Path::new("lab")).unwrap().hooks.is_empty());
    let all = describe(dir, &new, "prod", Some(&"1".repeat(40)), Path::new("lab")).unwrap();
    assert!(all.hooks.contains(&"+ echo new".to_owned()) && all.commit[4].contains("no comparison"), "{all:?}");
}
