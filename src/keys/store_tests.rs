use std::{fs, os::unix::fs::PermissionsExt, thread};

use super::{super::reading, *};
use crate::keys::ends::Ending;

fn lab() -> (tempfile::TempDir, Keys) {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::create(dir.path(), "office", "internal", &["prod".into(), "test".into()]).unwrap().keys;
    (dir, keys)
}

fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files::list(dir).unwrap().into_iter().map(|p| (p.clone(), fs::read(dir.join(p)).unwrap())).collect()
}

#[test]
fn makes_everything_once() {
    let (dir, keys) = lab();
    let before = content(keys.directory());
    let names: Vec<_> = before.iter().map(|(p, _)| p.to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "admin",
            "admin.pub",
            "dns/lap-admin-prod.json",
            "dns/lap-admin-test.json",
            "prod/issuing.crt",
            "prod/issuing.key",
            "prod/registry.password",
            "prod/repository.password",
            "prod/upload.password",
            "repository.password",
            "root.crt",
            "root.key",
            "test/issuing.crt",
            "test/issuing.key",
            "test/registry.password",
            "test/repository.password",
            "test/upload.password",
        ]
    );
    for (path, _) in &before {
        assert_eq!(fs::metadata(keys.directory().join(path)).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    for place in ["", "dns", "prod", "test"] {
        assert_eq!(fs::metadata(keys.directory().join(place)).unwrap().permissions().mode() & 0o7777, 0o700);
    }
    assert_eq!(fs::read_to_string(dir.path().join(".lap/.gitignore")).unwrap(), "*\n");

    let again = Keys::create(dir.path(), "office", "internal", &["test".into(), "stage".into()]).unwrap();
    assert_eq!(
        again.made,
        [
            "stage/issuing.key",
            "stage/issuing.crt",
            "stage/upload.password",
            "stage/repository.password",
            "stage/registry.password",
            "dns/lap-admin-stage.json"
        ]
    );
    let after = content(keys.directory());
    assert!(before.iter().all(|file| after.contains(file)), "what was there is as it was");
    assert!(Keys::create(dir.path(), "office", "internal", &[]).unwrap().made.is_empty());
    assert_eq!(again.keys.environments().collect::<Vec<_>>(), ["prod", "stage", "test"]);
}

/// Root on one environment's node must not be a server of another one.
#[test]
fn an_issuing_authority_is_for_its_environment_only() {
    let (dir, _) = lab();
    let issue = |keys: &Keys, environment: &str, name: &str| {
        keys.issue(environment, &[name.to_owned()], &[], OffsetDateTime::now_utc()).map(|leaf| leaf.chain)
    };
    let keys = Keys::create(dir.path(), "office", "internal", &["stage".into()]).unwrap().keys;
    // The authorities that were there do not know of `stage`.
    assert_eq!(keys.too_wide("internal"), ["prod", "test"]);
    assert_eq!(Keys::renew(dir.path(), "internal").unwrap(), ["prod/issuing.crt", "test/issuing.crt"]);
    assert!(Keys::renew(dir.path(), "internal").unwrap().is_empty(), "the second time there is nothing to do");
    let keys = Keys::open(dir.path()).unwrap();
    assert!(keys.too_wide("internal").is_empty());
    // A lab may use a zone below the one that its root is for.
    assert_eq!(keys.too_wide("office.internal"), ["prod", "stage", "test"]);
    let all = ["prod", "stage", "test"];
    for own in all {
        for other in all {
            assert_eq!(issue(&keys, own, &format!("git.{other}.internal")).is_ok(), own == other, "{own} {other}");
        }
        issue(&keys, own, "git.internal").unwrap();
    }
    // A store of an earlier version, whose authorities exclude nothing.
    let root = reading::authority(keys.directory(), "root").unwrap();
    let old = keys.issuing("test").unwrap();
    let wide = authority::issuing_again(old, &[], "internal", &root, OffsetDateTime::now_utc()).unwrap();
    files::replace(&keys.directory().join("test/issuing.crt"), wide.as_bytes(), 0o600).unwrap();
    assert_eq!(Keys::open(dir.path()).unwrap().too_wide("internal"), ["test"]);
    assert_eq!(Keys::renew(dir.path(), "internal").unwrap(), ["test/issuing.crt"]);
    // Also where lap's own check does not look: a program that verifies refuses the name.
    let openssl = |chain: &str, name: &str| {
        let file = |file: &str, text: &str| {
            let path = dir.path().join(file);
            fs::write(&path, text).unwrap();
            path
        };
        let (root, chain) = (file("root", &root.certificate), file("chain", chain));
        let mut command = std::process::Command::new("openssl");
        command
            .args(["verify", "-verify_hostname", name, "-CAfile"])
            .arg(root)
            .arg("-untrusted")
            .arg(&chain)
            .arg(chain);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
    };
    let keys = Keys::open(dir.path()).unwrap();
    let said = openssl(&issue(&keys, "test", "git.test.internal").unwrap(), "git.test.internal");
    assert!(said.ends_with(": OK\n"), "{said}");
    let forged = leaf::forged(&keys.of("test").unwrap().issuing, "git.prod.internal");
    let said = openssl(&forged, "git.prod.internal");
    assert!(said.contains("excluded subtree violation"), "{said}");
}

#[test]
fn certificates_of_authorities_are_signed_again_a_year_before_they_end() {
    let (dir, keys) = lab();
    let now = OffsetDateTime::now_utc();
    let (issuing, root) = (now + time::Duration::days(3650), now + time::Duration::days(20 * 365));
    assert_eq!(keys.ending(now).unwrap(), []);
    let files = |at| keys.ending(at).unwrap().into_iter().map(|ending| ending.file).collect::<Vec<_>>();
    assert_eq!(files(issuing - time::Duration::days(360)), ["prod/issuing.crt", "test/issuing.crt"]);
    assert_eq!(files(root - time::Duration::days(360))[0], "root.crt");
    let ending = Ending { file: "root.crt".into(), at: root };
    assert!(ending.sentence(now).contains("`.lap/keys/root.crt` ends on "), "{}", ending.sentence(now));
    // Nineteen years later.
    let late = root - time::Duration::days(360);
    let mut maker = Maker::new(keys.directory(), "office", "internal", late);
    maker.renew(&["prod".into(), "test".into()]).unwrap();
    assert_eq!(maker.made, ["root.crt", "prod/issuing.crt", "test/issuing.crt"]);
    let new = Keys::open(dir.path()).unwrap();
    assert_eq!(new.ending(late).unwrap(), []);
    // A machine that only has the old root's certificate trusts what is signed now.
    let old = certificate::blocks(keys.root_certificate());
    let signed = new.of("test").unwrap().issuing.der();
    assert!(certificate::is_signed_by(signed, &old[0]));
    // Where the root's key is kept elsewhere, nothing can be signed.
    fs::remove_file(keys.directory().join("root.key")).unwrap();
    assert!(Keys::renew(dir.path(), "internal").unwrap().is_empty());
    let error = Keys::renew(dir.path(), "office.internal").unwrap_err();
    assert!(error.kind == Kind::Keys && error.hints[0].contains("root.key"), "{error}");
}

#[test]
fn two_at_once_make_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let found: Vec<_> = thread::scope(|scope| {
        let run = || scope.spawn(|| Keys::create(dir.path(), "office", "internal", &["test".into()]).unwrap());
        [run(), run(), run(), run()].map(|t| t.join().unwrap()).into()
    });
    assert_eq!(found.iter().filter(|c| !c.made.is_empty()).count(), 1);
    assert!(found.iter().all(|c| c.keys.root == found[0].keys.root && c.keys.admin_file().exists()));
}

