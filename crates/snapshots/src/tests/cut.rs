//! Tests of power cuts: data that the file system had not written to its device is lost. The device is a file. A copy
//! of it at the time of the cut replaces the file.

use std::io::Write;

use super::{
    pool::{comes_back, image, keep},
    *,
};

/// The size is large enough that the content is not stored in the inode.
const LARGE: usize = 200 << 10;

/// A pool that writes nothing to its device by itself.
fn slow(filesystem: Filesystem) -> Pool {
    let pool = pool::slow(filesystem);
    pool.write("git/large", &"old".repeat(LARGE));
    pool
}

/// Writes a file as a database does before it acknowledges a change.
fn write_and_sync(path: &Path, text: &str) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.sync_all().unwrap();
    fs::File::open(path.parent().unwrap()).unwrap().sync_all().unwrap();
}

fn both(pool: &Pool, text: &str) -> bool {
    pool.read("git/one") == text && pool.read("git/large") == text.repeat(LARGE)
}

#[test]
fn a_power_cut_at_each_step_leaves_the_old_or_the_new_state() {
    quiet();
    for filesystem in Filesystem::ALL {
        for step in RestoreStep::ALL {
            let pool = slow(filesystem);
            let first = pool.take();
            pool.write("git/large", &"new".repeat(LARGE));
            write_and_sync(&pool.path().join("data/git/one"), "new");
            volume::sync(&pool.path()).unwrap();
            let mut world = Fake { cut_at: Some((step, image(&pool))), ..Fake::up() };
            let killed = catch_unwind(AssertUnwindSafe(|| pool.restore(&first.id, &mut world).map(drop)));
            assert!(killed.is_err_and(|e| e.is::<Killed>()), "{step:?}");
            comes_back(&pool);
            let said = recover(&pool.path(), &pool.state(), &mut Fake::default()).unwrap();
            sweep(&pool.path(), &named(&pool.state()).unwrap()).unwrap();
            let context = format!("{filesystem}, cut at {step:?}: {said:?}");
            let finished = said.as_ref().is_some_and(|said| said.contains("is complete now"));
            assert!(both(&pool, if finished { "old" } else { "new" }), "{context}");
            // From these steps on, containers run. Data that they synchronized must not be lost.
            assert!(finished || !matches!(step, RestoreStep::Start | RestoreStep::Close), "{context}");
            assert_eq!(pool.left_over(), [""; 0], "{context}");
            let kept = list(&pool.path()).unwrap().into_iter().filter(|meta| meta.reason == Reason::Replaced).count();
            assert_eq!(kept, usize::from(finished), "{context}");
        }
    }
}

#[test]
fn restored_data_and_later_writes_survive_a_power_cut() {
    for filesystem in Filesystem::ALL {
        for part in [false, true] {
            let pool = slow(filesystem);
            let first = pool.take();
            pool.write("git/one", "new");
            pool.write("git/large", &"new".repeat(LARGE));
            let kept = match part {
                false => pool.restore(&first.id, &mut Fake::up()),
                true => only(&pool, &first.id, &["git"], &["git"], &mut Fake::up()),
            };
            let kept = kept.unwrap();
            assert!(both(&pool, "old"), "{filesystem}");
            write_and_sync(&pool.path().join("data/git/one"), "after");
            keep(&image(&pool));
            comes_back(&pool);
            let mut world = Fake::default();
            let said = [
                recover(&pool.path(), &pool.state(), &mut world).unwrap(),
                only::recover(&pool.path(), &pool.state(), &mut world).unwrap(),
            ];
            let context = format!("{filesystem}, a part {part}: {said:?}");
            assert_eq!(said, [None, None], "{context}");
            assert_eq!(pool.read("git/one"), "after", "{context}");
            assert_eq!(pool.read("git/large"), "old".repeat(LARGE), "{context}");
            assert_eq!(pool.of(&kept, "git/one"), "new", "{context}");
        }
    }
}

