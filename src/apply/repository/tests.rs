//! An environment's copies, the workspace and the keys are what only those who may have written them.

use std::{fs, process::Command, sync::Arc};

use lap_base::{error::Kind, secret::Secret};
use lap_repositories::{Location, key_slot::KeySlot};

use super::{progress::silent, *};
use crate::keys::{Keys, Passphrase};

struct Lab {
    dir: tempfile::TempDir,
    place: LabRepositories,
}

const FAR: &str = "2099-11-30 05:00:00";

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("workspace");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("lap.toml"), "lab = \"lab\"\n").unwrap();
        let environments = vec!["prod".to_owned(), "test".to_owned()];
        let keys = Arc::new(Keys::create(&root, "lab", "internal", &environments).unwrap().keys);
        let location = Location::Directory(dir.path().join("office"));
        let place = LabRepositories { name: "office".into(), location, lab: "lab".into(), root, environments, keys };
        Self { dir, place }
    }

    fn passphrase() -> Passphrase {
        Passphrase::new(Secret::new("a good passphrase".into())).unwrap()
    }

    fn parted() -> Self {
        let lab = Self::new();
        assert_eq!(lab.place.init(&Self::passphrase()).unwrap(), Made::New);
        lab
    }

    /// As an earlier version made it: one for all.
    fn shared() -> Self {
        let lab = Self::new();
        crate::keys::recovery::set_passphrase(&lab.place.root, &Self::passphrase()).unwrap();
        let storage = lab.place.storage(&RepositoryScope::Shared).unwrap();
        let made =
            Repository::make(storage, "office", &lab.place.password(&RepositoryScope::Shared).unwrap(), silent())
                .unwrap();
        made.set_passphrase(Self::passphrase().secret()).unwrap();
        lab.place.keep(&made).unwrap();
        lab
    }

    fn open(&self, room: &RepositoryScope) -> Repository {
        self.place.must_open(room, silent()).unwrap()
    }

    /// What somebody writes who has the key that this room's node gets.
    fn plant(&self, room: &RepositoryScope, of: &str, id: &str, time: &str) {
        let tags = ["lap".to_owned(), format!("lap:{of}"), format!("lap-id:{id}"), "lap-lab:lab".into()];
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        self.write(room, "lap", &[], &tags, time);
    }

    /// Stock restic writes a snapshot: a directory with these files, which all have the same content.
    fn write(&self, room: &RepositoryScope, directory: &str, files: &[&str], tags: &[&str], time: &str) {
        let from = tempfile::tempdir().unwrap();
        let directory = from.path().join(directory);
        fs::create_dir(&directory).unwrap();
        files.iter().for_each(|file| fs::write(directory.join(file), "ssh-ed25519 AAAA attacker\n").unwrap());
        let mut restic = self.restic(room);
        restic.args(["backup", "--time", time, "--tag", &tags.join(",")]).arg(directory.file_name().unwrap());
        let output = restic.current_dir(from.path()).env("TZ", "UTC").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Stock restic with the password that this room's node gets.
    fn restic(&self, room: &RepositoryScope) -> Command {
        let (mut repository, mut password) = (self.dir.path().join("office"), self.place.keys.directory().to_owned());
        if let RepositoryScope::Environment(environment) = room {
            password.push(environment);
        }
        repository.extend(room.directory());
        let mut restic = Command::new("restic");
        restic.arg("--no-cache").arg("--repo").arg(repository);
        restic.arg("--password-file").arg(password.join("repository.password"));
        restic
    }

    fn ids(&self, environment: &str) -> Vec<(String, bool)> {
        let all = self.place.copies(environment).unwrap();
        all.into_iter().map(|copy| (copy.id.to_string(), copy.shared)).collect()
    }
}

fn room(environment: &str) -> RepositoryScope {
    RepositoryScope::Environment(environment.into())
}

