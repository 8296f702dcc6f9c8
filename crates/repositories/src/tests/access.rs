//! Tests of passwords, locks, and the recovery bundle.

use lap_base::error::Kind;

use super::*;
use crate::{key_slot::KeySlot, sftp::Sftp};

#[test]
fn a_passphrase_opens_the_repository_until_it_is_replaced() {
    let office = Office::new();
    let open =
        |slot, text: &str| Repository::open(office.storage.clone(), "office", slot, &secret(text), no_progress());
    assert!(!office.open().has_passphrase().unwrap());
    office.open().set_passphrase(&secret("the first passphrase")).unwrap();
    assert!(open(KeySlot::Passphrase, "the first passphrase").unwrap().has_passphrase().unwrap());
    office.open().set_passphrase(&secret("the second passphrase")).unwrap();
    let error = open(KeySlot::Passphrase, "the first passphrase").err().unwrap();
    assert_eq!(error.message, "the passphrase does not open `office`");
    assert!(open(KeySlot::Passphrase, "the second passphrase").is_ok() && open(KeySlot::Lab, "pw").is_ok());
    let said = office.restic(&["key", "list"]);
    assert!(
        said.contains("lap-passphrase") && said.lines().filter(|line| line.contains(" lap")).count() == 2,
        "{said}"
    );
}

#[test]
fn the_key_of_the_lab_has_the_parameters_of_restic() {
    let office = Office::new();
    let keys = office.storage.list(Folder::Keys).unwrap();
    let [(file, _)] = &keys[..] else { panic!("{keys:?}") };
    let key: serde_json::Value = serde_json::from_slice(&office.storage.read(file, None).unwrap()).unwrap();
    assert_eq!((&key["username"], &key["kdf"], &key["N"]), (&"lap".into(), &"scrypt".into(), &32_768.into()));
    assert!(office.restic(&["key", "list"]).contains(" lap "));
    // The passphrase has a stronger N, because it can be guessed more easily.
    office.open().set_passphrase(&secret("a passphrase")).unwrap();
    let key = |slot| {
        let files = office.storage.list(Folder::Keys).unwrap();
        let mut texts =
            files.iter().filter(|(file, _)| KeySlot::of(office.storage.as_ref(), file).unwrap() == Some(slot));
        let (file, _) = texts.next().unwrap();
        serde_json::from_slice::<serde_json::Value>(&office.storage.read(file, None).unwrap()).unwrap()
    };
    assert!(key(KeySlot::Passphrase)["N"].as_u64().unwrap() >= 131_072);
    assert_eq!(key(KeySlot::Lab)["N"], 32_768);
}

