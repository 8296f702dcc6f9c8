//! Tests with subvolumes that containers made in their data.

use lap_snapshots::nested::remove;

use super::*;
use crate::restore::{here, job};

/// The copy contains the subvolumes of a container, also after a restore to a pool without subvolumes.
#[test]
fn a_copy_contains_the_subvolumes_in_the_data() {
    let office = Office::new();
    let data = office.pool.path().join("data");
    for path in ["git/layers", "git/layers/deep"] {
        snapshot::volume::create(&data.join(path)).unwrap();
        office.pool.write(&format!("{path}/file"), path);
    }
    let meta = office.take(1_795_254_312);
    assert_eq!(meta.nested.kept, ["git/layers", "git/layers/deep"]);
    office.copy("latest");
    // The fetch starts from a snapshot that contains them, from the present data, and from no data.
    let second = office.take(1_795_254_400);
    let came = |office: &Office| {
        let fetched = office.fetch(&meta).unwrap();
        assert_eq!(fetched.nested, meta.nested);
        let target = office.pool.path().join("target");
        snapshot::volume::copy(&office.data(&meta), &target).unwrap();
        let from = office.pool.path().join("snapshots").join(meta.id.to_string());
        snapshot::nested::put(&from, &fetched.nested, Path::new(""), &target).unwrap();
        for path in ["git/layers", "git/layers/deep"] {
            assert_eq!(fs::read_to_string(target.join(path).join("file")).unwrap(), path);
            fs::write(target.join(path).join("more"), "it may be written to").unwrap();
        }
        remove::delete_all(&target).unwrap();
        snapshot::remove(&office.pool.path(), &meta.id).unwrap();
    };
    snapshot::remove(&office.pool.path(), &meta.id).unwrap();
    came(&office);
    snapshot::remove(&office.pool.path(), &second.id).unwrap();
    came(&office);
    remove::delete_all(&data).unwrap();
    snapshot::volume::create(&data).unwrap();
    came(&office);
    assert_eq!(office.pool.left_over(), [""; 0]);
    // The fetch goes to a pool without subvolumes.
    let plain = Pool::on(Filesystem::Ext4);
    warnings::listen();
    let found = office.open().copies_of("lab", "test").unwrap().into_iter().find(|copy| copy.id == meta.id).unwrap();
    let restore = |half: &Path| here::here(office.open(), job::RestoreKind::Snapshot, &found.restic, half);
    let fetched = fetch("office", &plain.path(), &found.id, None, restore).unwrap();
    let target = plain.path().join("target");
    snapshot::volume::copy(&snapshot::data(&plain.path(), &meta.id), &target).unwrap();
    let from = plain.path().join("snapshots").join(meta.id.to_string());
    snapshot::nested::put(&from, &fetched.nested, Path::new(""), &target).unwrap();
    for path in ["git/layers", "git/layers/deep"] {
        assert_eq!(fs::read_to_string(target.join(path).join("file")).unwrap(), path);
    }
}
