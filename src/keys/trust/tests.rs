use std::{fs, path::Path};

use lap_base::{Error, Kind};

use super::{
    machine::{TrustInputs, inside},
    *,
};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
const ANCHOR: &str = "/usr/local/share/ca-certificates/lap-office.crt";
const BY_NAME: &str = "/etc/docker/certs.d/docker.internal:5000/ca.crt";
const BY_ADDRESS: &str = "/etc/docker/certs.d/192.168.0.10:5000/ca.crt";

fn inputs(undo: bool) -> TrustInputs {
    let registries = ["docker.internal:5000", "192.168.0.10:5000"].map(str::to_owned).into();
    TrustInputs { lab: "office".into(), certificate: CERTIFICATE.into(), registries, undo }
}

/// A Debian machine; its `update-ca-certificates` is [`bundle`].
fn machine() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "/etc/ca-certificates.conf", "mozilla/Some.crt\n");
    put(dir.path(), "/etc/ssl/certs/ca-certificates.crt", "");
    dir
}

fn put(root: &Path, path: &str, content: &str) {
    let path = inside(root, Path::new(path));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn get(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(inside(root, Path::new(path))).ok()
}

fn planned(root: &Path, inputs: &TrustInputs) -> Vec<String> {
    plan(inputs, &observe(root, inputs).unwrap()).iter().map(ToString::to_string).collect()
}

/// Plans and applies; gives the commands that ran.
fn go(root: &Path, inputs: &TrustInputs) -> lap_base::Result<Vec<String>> {
    let mut ran = Vec::new();
    let changes = plan(inputs, &observe(root, inputs)?);
    apply(root, &changes, &mut |words| {
        ran.push(words[0].to_owned());
        if let [_, "--certsconf", config] = words {
            assert_eq!(fs::read_to_string(config).unwrap(), "mozilla/Some.crt\n!lap-office.crt\n");
        }
        put(root, "/etc/ssl/certs/ca-certificates.crt", &get(root, ANCHOR).unwrap_or_default());
        Ok(())
    })?;
    Ok(ran)
}

#[test]
fn install_twice_then_undo_twice() {
    let dir = machine();
    let root = dir.path();
    assert_eq!(
        planned(root, &inputs(false)),
        [
            format!("write {ANCHOR}"),
            "run update-ca-certificates".into(),
            format!("write {BY_ADDRESS}"),
            format!("write {BY_NAME}"),
        ]
    );
    assert_eq!(go(root, &inputs(false)).unwrap(), ["update-ca-certificates"]);
    for path in [ANCHOR, BY_NAME, BY_ADDRESS] {
        assert_eq!(get(root, path).as_deref(), Some(CERTIFICATE));
    }
    assert!(planned(root, &inputs(false)).is_empty());

    // Undo finds what was installed, also for a registry that is not listed any more.
    let undo = TrustInputs { registries: Vec::new(), ..inputs(true) };
    assert_eq!(
        planned(root, &undo),
        [
            format!("remove {BY_ADDRESS}"),
            "remove /etc/docker/certs.d/192.168.0.10:5000/".into(),
            format!("remove {BY_NAME}"),
            "remove /etc/docker/certs.d/docker.internal:5000/".into(),
            format!("remove {ANCHOR}"),
            "run update-ca-certificates".into(),
        ]
    );
    go(root, &undo).unwrap();
    assert!(planned(root, &undo).is_empty());
    assert_eq!(fs::read_dir(root.join("etc/docker/certs.d")).unwrap().count(), 0);
    assert!(get(root, ANCHOR).is_none());
}

#[test]
fn a_killed_run_is_finished_by_the_next() {
    let dir = machine();
    put(dir.path(), ANCHOR, CERTIFICATE);
    put(dir.path(), BY_NAME, CERTIFICATE);
    put(dir.path(), BY_ADDRESS, CERTIFICATE);
    assert_eq!(planned(dir.path(), &inputs(false)), ["run update-ca-certificates"]);
    go(dir.path(), &inputs(false)).unwrap();
    fs::remove_file(inside(dir.path(), Path::new(ANCHOR))).unwrap();
    assert_eq!(planned(dir.path(), &inputs(true)).last().unwrap(), "run update-ca-certificates");
}

#[test]
fn what_is_not_ours_stays() {
    let dir = machine();
    let root = dir.path();
    put(root, BY_NAME, "another certificate\n");
    put(root, ANCHOR, "another lab of this name\n");
    let error = go(root, &inputs(false)).unwrap_err();
    assert!(
        error.kind == Kind::Refused && error.message.contains(BY_NAME) && error.message.contains(ANCHOR),
        "{error}"
    );
    assert!(get(root, BY_ADDRESS).is_none(), "nothing was done");
    assert!(go(root, &inputs(true)).unwrap().is_empty());
    assert_eq!(get(root, BY_NAME).as_deref(), Some("another certificate\n"));
    assert!(planned(root, &inputs(false)).contains(&format!("keep {BY_NAME}: it contains another certificate")));
}

/// `lap keys new` signed the root again: the older certificate of the same root is ours, too.
#[test]
fn an_older_certificate_of_the_root_is_replaced_and_removed() {
    let store = tempfile::tempdir().unwrap();
    let keys = crate::keys::Keys::create(store.path(), "office", "internal", &["test".into()]).unwrap().keys;
    let root = crate::keys::reading::authority(keys.directory(), "root").unwrap();
    let new = crate::keys::authority::root_again(&root, time::OffsetDateTime::now_utc()).unwrap();
    let old = keys.root_certificate();
    assert_ne!(old, new);
    let inputs = |undo| TrustInputs { certificate: new.clone(), ..inputs(undo) };
    let dir = machine();
    put(dir.path(), ANCHOR, old);
    put(dir.path(), BY_NAME, &format!("{old}\nmine\n"));
    go(dir.path(), &inputs(false)).unwrap();
    assert_eq!(get(dir.path(), ANCHOR).as_deref(), Some(new.as_str()));
    assert_eq!(get(dir.path(), BY_NAME), Some(format!("{new}mine\n")));
    put(dir.path(), ANCHOR, old);
    go(dir.path(), &inputs(true)).unwrap();
    assert!(get(dir.path(), ANCHOR).is_none());
    assert_eq!(get(dir.path(), BY_NAME).as_deref(), Some("mine\n"));
}

#[test]
fn undo_leaves_what_others_put_beside_or_below() {
    let dir = machine();
    let root = dir.path();
    put(root, BY_NAME, &format!("{CERTIFICATE}\nmine\n"));
    put(root, BY_ADDRESS, CERTIFICATE);
    put(root, "/etc/docker/certs.d/192.168.0.10:5000/client.key", "k");
    assert!(!planned(root, &inputs(false)).iter().any(|c| c.contains("certs.d")), "ours is there");
    go(root, &inputs(true)).unwrap();
    assert_eq!(get(root, BY_NAME).as_deref(), Some("mine\n"));
    assert!(get(root, BY_ADDRESS).is_none());
    assert!(get(root, "/etc/docker/certs.d/192.168.0.10:5000/client.key").is_some());
}

#[test]
fn trusted_from_elsewhere_stays_trusted() {
    let dir = machine();
    put(dir.path(), "/usr/local/share/ca-certificates/mine.crt", CERTIFICATE);
    put(dir.path(), "/etc/ssl/certs/ca-certificates.crt", CERTIFICATE);
    assert!(planned(dir.path(), &inputs(true)).is_empty());
}

#[test]
fn fedora_and_machines_without_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let docker = [format!("write {BY_ADDRESS}"), format!("write {BY_NAME}")];
    assert_eq!(planned(dir.path(), &inputs(false)), docker);
    fs::create_dir_all(dir.path().join("etc/pki/ca-trust/source/anchors")).unwrap();
    let changes = planned(dir.path(), &inputs(false));
    assert_eq!(changes[..2], ["write /etc/pki/ca-trust/source/anchors/lap-office.crt", "run update-ca-trust"]);
}

#[test]
fn registries_are_checked() {
    let dir = machine();
    for wrong in ["docker.internal", "../../x:5000", "a/b:1", ":5000", "docker.internal:0", "docker.internal:x"] {
        let inputs = TrustInputs { registries: vec![wrong.into()], ..inputs(false) };
        assert_eq!(observe(dir.path(), &inputs).unwrap_err().kind, Kind::Config, "{wrong}");
    }
    let inputs = TrustInputs { lab: "../x".into(), ..inputs(false) };
    assert_eq!(observe(dir.path(), &inputs).unwrap_err().kind, Kind::Config);
}

#[test]
fn a_failing_command_is_reported() {
    let dir = machine();
    let changes = plan(&inputs(false), &observe(dir.path(), &inputs(false)).unwrap());
    let error = apply(dir.path(), &changes, &mut |_| Err(Error::new(Kind::Host, "cannot run it"))).unwrap_err();
    assert_eq!(error.message, "cannot run it");
    assert_eq!(run_command(&["/nowhere/lap-test"]).unwrap_err().kind, Kind::Host);
    assert!(run_command(&["sh", "-c", "echo why >&2; exit 3"]).unwrap_err().message.contains("why"));
}