#[test]
fn a_killed_create_is_finished_by_the_next() {
    let (dir, keys) = lab();
    fs::write(keys.directory().join(".tmpXyz"), "half").unwrap();
    for gone in ["admin.pub", "root.crt", "test/issuing.crt", "test/issuing.key", "prod/issuing.crt"] {
        fs::remove_file(keys.directory().join(gone)).unwrap();
    }
    assert!(Keys::open(dir.path()).is_err());
    let again = Keys::create(dir.path(), "office", "internal", &["prod".into(), "test".into()]).unwrap();
    assert_eq!(again.made.len(), 5);
    assert!(!keys.directory().join(".tmpXyz").exists());
    assert_eq!(again.keys.admin().fingerprint(), keys.admin().fingerprint());
}

#[test]
fn a_workspace_without_keys_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = Keys::open(dir.path()).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Keys, "this workspace has no keys"));
    assert!(error.hints[0].contains("lap keys import FILE") && error.hints[1].contains("lap keys new"));
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "looking makes nothing");
}

#[test]
fn damaged_files_are_named_and_never_quoted() {
    for (name, bad) in [
        ("admin", ""),
        ("admin", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"),
        ("root.crt", "hello"),
        ("root.key", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"),
        ("test/issuing.crt", ""),
        ("test/issuing.key", "c2VjcmV0"),
        ("test/upload.password", "c2VjcmV0\n"),
        ("repository.password", ""),
        ("test/repository.password", ""),
    ] {
        let (dir, keys) = lab();
        fs::write(keys.directory().join(name), bad).unwrap();
        for error in [
            Keys::open(dir.path()).unwrap_err(),
            Keys::create(dir.path(), "office", "internal", &["test".into()]).unwrap_err(),
        ] {
            assert_eq!(error.kind, Kind::Keys);
            assert!(error.message.contains(name) && !format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
            assert!(!error.hints.is_empty());
        }
        assert_eq!(fs::read_to_string(keys.directory().join(name)).unwrap(), bad, "left as it is");
    }
}

#[test]
fn keys_of_two_labs_do_not_mix() {
    let ((one, keys), (_two, other)) = (lab(), lab());
    for name in ["issuing.crt", "issuing.key"] {
        fs::copy(other.directory().join("test").join(name), keys.directory().join("test").join(name)).unwrap();
    }
    let error = Keys::open(one.path()).unwrap_err();
    assert!(error.message.contains("test/issuing.crt") && error.message.contains("did not sign"), "{error}");
}

#[test]
fn a_readable_private_key_is_refused() {
    for name in [
        "admin",
        "root.key",
        "test/issuing.key",
        "test/upload.password",
        "repository.password",
        "test/repository.password",
        "test/registry.password",
    ] {
        let (dir, keys) = lab();
        let path = keys.directory().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Keys::open(dir.path()).unwrap_err();
        assert_eq!(error.hints, [format!("run `chmod 600 {}`", path.display())]);
    }
}

#[test]
fn the_root_key_may_be_kept_elsewhere() {
    let (dir, keys) = lab();
    fs::remove_file(keys.directory().join("root.key")).unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    keys.issue("test", &["a.internal".into()], &[], OffsetDateTime::now_utc()).unwrap();
    assert!(Keys::create(dir.path(), "office", "internal", &["test".into()]).unwrap().made.is_empty());
    let error = Keys::create(dir.path(), "office", "internal", &["stage".into()]).unwrap_err();
    assert!(error.message.contains("root.key` is missing"), "{error}");
}

#[test]
fn half_a_pair_is_not_made_anew() {
    for gone in ["admin", "test/issuing.key"] {
        let (dir, keys) = lab();
        fs::remove_file(keys.directory().join(gone)).unwrap();
        let error = Keys::create(dir.path(), "office", "internal", &["test".into()]).unwrap_err();
        assert!(error.message.contains(gone), "{error}");
        assert!(!keys.directory().join(gone).exists());
    }
}

#[test]
fn names_are_checked_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    for (lab, environment) in [
        ("office", "hosts"),
        ("office", "dns"),
        ("office", "admin"),
        ("office", "../x"),
        ("of fice", "test"),
        ("", "t"),
    ] {
        assert_eq!(Keys::create(dir.path(), lab, "internal", &[environment.into()]).unwrap_err().kind, Kind::Config);
    }
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[test]
fn host_keys_are_made_once_and_not_by_reading() {
    let (_dir, keys) = lab();
    assert_eq!(keys.host_key("master").unwrap_err().kind, Kind::Keys);
    let made = keys.make_host_key("master").unwrap();
    assert_eq!(keys.make_host_key("master").unwrap().fingerprint(), made.fingerprint());
    assert_eq!(keys.host_key("master").unwrap().fingerprint(), made.fingerprint());
    assert_eq!(keys.make_host_key("../admin").unwrap_err().kind, Kind::Config);
    let list: Vec<_> = keys.list().unwrap().into_iter().map(|k| k.name).collect();
    let own = ["dns/lap-admin-prod", "dns/lap-admin-test"];
    assert_eq!(list[..4], ["admin", "root.crt", "prod/issuing.crt", "test/issuing.crt"]);
    assert_eq!((&list[4..6], list[6].as_str()), (own.map(str::to_owned).as_slice(), "hosts/master"));
}

#[test]
fn certificates_are_for_one_zone() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::create(dir.path(), "office", "lab.example.org", &["test".into()]).unwrap().keys;
    keys.check_zone("lab.example.org").unwrap();
    keys.check_zone("below.lab.example.org").unwrap();
    let error = keys.check_zone("internal").unwrap_err();
    assert_eq!(
        error.message,
        "the lab's certificates are for `lab.example.org` and the names below it, and its zone is `internal`"
    );
    let issue = |name: &str| keys.issue("test", &[name.to_owned()], &[], OffsetDateTime::now_utc());
    issue("git.lab.example.org").unwrap();
    issue("localhost").unwrap();
    assert_eq!(issue("git.internal").unwrap_err().kind, Kind::Config);
}

#[test]
fn an_unknown_environment_has_no_keys() {
    let (_dir, keys) = lab();
    let error = keys.upload_password("stage").unwrap_err();
    assert!(error.kind == Kind::Keys && error.message.contains("`stage`"));
    assert!(keys.htpasswd("test").unwrap().expose().starts_with("lap:{SSHA}"));
    assert_ne!(keys.upload_password("test").unwrap(), keys.upload_password("prod").unwrap());
    assert!(keys.registry_htpasswd("test").unwrap().expose().starts_with("lap:$2b$04$"));
    assert_ne!(keys.registry_password("test").unwrap(), keys.registry_password("prod").unwrap());
    assert_ne!(keys.registry_password("test").unwrap(), keys.upload_password("test").unwrap());
}

#[test]
fn debug_tells_no_secret() {
    let (_dir, keys) = lab();
    let shown = format!("{keys:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains(keys.repository_password().expose()), "{shown}");
}

#[test]
fn a_store_without_the_repositories_passwords_has_the_same_ones() {
    let (dir, keys) = lab();
    let of = |keys: &Keys, name: &str| keys.repository_password_of(name).unwrap().expose().to_owned();
    assert_ne!(of(&keys, "test"), of(&keys, "prod"));
    let file = keys.directory().join("test/repository.password");
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    assert_eq!(of(&keys, "test"), text.trim());
    keys.write_repository_passwords().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_store_without_the_registrys_password_has_the_same_one() {
    let (dir, keys) = lab();
    let file = keys.directory().join("test/registry.password");
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    assert_eq!(keys.registry_password("test").unwrap().expose(), text.trim());
    keys.write_registry_password("test").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    // Another one in its file counts: so it is replaced.
    fs::write(&file, "another-password-of-somebody\n").unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    keys.write_registry_password("test").unwrap();
    assert_eq!(keys.registry_password("test").unwrap().expose(), "another-password-of-somebody");
}
