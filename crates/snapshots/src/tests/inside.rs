//! Tests of subvolumes that containers make in their data: no operation fails because of them, and each loss is
//! reported.

use std::collections::BTreeMap;

use super::*;
use crate::nested::{self, list::Nested, remove};

fn make(pool: &Pool, path: &str) -> PathBuf {
    let path = pool.path().join("data").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    btrfs::create(&path).unwrap();
    path
}

/// Returns the content of every file, and marks the subvolumes.
fn all(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(here) = left.pop() {
        for entry in fs::read_dir(&here).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if nested::subvolume_at(&path) {
                    found.insert(name, "a subvolume".into());
                }
                left.push(path);
            } else {
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// Makes a subvolume in a container's data, a nested one, a read-only one, and one whose name looks like a list of
/// btrfs.
fn furnish(pool: &Pool) {
    make(pool, "git/layers/a");
    pool.write("git/layers/a/file", "old");
    make(pool, "git/layers/a/deep/b");
    pool.write("git/layers/a/deep/b/file", "old");
    let read_only = make(pool, "git/frozen");
    pool.write("git/frozen/file", "old");
    make(pool, "git/frozen/inner");
    pool.write("git/frozen/inner/file", "old");
    btrfs::set_read_only(&read_only).unwrap();
    make(pool, "git/new\nline");
    pool.write("git/new\nline/file", "old");
    make(pool, "registry/x\nID 1 gen 1 top level 5 path data/git/layers");
    pool.write("registry/x\nID 1 gen 1 top level 5 path data/git/layers/file", "old");
}

#[test]
fn a_restore_puts_subvolumes_back_and_keeps_the_replaced_ones() {
    let pool = Pool::new();
    furnish(&pool);
    let before = all(&pool.path().join("data"));
    assert_eq!(before.len(), 13, "{before:?}");
    let first = pool.take();
    assert_eq!(first.nested.missing, []);
    assert_eq!(first.nested.kept.len(), 6);
    assert_eq!(described(&pool.path(), &first.id), Some(first.clone()));
    let differs = |pool: &Pool| diff(&pool.path(), &data(&pool.path(), &first.id), &pool.path().join("data")).unwrap();
    assert_eq!(differs(&pool), [], "the subvolumes are compared too");
    // A subvolume is removed, one is added, and one is changed.
    remove::delete_all(&pool.path().join("data/git/frozen")).unwrap();
    pool.write("git/layers/a/file", "new");
    pool.write("git/layers/a/deep/b/more", "new");
    make(&pool, "git/layers/c");
    pool.write("git/layers/c/file", "new");
    let changed = all(&pool.path().join("data"));
    let told: Vec<_> = differs(&pool).iter().map(|one| format!("{:?} {}", one.change, one.path.display())).collect();
    assert_eq!(
        told,
        [
            "Removed git/frozen/file",
            "Removed git/frozen/inner/file",
            "Added git/layers/a/deep/b/more",
            "Changed git/layers/a/file",
            "Added git/layers/c/file",
        ]
    );
    let kept = pool.restore(&first.id, &mut Fake::up()).unwrap();
    assert_eq!(all(&pool.path().join("data")), before);
    pool.write("git/layers/a/deep/b/more", "it may be written to");
    pool.write("git/frozen/more", "this one, too");
    // The replaced data is restored, first in part and then completely.
    only(&pool, &kept.id, &["git"], &["git"], &mut Fake::up()).unwrap();
    assert_eq!(all(&pool.path().join("data")), changed);
    pool.restore(&first.id, &mut Fake::up()).unwrap();
    pool.restore(&kept.id, &mut Fake::up()).unwrap();
    assert_eq!(all(&pool.path().join("data")), changed);
    assert_eq!(pool.left_over(), [""; 0]);
    for meta in list(&pool.path()).unwrap() {
        remove(&pool.path(), &meta.id).unwrap();
    }
    assert_eq!(pool.left_over(), [""; 0]);
    assert_eq!(fs::read_dir(pool.path().join("snapshots")).unwrap().count(), 0);
}

#[test]
fn a_restore_of_a_part_puts_its_subvolumes_back() {
    let pool = Pool::new();
    furnish(&pool);
    let before = all(&pool.path().join("data"));
    let first = pool.take();
    remove::delete_all(&pool.path().join("data/git/frozen")).unwrap();
    pool.write("git/layers/a/file", "new");
    make(&pool, "git/layers/c");
    pool.write("git/layers/c/file", "new");
    pool.write("registry/more", "stays");
    let changed = all(&pool.path().join("data"));
    let kept = only(&pool, &first.id, &["git"], &["git"], &mut Fake::up()).unwrap();
    let mut wanted = before.clone();
    wanted.insert("registry/more".into(), "stays".into());
    assert_eq!(all(&pool.path().join("data")), wanted);
    assert_eq!((pool.left_over(), pool.path().join("data/.lap-restore").exists()), (Vec::new(), false));
    pool.restore(&kept.id, &mut Fake::up()).unwrap();
    assert_eq!(all(&pool.path().join("data")), changed);
    // A single subvolume can be restored as a whole. For a part of one, the error names the alternative.
    pool.write("git/layers/a/file", "newer");
    only(&pool, &first.id, &["git/layers/a"], &[], &mut Fake::up()).unwrap();
    assert_eq!(
        (pool.read("git/layers/a/file").as_str(), pool.read("git/layers/a/deep/b/file").as_str()),
        ("old", "old")
    );
    let refused = only(&pool, &first.id, &["git/layers/a/file"], &[], &mut Fake::up()).unwrap_err();
    assert_eq!(refused.message, "`git/layers/a/file` is in a btrfs subvolume that a container made");
    assert!(refused.hints[0].contains("`--only git`"), "{refused}");
    assert_eq!(pool.left_over(), [""; 0]);
}

#[test]
fn a_restore_killed_at_each_step_has_all_subvolumes_or_none() {
    quiet();
    for part in [false, true] {
        for step in RestoreStep::ALL {
            let pool = Pool::new();
            furnish(&pool);
            let data = pool.path().join("data");
            let old = all(&data);
            let first = pool.take();
            remove::delete_all(&data.join("git/frozen")).unwrap();
            pool.write("git/layers/a/file", "new");
            make(&pool, "git/layers/c");
            pool.write("git/layers/c/file", "new");
            let new = all(&data);
            let mut world = Fake { die_at: Some(step), ..Fake::up() };
            let killed = catch_unwind(AssertUnwindSafe(|| match part {
                false => pool.restore(&first.id, &mut world).map(drop),
                true => only(&pool, &first.id, &["git"], &["git"], &mut world).map(drop),
            }));
            if part && matches!(step, RestoreStep::Unmount | RestoreStep::Mount) {
                continue;
            }
            assert!(killed.is_err_and(|e| e.is::<Killed>()), "{step:?}");
            let (path, state) = (pool.path(), pool.state());
            let mut world = Fake { mounted: true, ..Fake::default() };
            recover(&path, &state, &mut world).unwrap();
            only::recover(&path, &state, &mut world).unwrap();
            sweep(&path, &named(&state).unwrap()).unwrap();
            let switched = match part {
                false => !matches!(
                    step,
                    RestoreStep::Prepare | RestoreStep::Stop | RestoreStep::Unmount | RestoreStep::Switch
                ),
                true => matches!(step, RestoreStep::Start | RestoreStep::Keep | RestoreStep::Close),
            };
            let context = format!("killed at {step:?}, a part {part}");
            assert_eq!(all(&data), if switched { old } else { new.clone() }, "{context}");
            assert_eq!(pool.left_over(), [""; 0], "{context}");
            if switched {
                let kept = find(&path, "latest").unwrap();
                pool.restore(&kept.id, &mut Fake::up()).unwrap();
                assert_eq!(all(&data), new, "{context}");
            }
        }
    }
}

#[test]
fn a_subvolume_with_a_misleading_name_does_no_harm() {
    let pool = Pool::new();
    let first = pool.take();
    pool.restore(&first.id, &mut Fake::up()).unwrap();
    // `lap prune` removes the replaced data. The list of subvolumes in it must not lead to `state`.
    let kept = find(&pool.path(), "latest").unwrap();
    let inside = data(&pool.path(), &kept.id);
    btrfs::set_writable(&inside).unwrap();
    btrfs::create(&inside.join("git/x\nID 1 gen 1 top level 5 path state")).unwrap();
    btrfs::set_read_only(&inside).unwrap();
    remove(&pool.path(), &kept.id).unwrap();
    assert!(pool.state().exists() && pool.path().join("data").exists());
    assert_eq!(list(&pool.path()).unwrap().len(), 1);
}

#[test]
fn a_missing_subvolume_is_reported() {
    use std::os::unix::ffi::OsStrExt;
    let pool = Pool::new();
    let odd = pool.path().join("data/git").join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    btrfs::create(&odd).unwrap();
    let meta = pool.take();
    let told = meta.nested.complaints();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("the snapshot is incomplete") && told[0].ends_with("its name is not UTF-8"), "{told:?}");
    pool.restore(&meta.id, &mut Fake::up()).unwrap();
}

/// A container may replace a directory by a link at any time, and `meta.json` may come from an archive.
#[test]
fn no_subvolume_is_put_at_the_target_of_a_link() {
    let pool = Pool::new();
    make(&pool, "git/layers/a");
    let first = pool.take();
    let before = fs::read_dir(pool.state()).unwrap().count();
    let target = pool.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::create_dir(target.join("git")).unwrap();
    std::os::unix::fs::symlink(pool.path().join("state"), target.join("git/layers")).unwrap();
    let snapshot = pool.path().join("snapshots").join(first.id.to_string());
    assert!(nested::put(&snapshot, &first.nested, Path::new(""), &target).is_err());
    for path in ["../state/a", "/state/a", "git/../../state/a"] {
        let nested = Nested { kept: vec![path.into()], missing: Vec::new() };
        assert!(nested::put(&snapshot, &nested, Path::new(""), &target).is_err(), "{path}");
    }
    assert_eq!(fs::read_dir(pool.state()).unwrap().count(), before);
}