#[test]
fn each_environment_has_a_repository_that_only_its_key_opens() {
    let lab = Lab::parted();
    let (test, prod) = (lab.open(&room("test")), lab.open(&room("prod")));
    let key = test.key().unwrap();
    for other in [room("prod"), RepositoryScope::Lab] {
        let storage = lab.place.storage(&other).unwrap();
        assert!(Repository::open_with(storage.clone(), "x", &key, false, silent()).is_err(), "{other:?}");
        let password = lab.place.password(&room("test")).unwrap();
        assert_eq!(Repository::open(storage, "x", KeySlot::Lab, &password, silent()).err().unwrap().kind, Kind::Keys);
    }
    assert_ne!(key, prod.key().unwrap());
    // Each holds what it is for, and the passphrase and stock restic open all.
    for room in [room("test"), room("prod"), RepositoryScope::Lab] {
        assert_eq!(lab.open(&room).recoverable().is_ok(), room == RepositoryScope::Lab, "{room:?}");
        let storage = lab.place.storage(&room).unwrap();
        Repository::open(storage, "x", KeySlot::Passphrase, Lab::passphrase().secret(), silent()).unwrap();
        let output = lab.restic(&room).arg("check").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(lab.place.init(&Lab::passphrase()).unwrap(), Made::Nothing);
    let layout = lab.place.layout().unwrap();
    assert!(layout.parted && !layout.shared && layout.missing.is_empty());
}

#[test]
fn whose_a_copy_is_follows_from_the_repository() {
    let lab = Lab::parted();
    lab.plant(&room("test"), "prod", "20991130-050000", FAR);
    lab.plant(&room("test"), "test", "20261130-050000", "2026-11-30 05:00:00");
    assert_eq!(lab.ids("prod"), []);
    assert_eq!(lab.ids("test"), [("20261130-050000".to_owned(), false)]);
    let error = lab.place.find("prod", "latest").unwrap_err();
    assert_eq!(error.message, "`office` has no snapshot of `prod`");
}

#[test]
fn what_is_recovered_is_what_people_put_there() {
    let lab = Lab::parted();
    for (tag, top) in [("lap-workspace", "lap-workspace"), ("lap-keys", "lap-keys")] {
        let files = ["lap.toml", "identity.age", "keys.age"];
        lab.write(&room("test"), top, &files, &["lap", tag, "lap-lab:evil"], FAR);
    }
    let source = crate::apply::recover::source(&lab.place.location, &Lab::passphrase()).unwrap();
    assert_eq!(source.recoverable().unwrap(), "lab");
    let (identity, keys) = source.sealed_keys().unwrap();
    let back = tempfile::tempdir().unwrap();
    recovery::unseal(back.path(), &identity, &keys, &Lab::passphrase()).unwrap();
    let file = ".lap/keys/test/repository.password";
    assert_eq!(fs::read(back.path().join(file)).unwrap(), fs::read(lab.place.root.join(file)).unwrap());
}

#[test]
fn a_shared_repository_stays_readable_and_gets_no_new_copies_once_parted() {
    let lab = Lab::shared();
    lab.plant(&RepositoryScope::Shared, "test", "20261101-050000", "2026-11-01 05:00:00");
    assert_eq!(lab.place.room_for_copies("test").unwrap(), RepositoryScope::Shared);
    assert_eq!(lab.ids("test"), [("20261101-050000".to_owned(), true)]);
    let source = || crate::apply::recover::source(&lab.place.location, &Lab::passphrase()).unwrap();
    assert_eq!(source().name, lab.place.location.to_string());
    // What a node could still have put there dates from the future.
    lab.plant(&RepositoryScope::Shared, "test", "20991130-050000", FAR);

    assert_eq!(lab.place.init(&Lab::passphrase()).unwrap(), Made::New);
    assert_eq!(lab.place.room_for_copies("test").unwrap(), room("test"));
    assert!(source().name.ends_with("/lab"));
    let layout = lab.place.layout().unwrap();
    assert!(layout.parted && layout.shared);
    assert_eq!(
        lab.place.find("test", "latest").unwrap().id.to_string(),
        "20991130-050000",
        "as long as there is no other"
    );
    lab.plant(&room("test"), "test", "20261130-050000", "2026-11-30 05:00:00");
    assert_eq!(lab.place.find("test", "latest").unwrap().id.to_string(), "20261130-050000");
    let all = [("20261101-050000", true), ("20991130-050000", true), ("20261130-050000", false)];
    assert_eq!(lab.ids("test"), all.map(|(id, shared)| (id.to_owned(), shared)));
    // A passphrase is one of all.
    let next = Passphrase::new(Secret::new("another passphrase".into())).unwrap();
    change_passphrase(std::slice::from_ref(&lab.place), &next).unwrap();
    for room in lab.place.rooms() {
        let storage = lab.place.storage(&room).unwrap();
        Repository::open(storage, "x", KeySlot::Passphrase, next.secret(), silent()).unwrap();
    }
}

#[test]
fn an_init_that_was_killed_parts_nothing_yet() {
    let lab = Lab::parted();
    fs::remove_dir_all(lab.dir.path().join("office/lab")).unwrap();
    assert_eq!(lab.place.room_for_copies("test").unwrap(), RepositoryScope::Shared);
    assert_eq!(lab.place.init(&Lab::passphrase()).unwrap(), Made::New);
    assert_eq!(lab.place.room_for_copies("test").unwrap(), room("test"));
    // An environment that came later.
    fs::remove_dir_all(lab.dir.path().join("office/env-prod")).unwrap();
    let error = lab.place.must_open(&room("prod"), silent()).err().unwrap();
    assert_eq!(error.message, "`office` has no repository of `prod` yet");
    assert_eq!(lab.ids("prod"), []);
}
