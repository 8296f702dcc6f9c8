//! The two doors of a registry: the one for readers refuses every change, the one for writers needs the password of the environment.

use lap::registry::copy;
use lap_base::{Kind, secret::Secret};

use super::{
    copied::image,
    stock::{Authority, Door, Stock, noise, settings},
    wire::Wire,
};

/// Every request that would change something, on an image that is there and an upload that was begun.
fn writes(registry: &Stock, digest: &str) -> Vec<(&'static str, String)> {
    let upload = registry.upload("git");
    vec![
        ("POST", "git/blobs/uploads/".to_owned()),
        ("POST", format!("git/blobs/uploads/?mount={digest}&from=git")),
        ("PATCH", upload.clone()),
        ("PUT", upload.clone()),
        ("DELETE", upload),
        ("PUT", "git/manifests/latest".to_owned()),
        ("DELETE", format!("git/manifests/{digest}")),
        ("DELETE", format!("git/blobs/{digest}")),
    ]
}

#[test]
fn the_door_for_readers_changes_nothing_for_anybody() {
    let authority = Authority::new();
    let registry = Stock::start(&authority, "test");
    let digest = registry.image("git", &[&noise(1000)]);
    let reader = registry.door("read.yml", &settings("read.yml"));
    let status = |door: &Door, login: Option<&str>, method: &str, path: &str| {
        registry.status_at(Some(door), login, method, path)
    };
    let (test, manifest) = (authority.login("test"), format!("git/manifests/{digest}"));
    for login in [None, Some(test.as_str()), Some("lap:wrong")] {
        assert_eq!(status(&reader, login, "GET", ""), "200");
        assert_eq!(status(&reader, login, "GET", "_catalog"), "200");
        for (method, path) in writes(&registry, &digest) {
            assert_eq!(status(&reader, login, method, &path), "405", "{method} {path}");
        }
    }
    registry.has_whole("git", &digest);

    // The settings of an earlier lap: the same requests are taken.
    let was = settings("read.yml")
        .replace("    readonly:\n      enabled: true\n", "")
        .replace("  maintenance:", "  delete:\n    enabled: true\n  maintenance:");
    assert_ne!(was, settings("read.yml"));
    let open = registry.door("open.yml", &was);
    assert_eq!(status(&open, None, "POST", "git/blobs/uploads/"), "202", "the attack works without the protection");
    assert_eq!(status(&open, None, "DELETE", &manifest), "202", "the attack works without the protection");
    assert_eq!(registry.status(&manifest), "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_for_writers_needs_the_password_of_its_environment() {
    let authority = Authority::new();
    let registry = Stock::start(&authority, "test");
    let digest = registry.image("git", &[&noise(1000)]);
    let status = |login: Option<&str>, method: &str, path: &str| registry.status_at(None, login, method, path);
    let (test, prod) = (authority.login("test"), authority.login("prod"));
    let wrong = format!("{test}x");
    for login in [None, Some(prod.as_str()), Some(wrong.as_str()), Some("lap:"), Some("admin:admin")] {
        assert_eq!(status(login, "GET", ""), "401", "{login:?}");
        for (method, path) in writes(&registry, &digest) {
            assert_eq!(status(login, method, &path), "401", "{login:?} {method} {path}");
        }
    }
    assert_eq!(status(Some(&test), "GET", ""), "200");
    assert_eq!(status(Some(&test), "POST", "git/blobs/uploads/"), "202");
    // Only `lap prune` removes images.
    for path in [format!("git/manifests/{digest}"), format!("git/blobs/{digest}")] {
        assert_eq!(status(Some(&test), "DELETE", &path), "405", "{path}");
    }
    registry.has_whole("git", &digest);

    // lap names the remedy.
    let (wire, to) = (Wire::new(), Wire::new());
    let source = registry.client(&wire);
    let stranger = registry.client(&to).with_login("lap", &Secret::new("wrong".into())).unwrap();
    let error = copy(&source, &stranger, &[image("git", "other/git", &digest)], &[], &|_: &str| {}).await.unwrap_err();
    assert_eq!(error.kind, Kind::Keys, "{error}");
    assert!(error.hints.iter().any(|hint| hint.contains("lap up")), "{error:?}");
}