#[test]
fn a_finished_snapshot_survives_a_power_cut() {
    for filesystem in Filesystem::ALL {
        let pool = slow(filesystem);
        pool.write("git/one", "new");
        let meta = pool.take();
        keep(&image(&pool));
        comes_back(&pool);
        sweep(&pool.path(), &named(&pool.state()).unwrap()).unwrap();
        assert_eq!(list(&pool.path()).unwrap().len(), 1, "{filesystem}");
        assert_eq!(pool.of(&meta, "git/one"), "new", "{filesystem}");
        assert!(pool.of(&meta, "git/large") == "old".repeat(LARGE), "{filesystem}");
    }
}

/// A commit by another program. It writes all names to the disk, but no content.
fn commit(pool: &Path) {
    if is_btrfs(pool).unwrap() {
        let copy = pool.join("copy-of-state");
        btrfs::snapshot(&pool.join("state"), &copy, true).unwrap();
        btrfs::delete(&copy).unwrap();
    } else {
        write_and_sync(&pool.join("another"), "x");
        fs::remove_file(pool.join("another")).unwrap();
    }
}

/// Kills the process after a snapshot gets its name, together with a power cut if there is a `device`.
fn die_at_name(pool: &Pool, device: Option<PathBuf>) {
    let path = pool.path();
    lap_base::testing::renames::at_rename(move |to| {
        if to.parent() == Some(&path.join("snapshots")) {
            if let Some(device) = &device {
                commit(&path);
                keep(device);
            }
            panic_any(Killed);
        }
    });
}

/// A snapshot with a name is complete, even if the disk has only its name.
#[test]
fn replaced_data_is_complete_as_soon_as_its_snapshot_has_a_name() {
    quiet();
    for filesystem in Filesystem::ALL {
        for part in [false, true] {
            let pool = slow(filesystem);
            let first = pool.take();
            pool.write("git/one", "new");
            pool.write("git/large", &"new".repeat(LARGE));
            die_at_name(&pool, Some(image(&pool)));
            let killed = catch_unwind(AssertUnwindSafe(|| match part {
                false => pool.restore(&first.id, &mut Fake::up()).map(drop),
                true => only(&pool, &first.id, &["git"], &["git"], &mut Fake::up()).map(drop),
            }));
            assert!(killed.is_err_and(|e| e.is::<Killed>()));
            lap_base::testing::renames::at_rename(|_| {});
            comes_back(&pool);
            let context = format!("{filesystem}, a part {part}");
            let kept = fs::read_dir(pool.path().join("snapshots")).unwrap().count();
            assert_eq!(kept, 2, "{context}: the name is on the disk");
            let mut world = Fake { mounted: true, ..Fake::default() };
            let said = [
                recover(&pool.path(), &pool.state(), &mut world).unwrap(),
                only::recover(&pool.path(), &pool.state(), &mut world).unwrap(),
            ];
            sweep(&pool.path(), &named(&pool.state()).unwrap()).unwrap();
            assert!(both(&pool, "old"), "{context}: {said:?}");
            let kept = list(&pool.path()).unwrap().into_iter().find(|meta| meta.reason == Reason::Replaced);
            let kept =
                kept.unwrap_or_else(|| panic!("{context}: the only copy of the replaced data is lost: {said:?}"));
            assert_eq!(pool.of(&kept, "git/one"), "new", "{context}");
            assert!(pool.of(&kept, "git/large") == "new".repeat(LARGE), "{context}");
        }
    }
}

#[test]
fn a_snapshot_has_its_description_as_soon_as_it_has_a_name() {
    quiet();
    for filesystem in Filesystem::ALL {
        let pool = slow(filesystem);
        die_at_name(&pool, Some(image(&pool)));
        let killed = catch_unwind(AssertUnwindSafe(|| pool.take()));
        assert!(killed.is_err_and(|e| e.is::<Killed>()));
        comes_back(&pool);
        let all = list(&pool.path()).unwrap();
        assert_eq!(all.len(), 1, "{filesystem}");
        assert!(pool.of(&all[0], "git/large") == "old".repeat(LARGE), "{filesystem}");
    }
}

