use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::keys::Keys;

const STOCK: &str = "key \"dhcp.internal\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=\";\n};\n";

fn lab() -> (tempfile::TempDir, Keys) {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::create(dir.path(), "office", "internal", &["test".into()]).unwrap().keys;
    (dir, keys)
}

fn from(text: &str) -> Result<DnsKey> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("k");
    fs::write(&file, text).unwrap();
    DnsKey::from_file(&file)
}

#[test]
fn each_environment_has_an_admin_key_that_follows_the_zone() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::create(dir.path(), "office", "internal", &["prod".into(), "test".into()]).unwrap().keys;
    let path = dir.path().join(".lap/keys/dns/lap-admin-test.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let files = ["prod", "test"].map(|name| keys.dns_file(name, "test", "lab.example.org"));
    for (file, name) in files.iter().zip(["lap-admin-prod", "lap-admin-test"]) {
        assert_eq!(file.keys.len(), 1);
        assert_eq!((file.keys[0].name.as_str(), file.keys[0].transfer, file.keys[0].expire), (name, true, None));
        assert_eq!(file.keys[0].update, ["*.lab.example.org", "*.in-addr.arpa"]);
    }
    assert_ne!(files[0].keys[0].secret, files[1].keys[0].secret);
    assert_eq!(keys.dns_admin("test", "internal").unwrap().entry().secret, files[1].keys[0].secret);
    assert_eq!(keys.dns()[0].entry().update, ["*.internal", "*.in-addr.arpa"]);
    assert_eq!(keys.dns()[0].secret().len(), 32);
    // A store that was made before there were any.
    fs::remove_file(&path).unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    assert!(keys.dns_file("test", "test", "internal").keys.is_empty());
    let made = keys.dns_admin("test", "internal").unwrap();
    assert_eq!(keys.dns_admin("test", "internal").unwrap(), made);
    assert_eq!(Keys::open(dir.path()).unwrap().dns()[1], made);
    // The longest name an environment may have.
    let long = "e".repeat(63);
    assert_eq!(keys.dns_admin(&long, "internal").unwrap().name(), format!("lap-admin.{long}"));
    assert_eq!(Keys::open(dir.path()).unwrap().dns().len(), 3);
}

#[test]
fn the_admin_key_that_all_shared_is_delivered_nowhere_and_goes() {
    let (dir, keys) = lab();
    let root = dir.path();
    let json = root.join(".lap/keys/dns/lap-admin.json");
    let bind = file(root, "lap-admin");
    let shared = || {
        // As it was written then.
        let old =
            DnsKey::generate("lap-admin", "hmac-sha256").unwrap().with_rights(admin_update("internal"), true, None);
        files::write_new(&json, serde_json::to_string(old.entry()).unwrap().as_bytes(), 0o600).unwrap();
        write_file(root, &old).unwrap();
    };
    shared();
    fs::remove_file(root.join(".lap/keys/dns/lap-admin-test.json")).unwrap();
    let old = Keys::open(root).unwrap();
    assert!(old.dns().is_empty() && json.exists());
    let made = old.dns_admin("test", "internal").unwrap();
    assert_ne!(made.entry().secret, keys.dns()[0].entry().secret);
    assert!(!json.exists() && !bind.exists());
    shared();
    assert!(Keys::create(root, "office", "internal", &["test".into()]).unwrap().made.is_empty());
    assert!(!json.exists() && !bind.exists());
    assert_eq!(Keys::open(root).unwrap().dns(), [made]);
}

#[test]
fn a_key_is_of_one_environment() {
    let (dir, _) = lab();
    for (name, environment) in [("old", None), ("one", Some("prod")), ("two", Some("test"))] {
        let key = DnsKey::generate(name, "hmac-sha256").unwrap();
        add(dir.path(), &environment.map_or(key.clone(), |environment| key.of(environment))).unwrap();
    }
    let text = fs::read_to_string(dir.path().join(".lap/keys/dns/old.json")).unwrap();
    assert!(!text.contains("environment"), "{text}");
    let keys = Keys::open(dir.path()).unwrap();
    let names = |environment, default| {
        let file = keys.dns_file(environment, default, "internal");
        file.keys.into_iter().map(|key| key.name).collect::<Vec<_>>()
    };
    assert_eq!(names("test", "test"), ["lap-admin-test", "old", "two"]);
    assert_eq!(names("prod", "test"), ["one"]);
    assert_eq!(names("prod", "prod"), ["old", "one"]);
    // The same name is not free in another environment.
    let again = DnsKey::generate("one", "hmac-sha256").unwrap().of("test");
    assert_eq!(add(dir.path(), &again).unwrap_err().kind, Kind::Refused);
    assert_eq!(remove(dir.path(), "one").unwrap().as_deref(), Some("prod"));
    assert_eq!(remove(dir.path(), "old").unwrap(), None);
    // A key of somebody else does not become lap's by its name.
    for key in
        [DnsKey::generate("lap-admin-prod", "hmac-sha256").unwrap().of("test"), again.named("lap-admin-x").unwrap()]
    {
        add(dir.path(), &key).unwrap();
        let error = Keys::open(dir.path()).unwrap_err();
        assert!(error.message.contains("it has the name of lap's own key"), "{error}");
        fs::remove_file(dir.path().join(format!(".lap/keys/dns/{}.json", key.name()))).unwrap();
    }
}

