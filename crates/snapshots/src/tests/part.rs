//! Tests of a restore of a part of the data.

use super::*;

#[test]
fn a_restore_of_a_part_changes_nothing_else() {
    on_each(restores_a_part);
}

fn restores_a_part(pool: Pool) {
    pool.write("registry/blob", "old");
    pool.write("git/deep/file", "old");
    let first = pool.take();
    for name in ["git/one", "git/deep/file", "git/added", "registry/blob", "new/file"] {
        pool.write(name, "new");
    }
    // For a single file, no container is stopped.
    let mut world = Fake::up();
    let kept = only(&pool, &first.id, &["git/deep/file"], &[], &mut world).unwrap();
    assert_eq!((pool.read("git/deep/file").as_str(), pool.read("git/one").as_str()), ("old", "new"));
    assert_eq!((world.running.len(), world.started.len()), (2, 0));
    assert_eq!(pool.of(&kept, "git/deep/file"), "new");
    // One container, and one that is not in the snapshot. The data of the second one is removed.
    let mut world = Fake::up();
    let kept = only(&pool, &first.id, &["git", "new"], &["git", "new"], &mut world).unwrap();
    assert_eq!(["git/one", "git/added", "new/file", "registry/blob"].map(|n| pool.read(n)), ["old", "", "", "new"]);
    assert_eq!(
        (world.running.as_slice(), world.started.as_slice()),
        (&["registry".to_owned()][..], &["git".to_owned()][..])
    );
    assert_eq!(["git/one", "git/added", "new/file"].map(|n| pool.of(&kept, n)), ["new", "new", "new"]);
    assert_eq!(pool.left_over(), [""; 0]);
    assert!(!pool.path().join("data/.lap-restore").exists());
    assert!(!pool.path().join("snapshots").join(kept.id.to_string()).join("data/.lap-restore").exists());
    // The removed data is restored.
    only(&pool, &kept.id, &["new"], &["new"], &mut Fake::up()).unwrap();
    assert_eq!(pool.read("new/file"), "new");

    let wrong = |path| only(&pool, &first.id, &[path], &[], &mut Fake::up()).unwrap_err().message;
    assert_eq!(wrong("nowhere"), format!("neither {} nor the present data contains `nowhere`", first.id));
    for path in ["", "/etc", "../state", "git/../../state", ".lap-restore"] {
        assert!(wrong(path).contains("is not a path below /data"), "{path}");
    }
    // A container replaces its directory by a link to the directory of another container.
    let data = pool.path().join("data");
    fs::rename(data.join("git/deep"), data.join("git/aside")).unwrap();
    std::os::unix::fs::symlink("../registry", data.join("git/deep")).unwrap();
    pool.write("registry/file", "theirs");
    assert_eq!(wrong("git/deep/file"), "the directory of `git/deep/file` no longer exists");
    assert_eq!(pool.read("registry/file"), "theirs");
    std::fs::remove_dir_all(data.join("git")).unwrap();
    assert_eq!(wrong("git/one"), "the directory of `git/one` no longer exists");
}

#[test]
fn a_restore_of_a_part_killed_at_each_step_ends_in_the_old_or_the_new_state() {
    quiet();
    on_each(is_killed_in_part);
}

fn is_killed_in_part(pool: Pool) {
    pool.write("registry/blob", "old");
    let first = pool.take();
    let (path, state) = (pool.path(), pool.state());
    for step in [
        RestoreStep::Prepare,
        RestoreStep::Stop,
        RestoreStep::Switch,
        RestoreStep::Start,
        RestoreStep::Keep,
        RestoreStep::Close,
    ] {
        for (booting, again) in [(false, None), (true, None), (true, Some(RestoreStep::Keep))] {
            for name in ["git/one", "registry/blob"] {
                pool.write(name, "new");
            }
            let mut world = Fake { die_at: Some(step), ..Fake::up() };
            let killed = catch_unwind(AssertUnwindSafe(|| {
                only(&pool, &first.id, &["git", "registry"], &["git", "registry"], &mut world).map(drop)
            }));
            assert!(killed.is_err_and(|e| e.is::<Killed>()), "{step:?}");
            if let Some(die_at) = again {
                let mut world = Fake { die_at: Some(die_at), booting: true, mounted: true, ..Fake::default() };
                let _ = catch_unwind(AssertUnwindSafe(|| only::recover(&path, &state, &mut world)));
            }
            let mut world = Fake { booting, mounted: true, ..Fake::default() };
            let mut said = only::recover(&path, &state, &mut world).unwrap();
            if booting && said.is_some() {
                world.booting = false;
                said = only::recover(&path, &state, &mut world).unwrap();
            }
            let context = format!("killed at {step:?}, booting {booting}, again {again:?}: {said:?}");
            let switched = matches!(step, RestoreStep::Start | RestoreStep::Keep | RestoreStep::Close);
            let expected = if switched { "old" } else { "new" };
            assert_eq!(["git/one", "registry/blob"].map(|n| pool.read(n)), [expected; 2], "{context}");
            assert_eq!(pool.left_over(), [""; 0], "{context}");
            assert!(!path.join("data/.lap-restore").exists(), "{context}");
            if step == RestoreStep::Prepare {
                assert_eq!(said, None);
                continue;
            }
            assert!(said.is_some_and(|said| said.contains(if switched { "is complete now" } else { "was undone" })));
            assert_eq!(world.started, ["registry", "git"], "{context}");
            if switched {
                let kept = find(&path, "latest").unwrap();
                assert_eq!(["git/one", "registry/blob"].map(|n| pool.of(&kept, n)), ["new"; 2], "{context}");
                crate::sweep::remove(&path, &kept.id).unwrap();
            }
        }
    }
}

/// Everything is in its place, and the record does not say so yet.
#[test]
fn a_part_killed_right_after_its_last_rename_is_complete_however_often_it_is_killed_again() {
    quiet();
    on_each(is_killed_after_its_last_rename);
}

fn is_killed_after_its_last_rename(pool: Pool) {
    let first = pool.take();
    let (path, state) = (pool.path(), pool.state());
    for again in [RestoreStep::Start, RestoreStep::Keep, RestoreStep::Close] {
        pool.write("git/one", "new");
        let mut world = Fake { die_at: Some(RestoreStep::Start), ..Fake::up() };
        let killed =
            catch_unwind(AssertUnwindSafe(|| only(&pool, &first.id, &["git"], &["git"], &mut world).map(drop)));
        assert!(killed.is_err_and(|e| e.is::<Killed>()));
        let record = state.join("restore-only.json");
        let text = fs::read_to_string(&record).unwrap();
        assert!(text.contains("\"switched\": true"), "{text}");
        fs::write(&record, text.replace("\"switched\": true", "\"switched\": false")).unwrap();
        let mut world = Fake { die_at: Some(again), mounted: true, ..Fake::default() };
        assert!(catch_unwind(AssertUnwindSafe(|| only::recover(&path, &state, &mut world))).is_err());
        let said = only::recover(&path, &state, &mut Fake { mounted: true, ..Fake::default() }).unwrap();
        assert!(said.as_ref().is_some_and(|said| said.contains("is complete now")), "{again:?}: {said:?}");
        let kept = find(&path, "latest").unwrap();
        assert_eq!((pool.read("git/one").as_str(), pool.of(&kept, "git/one").as_str()), ("old", "new"), "{again:?}");
        assert_eq!(pool.left_over(), [""; 0], "{again:?}");
        crate::sweep::remove(&path, &kept.id).unwrap();
    }
}