/// Only the agent is killed, and the next one continues. The power fails later, when containers write into the restored
/// data.
#[test]
fn a_switch_is_on_the_disk_before_containers_run() {
    quiet();
    for filesystem in Filesystem::ALL {
        let pool = slow(filesystem);
        let first = pool.take();
        pool.write("git/one", "new");
        die_at_name(&pool, None);
        let killed = catch_unwind(AssertUnwindSafe(|| pool.restore(&first.id, &mut Fake::up()).map(drop)));
        assert!(killed.is_err_and(|e| e.is::<Killed>()));
        lap_base::testing::renames::at_rename(|_| {});
        recover(&pool.path(), &pool.state(), &mut Fake::default()).unwrap();
        write_and_sync(&pool.path().join("data/git/one"), "after");
        keep(&image(&pool));
        comes_back(&pool);
        recover(&pool.path(), &pool.state(), &mut Fake::default()).unwrap();
        assert_eq!(pool.read("git/one"), "after", "{filesystem}");
        assert_eq!(list(&pool.path()).unwrap().len(), 2, "{filesystem}");
    }
}

/// Unpacked data is in memory until it is synchronized.
#[test]
fn an_imported_snapshot_has_its_content_as_soon_as_it_has_a_name() {
    quiet();
    for filesystem in Filesystem::ALL {
        let pool = slow(filesystem);
        let meta = pool.take();
        remove(&pool.path(), &meta.id).unwrap();
        let half = pool.path().join("snapshots/.new-import");
        let number = prepare_import(&half).unwrap();
        fs::create_dir(half.join("data/git")).unwrap();
        fs::write(half.join("data/git/large"), "old".repeat(LARGE)).unwrap();
        fs::write(half.join("meta.json"), serde_json::to_vec(&meta).unwrap()).unwrap();
        die_at_name(&pool, Some(image(&pool)));
        let killed = catch_unwind(AssertUnwindSafe(|| finish_import(&pool.path(), &half, number)));
        assert!(killed.is_err_and(|e| e.is::<Killed>()));
        comes_back(&pool);
        assert_eq!(list(&pool.path()).unwrap().len(), 1, "{filesystem}");
        assert!(pool.of(&meta, "git/large") == "old".repeat(LARGE), "{filesystem}");
    }
}

/// When a restore ends, everything that its record asks for is on the disk, and the record is removed from the disk.
/// Otherwise a power cut would block every later restore.
#[test]
fn remains_that_a_restore_removed_do_not_return_after_a_power_cut() {
    for filesystem in Filesystem::ALL {
        for undone in [false, true] {
            let pool = slow(filesystem);
            let first = pool.take();
            pool.write("git/one", "new");
            volume::sync(&pool.path()).unwrap();
            if undone {
                // The restore was killed before the switch, and the next agent undid it.
                let mut world = Fake { die_at: Some(RestoreStep::Stop), ..Fake::up() };
                let killed = catch_unwind(AssertUnwindSafe(|| pool.restore(&first.id, &mut world).map(drop)));
                assert!(killed.is_err_and(|e| e.is::<Killed>()));
                volume::sync(&pool.path()).unwrap();
                recover(&pool.path(), &pool.state(), &mut Fake::up()).unwrap().unwrap();
            } else {
                only(&pool, &first.id, &["git/one"], &[], &mut Fake::up()).unwrap();
            }
            keep(&image(&pool));
            comes_back(&pool);
            let said = [
                recover(&pool.path(), &pool.state(), &mut Fake::up()).unwrap(),
                only::recover(&pool.path(), &pool.state(), &mut Fake::up()).unwrap(),
            ];
            let context = format!("{filesystem}, undone {undone}: {said:?}");
            only(&pool, &first.id, &["git/large"], &[], &mut Fake::up()).unwrap_or_else(|e| panic!("{context}: {e}"));
            pool.restore(&first.id, &mut Fake::up()).unwrap_or_else(|e| panic!("{context}: {e}"));
        }
    }
}