#[test]
fn added_once_listed_and_removed() {
    let (dir, _) = lab();
    let key = DnsKey::generate("DHCP.internal.", "hmac-sha512").unwrap();
    let key = key.with_rights(vec!["*.pc.internal".into()], false, Some(3600));
    assert_eq!((key.name(), key.secret().len()), ("dhcp.internal", 64));
    add(dir.path(), &key).unwrap();
    let error = add(dir.path(), &key).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Refused, "there is a key `dhcp.internal` already"));
    let path = write_file(dir.path(), &key).unwrap();
    assert_eq!(path, dir.path().join(".lap/dns/dhcp.internal.key"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(DnsKey::from_file(&path).unwrap().secret(), key.secret(), "what is written is read again");
    let names: Vec<_> = Keys::open(dir.path()).unwrap().list().unwrap().into_iter().map(|key| key.name).collect();
    assert_eq!(names[3..], ["dns/dhcp.internal", "dns/lap-admin-test"]);
    remove(dir.path(), "dhcp.internal").unwrap();
    assert!(!path.exists() && Keys::open(dir.path()).unwrap().dns().len() == 1);
    assert_eq!(remove(dir.path(), "dhcp.internal").unwrap_err().message, "there is no key `dhcp.internal`");
    assert_eq!(remove(dir.path(), "lap-admin-test").unwrap_err().kind, Kind::Refused);
    assert_eq!(remove(dir.path(), "../admin").unwrap_err().kind, Kind::Usage);
}

#[test]
fn keys_of_tsig_keygen_are_taken_as_they_are() {
    let key = from(STOCK).unwrap();
    assert_eq!((key.name(), key.entry().algorithm.as_str()), ("dhcp.internal", "hmac-sha256"));
    assert_eq!(key.bind().expose(), STOCK);
    for same in [
        STOCK.replace('\n', " "),
        STOCK.replace("\"dhcp.internal\"", "dhcp.internal."),
        STOCK.replace("hmac-sha256", "HMAC-SHA256"),
        format!("// made yesterday\n# by hand\n{STOCK}"),
        STOCK.replace(";\n\tsecret", "; // the \"default\"\n\tsecret"),
        STOCK.replace("};", "}; # the end"),
    ] {
        assert_eq!(from(&same).unwrap().bind().expose(), STOCK, "{same}");
    }
    for (wrong, why) in [
        (String::new(), "it does not contain exactly one key"),
        (format!("{STOCK}{STOCK}"), "it does not contain exactly one key"),
        (STOCK.replace("secret ", "sceret "), "it does not contain exactly one key"),
        (
            STOCK.replace("hmac-sha256", "hmac-md5"),
            "`hmac-md5` is not an algorithm that lap supports: write `hmac-sha256` or `hmac-sha512`",
        ),
        (STOCK.replace("c2VjcmV0c2Vj", "c2Vj*"), "its secret is not base64"),
        (
            STOCK.replace("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=", "c2VjcmV0"),
            "its secret is shorter than 16 bytes",
        ),
        (STOCK.replace("dhcp.internal", "../x"), "`../x` is not a key's name: write e.g. `dhcp` or `dhcp.internal`"),
    ] {
        let error = from(&wrong).unwrap_err();
        assert!(
            error.kind == Kind::Keys && error.message.ends_with(&format!("is not a usable TSIG key: {why}")),
            "{error}"
        );
        assert!(!error.message.contains("c2Vj"), "{error}");
    }
}

/// Base64 has `/` in it: two of them in a quoted secret begin no comment.
#[test]
fn a_secret_may_look_like_a_comment() {
    let secret = "c2Vj//NldHNl//JldHNlY3JldHNlY3JldHNlY3JldA==";
    let key = from(&STOCK.replace("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=", secret)).unwrap();
    assert_eq!(key.entry().secret, secret);
}

#[test]
fn a_damaged_key_is_named_and_never_quoted() {
    for bad in ["c2VjcmV0", "{\"name\":\"x\",\"algorithm\":\"hmac-sha256\",\"secret\":\"c2VjcmV0\"}"] {
        let (dir, _) = lab();
        fs::write(dir.path().join(".lap/keys/dns/lap-admin-test.json"), bad).unwrap();
        let error = Keys::open(dir.path()).unwrap_err();
        assert!(error.kind == Kind::Keys && error.message.contains("lap-admin-test.json"), "{error}");
        assert!(!format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
    }
    let (dir, keys) = lab();
    assert!(!format!("{keys:?}").contains(&keys.dns()[0].entry().secret));
    fs::set_permissions(dir.path().join(".lap/keys/dns/lap-admin-test.json"), fs::Permissions::from_mode(0o644))
        .unwrap();
    assert!(Keys::open(dir.path()).unwrap_err().hints[0].starts_with("run `chmod 600 "));
}
