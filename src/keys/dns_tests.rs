use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

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
fn the_admin_key_is_made_with_the_others_and_follows_the_zone() {
    let (dir, keys) = lab();
    let path = dir.path().join(".lap/keys/dns/lap-admin.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let file = keys.dns_file("lab.example.org");
    assert_eq!(file.keys.len(), 1);
    assert_eq!((file.keys[0].name.as_str(), file.keys[0].transfer, file.keys[0].expire), ("lap-admin", true, None));
    assert_eq!(file.keys[0].update, ["*.lab.example.org", "*.in-addr.arpa"]);
    assert_eq!(keys.dns()[0].entry().update, ["*.internal", "*.in-addr.arpa"]);
    assert_eq!(keys.dns()[0].secret().len(), 32);
    // A store that was made before there were any.
    fs::remove_file(&path).unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    assert!(keys.dns().is_empty());
    let made = keys.dns_admin("internal").unwrap();
    assert_eq!(keys.dns_admin("internal").unwrap(), made);
    assert_eq!(Keys::open(dir.path()).unwrap().dns(), [made]);
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
    assert_eq!(names[3..], ["dns/dhcp.internal", "dns/lap-admin"]);
    remove(dir.path(), "dhcp.internal").unwrap();
    assert!(!path.exists() && Keys::open(dir.path()).unwrap().dns().len() == 1);
    assert_eq!(remove(dir.path(), "dhcp.internal").unwrap_err().message, "there is no key `dhcp.internal`");
    assert_eq!(remove(dir.path(), "lap-admin").unwrap_err().kind, Kind::Refused);
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
    ] {
        assert_eq!(from(&same).unwrap().bind().expose(), STOCK, "{same}");
    }
    for (wrong, why) in [
        (String::new(), "it does not say one key"),
        (format!("{STOCK}{STOCK}"), "it does not say one key"),
        (STOCK.replace("secret ", "sceret "), "it does not say one key"),
        (
            STOCK.replace("hmac-sha256", "hmac-md5"),
            "`hmac-md5` is not an algorithm lap takes: write `hmac-sha256` or `hmac-sha512`",
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

#[test]
fn a_damaged_key_is_named_and_never_quoted() {
    for bad in ["c2VjcmV0", "{\"name\":\"x\",\"algorithm\":\"hmac-sha256\",\"secret\":\"c2VjcmV0\"}"] {
        let (dir, _) = lab();
        fs::write(dir.path().join(".lap/keys/dns/lap-admin.json"), bad).unwrap();
        let error = Keys::open(dir.path()).unwrap_err();
        assert!(error.kind == Kind::Keys && error.message.contains("lap-admin.json"), "{error}");
        assert!(!format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
    }
    let (dir, keys) = lab();
    assert!(!format!("{keys:?}").contains(&keys.dns()[0].entry().secret));
    fs::set_permissions(dir.path().join(".lap/keys/dns/lap-admin.json"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Keys::open(dir.path()).unwrap_err().hints[0].starts_with("run `chmod 600 "));
}
