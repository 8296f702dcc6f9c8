use std::os::unix::fs::MetadataExt;

use lap_base::secret::Secret;

use super::{
    super::{authority, reading},
    *,
};
use crate::keys::{
    directory::{keys_dir, lap_dir},
    maker::Maker,
};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Secret::new(text.into())).unwrap()
}

/// A workspace with keys, an export of it, and an empty workspace.
fn lab() -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, file) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("keys.age"));
    let made = Keys::create(&from, "office", "internal", &["prod".into(), "test".into()]).unwrap();
    made.keys.make_host_key("master").unwrap();
    fs::create_dir(&to).unwrap();
    export_with(&from, &file, &passphrase("a good passphrase"), 2).unwrap();
    (dir, from, to, file)
}

fn encrypt(file: &Path, plain: &[u8]) {
    let mut recipient = age::scrypt::Recipient::new(passphrase("a good passphrase").for_age());
    recipient.set_work_factor(2);
    fs::write(file, age::encrypt(&recipient, plain).unwrap()).unwrap();
}

#[test]
fn there_and_back() {
    let (_dir, from, to, file) = lab();
    let secret = passphrase("a good passphrase");
    let added = import(&to, &file, &secret).unwrap().added;
    assert!(added.contains(&"test/issuing.key".to_owned()) && added.contains(&"hosts/master".to_owned()), "{added:?}");
    for path in files::list(&keys_dir(&from)).unwrap() {
        let (a, b) = (keys_dir(&from).join(&path), keys_dir(&to).join(&path));
        assert_eq!(fs::read(a).unwrap(), fs::read(&b).unwrap());
        assert_eq!(fs::metadata(&b).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(b.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
    }
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert!(import(&to, &file, &secret).unwrap().added.is_empty(), "the second time there is nothing to do");
    fs::remove_file(keys_dir(&to).join("hosts/master")).unwrap();
    assert_eq!(import(&to, &file, &secret).unwrap().added, ["hosts/master"]);
    assert_eq!(export_with(&from, &file, &secret, 2).unwrap_err().kind, Kind::Refused, "never overwritten");
}

/// An environment that was added since: the authorities of the others were signed again.
#[test]
fn a_certificate_that_was_signed_again_replaces_the_older_one_of_the_same_key() {
    let (dir, from, to, old) = lab();
    let secret = passphrase("a good passphrase");
    import(&to, &old, &secret).unwrap();
    let later = time::OffsetDateTime::now_utc() + time::Duration::HOUR;
    let store = keys_dir(&from);
    let mut maker = Maker::new(&store, "office", "internal", later);
    let all = ["prod", "stage", "test"].map(str::to_owned);
    maker.make(&all[1..2], &all).unwrap();
    maker.renew(&all).unwrap();
    let new = dir.path().join("new.age");
    export_with(&from, &new, &secret, 2).unwrap();
    let added = import(&to, &new, &secret).unwrap().added;
    assert!(added.ends_with(&["prod/issuing.crt".into(), "test/issuing.crt".into()]), "{added:?}");
    let read = |store: &Path| fs::read(keys_dir(store).join("prod/issuing.crt")).unwrap();
    assert_eq!(read(&from), read(&to));
    // The older export does not bring the older one back.
    assert!(import(&to, &old, &secret).unwrap().added.is_empty());
    assert_eq!(read(&from), read(&to));
    // A root with the same name and key that vouches for more, or that another key signed, is refused.
    let store = keys_dir(&from);
    let root = reading::authority(&store, "root").unwrap();
    let wide = authority::root_for_test(&root, &root, "example.org", later).unwrap();
    let stranger = dir.path().join("stranger");
    Keys::create(&stranger, "office", "internal", &["prod".into()]).unwrap();
    let signer = reading::authority(&keys_dir(&stranger), "root").unwrap();
    let forged = authority::root_for_test(&root, &signer, "internal", later).unwrap();
    let here = fs::read(keys_dir(&to).join("root.crt")).unwrap();
    for (pem, kind) in [(wide, Kind::Refused), (forged, Kind::Keys)] {
        files::replace(&store.join("root.crt"), pem.as_bytes(), 0o600).unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all("keys", &store).unwrap();
        let file = dir.path().join("forged.age");
        encrypt(&file, &archive.into_inner().unwrap());
        let error = import(&to, &file, &secret).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert_eq!(fs::read(keys_dir(&to).join("root.crt")).unwrap(), here);
    }
    // Another authority's certificate is another key.
    let other = dir.path().join("other");
    Keys::create(&other, "office", "internal", &["prod".into()]).unwrap();
    let file = dir.path().join("other.age");
    export_with(&other, &file, &secret, 2).unwrap();
    let error = import(&to, &file, &secret).unwrap_err();
    assert!(error.kind == Kind::Refused && error.message.contains("`prod/issuing.crt`"), "{error}");
}

#[test]
fn the_dns_key_that_all_environments_shared_does_not_travel() {
    let (_dir, from, to, file) = lab();
    let old = keys_dir(&from).join("dns/lap-admin.json");
    fs::copy(keys_dir(&from).join("dns/lap-admin-test.json"), &old).unwrap();
    fs::remove_file(&file).unwrap();
    export_with(&from, &file, &passphrase("a good passphrase"), 2).unwrap();
    let plain = decrypt(&fs::read(&file).unwrap(), &passphrase("a good passphrase"), &file).unwrap();
    assert!(unpack(&plain).unwrap().keys().all(|path| !path.ends_with("lap-admin.json")));
    // Nor does one of an export that was made when they shared it.
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("keys", keys_dir(&from)).unwrap();
    encrypt(&file, &archive.into_inner().unwrap());
    let added = import(&to, &file, &passphrase("a good passphrase")).unwrap().added;
    assert!(added.contains(&"dns/lap-admin-test.json".to_owned()), "{added:?}");
    assert!(!added.contains(&"dns/lap-admin.json".to_owned()) && !keys_dir(&to).join("dns/lap-admin.json").exists());
}

#[test]
fn other_keys_are_named_and_kept() {
    let (_dir, _, to, file) = lab();
    Keys::create(&to, "office", "internal", &["test".into()]).unwrap();
    let before = fs::read(keys_dir(&to).join("admin")).unwrap();
    let error = import(&to, &file, &passphrase("a good passphrase")).unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    assert!(error.message.contains("`admin`, `admin.pub`") && error.message.contains("`test/issuing.key`"), "{error}");
    assert_eq!(fs::read(keys_dir(&to).join("admin")).unwrap(), before);
    assert!(!keys_dir(&to).join("prod").exists());
}

#[test]
fn a_wrong_passphrase_or_a_damaged_file_leaves_nothing() {
    let (dir, _, to, file) = lab();
    let good = passphrase("a good passphrase");
    let check = |file: &Path, passphrase: &Passphrase, say: &str| {
        let error = import(&to, file, passphrase).unwrap_err();
        assert!(error.kind == Kind::Keys && error.message.contains(say), "{error}");
        assert_eq!(error.message.lines().count(), 1);
        assert!(!keys_dir(&to).exists());
    };
    check(&file, &passphrase("another passphrase"), "the passphrase does not open");
    check(&dir.path().join("none"), &good, "cannot read");
    let whole = fs::read(&file).unwrap();
    let bad = dir.path().join("bad.age");
    for length in [0, 5, 30, 100, 180, 1000, whole.len() - 1] {
        fs::write(&bad, &whole[..length]).unwrap();
        check(&bad, &good, "not a usable key export");
    }
    for at in [200, 2000, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&bad, &changed).unwrap();
        check(&bad, &good, "not a usable key export");
    }
    fs::write(&bad, "not age at all\n").unwrap();
    check(&bad, &good, "not an age file");
    encrypt(&bad, b"no tar");
    check(&bad, &good, "not a usable key export");
    encrypt(&bad, &[0; 1024]);
    check(&bad, &good, "no keys in it");
}

#[test]
fn no_path_leads_out_of_the_store() {
    let (dir, _, to, _) = lab();
    let bad = dir.path().join("bad.age");
    let good = passphrase("a good passphrase");
    for path in ["../evil", "keys/../../evil", "/etc/evil", "keys/.hidden", "keys/a/b/c/d/e", "evil", "keys"] {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(4);
        header.set_mode(0o4777);
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append(&header, &b"evil"[..]).unwrap();
        encrypt(&bad, &archive.into_inner().unwrap());
        let error = import(&to, &bad, &good).unwrap_err();
        assert!(error.message.contains("not a key's"), "{path}: {error}");
    }
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "keys/admin", "/etc/shadow").unwrap();
    encrypt(&bad, &archive.into_inner().unwrap());
    assert!(import(&to, &bad, &good).unwrap_err().message.contains("not a file"));
    assert!(!keys_dir(&to).exists());
}

#[test]
fn an_export_with_a_key_that_does_not_belong_is_refused() {
    let (dir, from, to, _) = lab();
    let other = dir.path().join("other");
    Keys::create(&other, "office", "internal", &[]).unwrap();
    fs::copy(keys_dir(&other).join("root.key"), keys_dir(&from).join("root.key")).unwrap();
    let bad = dir.path().join("bad.age");
    encrypt(&bad, &pack(&keys_dir(&from), 0).unwrap());
    let error = import(&to, &bad, &passphrase("a good passphrase")).unwrap_err();
    assert!(error.message.contains("`root.crt` is damaged"), "{error}");
    assert!(!keys_dir(&to).exists());
    assert!(fs::read_dir(lap_dir(&to)).unwrap().flatten().all(|e| !e.path().is_dir()), "no staging directory stays");
}

#[test]
fn a_workspace_without_keys_has_nothing_to_export() {
    let dir = tempfile::tempdir().unwrap();
    let error = export(dir.path(), &dir.path().join("x"), &passphrase("a good passphrase")).unwrap_err();
    assert!(error.kind == Kind::Keys && error.hints.len() == 2);
}