#[test]
fn locks_are_compatible_with_restic() {
    let office = Office::new();
    let repository = office.open();
    let (one, two) = (repository.lock(false).unwrap(), repository.lock(false).unwrap());
    let error = repository.lock(true).err().unwrap();
    assert!(error.kind == Kind::Locked && error.message.contains("uses it (process "), "{error}");
    // restic recognizes the locks.
    let restic = |arguments: &[&str]| {
        let mut command = Command::new("restic");
        command.args(["--no-cache", "--repo"]).arg(office.root()).args(arguments).env("RESTIC_PASSWORD", "pw");
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (pruned, said) = restic(&["prune"]);
    assert!(!pruned && said.contains("repository is already locked by PID"), "{said}");
    assert!(restic(&["snapshots"]).0, "reading does not need the lock");
    drop((one, two));
    let exclusive = repository.lock(true).unwrap();
    let (listed, said) = restic(&["snapshots"]);
    assert!(!listed && said.contains("already locked exclusively"), "{said}");
    assert!(repository.lock(false).is_err() && repository.lock_to_read().is_err());
    drop(exclusive);
    assert!(restic(&["prune"]).0);
    assert!(office.storage.list(Folder::Locks).unwrap().is_empty());
    // A lock file that cannot be read counts as a lock.
    let foreign = office.root().join("locks").join("ab".repeat(32));
    fs::write(&foreign, "x").unwrap();
    assert_eq!(repository.lock(false).err().unwrap().message, "`office` is locked: a lock in it cannot be read");
}

#[test]
fn the_keys_and_the_workspace_are_stored_beside_the_snapshots() {
    let office = Office::new();
    let (dir, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = dir.path();
    let git = |line: &str| sh("sh", &["-c", &format!("cd '{}' && {line}", root.display())]);
    assert!(office.open().recoverable().unwrap_err().message.contains("contains no keys"));
    let keys = super::super::recovery_bundle::SealedKeys {
        identity: b"sealed identity",
        keys: b"sealed keys",
        digest: &"ab".repeat(32),
    };
    fs::create_dir_all(root.join(".lap/keys")).unwrap();
    fs::write(root.join(".lap/keys/admin"), "secret").unwrap();
    fs::write(root.join("lap.toml"), "lab = \"lab\"\n").unwrap();
    fs::write(root.join("target"), "large").unwrap();
    git(
        "printf '/target\\n/.lap\\n' >.gitignore && git init -q && git add -A && git -c user.name=t -c user.email=t@t commit -qm one",
    );
    git("git config remote.origin.url https://user:secret@host && echo new >uncommitted");

    let repository = office.open();
    for _ in 0..2 {
        repository.keep_keys("lab", &keys).unwrap();
        repository.keep_workspace("lab", root).unwrap();
    }
    let said = office.restic(&["snapshots"]);
    assert_eq!(said.matches("lap-keys").count() / 2, 1, "the same keys are not stored again: {said}");
    assert_eq!(repository.recoverable().unwrap(), "lab");

    workspace(&repository, back.path()).unwrap();
    let there = |name: &str| back.path().join(name).exists();
    assert!(
        there("lap.toml") && there("uncommitted") && !there("target") && !there(".lap/keys") && !there(".git/hooks")
    );
    let said = Command::new("git").args(["status", "--short"]).current_dir(back.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "?? uncommitted\n", "{said:?}");
    assert!(!fs::read_to_string(back.path().join(".git/config")).unwrap().contains("secret"));
    assert_eq!(repository.sealed_keys().unwrap(), (b"sealed identity".to_vec(), b"sealed keys".to_vec()));
    assert!(office.restic(&["check", "--read-data"]).contains("no errors were found"));
}

/// An unreadable key may be the passphrase's, so it does not count as absent.
#[test]
fn a_key_or_a_lock_that_cannot_be_read_is_not_absent() {
    let office = Office::new();
    let repository = office.open();
    repository.set_passphrase(&secret("first")).unwrap();
    let keys = office.root().join("keys");
    for entry in fs::read_dir(&keys).unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap();
        if text.contains("lap-passphrase") {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(entry.path(), &text[..text.len() / 2]).unwrap();
        }
    }
    let error = repository.set_passphrase(&secret("second")).unwrap_err();
    assert!(error.message.starts_with("cannot read the key `keys/"), "{error}");
    assert!(repository.has_passphrase().is_err());
    fs::create_dir_all(office.root().join("locks")).unwrap();
    let lock = office.root().join("locks").join("a".repeat(64));
    fs::write(&lock, "{").unwrap();
    let error = repository.lock_to_read().err().unwrap();
    assert!(error.message.ends_with("a lock in it cannot be read"), "{error}");
}

/// The same through OpenSSH's SFTP server, without a network.
#[test]
fn a_copy_over_sftp_is_fetched_without_a_difference() {
    let office = Office::with(|path| {
        let mut server = Command::new("/usr/lib/openssh/sftp-server");
        Arc::new(Sftp::start(&mut server, path.to_str().unwrap()).unwrap())
    });
    office.copies_and_fetches_a_large_file(|| {
        assert!(office.restic(&["check", "--read-data"]).contains("no errors were found"));
    });
    let missing = RepositoryFile::new(Folder::Data, &"ab".repeat(32)).unwrap();
    assert_eq!(office.storage.read(&missing, None).unwrap_err().kind(), io::ErrorKind::NotFound);
    let (file, size) = office.storage.list(Folder::Data).unwrap().remove(0);
    assert_eq!(office.storage.read(&file, Some((size - 1, 2))).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(office.storage.read(&file, None).unwrap().len() as u64, size, "the connection works after an error");
    let names = office.storage.list_root().unwrap().unwrap();
    assert!(
        names.contains(&"config".into()) && !Path::new(&office.root()).join("tmp").read_dir().unwrap().any(|_| true)
    );
}