#[test]
fn remains_of_an_earlier_version_block_no_restore() {
    for filesystem in Filesystem::ALL {
        let pool = slow(filesystem);
        let first = pool.take();
        let leave = || {
            let _ = volume::copy(&crate::data(&pool.path(), &first.id), &pool.path().join("data.lap-new"));
            pool.write(".lap-restore/0/file", "old");
        };
        leave();
        assert!(pool.restore(&first.id, &mut Fake::up()).is_err());
        // The files of a restore in progress are kept.
        for (record, beside) in [("restore.json", "data.lap-new"), ("restore-only.json", "data/.lap-restore")] {
            leave();
            fs::write(pool.state().join(record), "not readable").unwrap();
            assert!(crate::sweep_beside(&pool.path(), &pool.state()).is_err());
            assert!(pool.path().join(beside).exists(), "{filesystem}: {beside}");
            fs::remove_file(pool.state().join(record)).unwrap();
        }
        leave();
        crate::sweep_beside(&pool.path(), &pool.state()).unwrap();
        let kept = list(&pool.path()).unwrap().pop().unwrap();
        assert_eq!((kept.reason, pool.of(&kept, "git/one")), (Reason::Replaced, "old".to_owned()), "{filesystem}");
        only(&pool, &first.id, &["git/large"], &[], &mut Fake::up()).unwrap();
        pool.restore(&first.id, &mut Fake::up()).unwrap();
    }
}

#[test]
fn a_removed_snapshot_does_not_return_after_a_power_cut() {
    for filesystem in Filesystem::ALL {
        let pool = slow(filesystem);
        let (first, second) = (pool.take(), pool.take());
        volume::sync(&pool.path()).unwrap();
        remove(&pool.path(), &first.id).unwrap();
        keep(&image(&pool));
        comes_back(&pool);
        let all: Vec<Id> = list(&pool.path()).unwrap().into_iter().map(|meta| meta.id).collect();
        assert_eq!(all, [second.id], "{filesystem}");
    }
}

/// The first kill comes between the exchange and its record, the second one during the recovery, when the copies are
/// removed and the snapshot has no name yet.
#[test]
fn a_second_kill_does_not_undo_a_part_that_is_in_place() {
    quiet();
    for filesystem in Filesystem::ALL {
        let pool = Pool::on(filesystem);
        let first = pool.take();
        pool.write("git/one", "new");
        let mut world = Fake { die_at: Some(RestoreStep::Start), ..Fake::up() };
        let killed = catch_unwind(AssertUnwindSafe(|| only(&pool, &first.id, &["git/one"], &[], &mut world).map(drop)));
        assert!(killed.is_err_and(|e| e.is::<Killed>()));
        let record = pool.state().join("restore-only.json");
        let text = fs::read_to_string(&record).unwrap();
        assert!(text.contains(r#""switched": true"#), "{text}");
        fs::write(&record, text.replace(r#""switched": true"#, r#""switched": false"#)).unwrap();
        let mut world = Fake { die_at: Some(RestoreStep::Keep), ..Fake::up() };
        let recovery = || only::recover(&pool.path(), &pool.state(), &mut world).map(drop);
        assert!(catch_unwind(AssertUnwindSafe(recovery)).is_err_and(|e| e.is::<Killed>()));
        fs::remove_dir_all(pool.path().join("data/.lap-restore")).unwrap();
        let said = only::recover(&pool.path(), &pool.state(), &mut Fake::up()).unwrap();
        assert_eq!(pool.read("git/one"), "old", "{filesystem}: {said:?}");
        let kept = list(&pool.path()).unwrap().into_iter().find(|meta| meta.reason == Reason::Replaced);
        let kept = kept.unwrap_or_else(|| panic!("{filesystem}: what was replaced is gone: {said:?}"));
        assert_eq!(pool.of(&kept, "git/one"), "new", "{filesystem}");
    }
}
