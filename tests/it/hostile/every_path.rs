//! Every way on which root goes through the data of a container, while the container has planted all it can and exchanges a directory and
//! a link all the time.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    time::Duration,
};

use lap::agent::prune::registry;
use lap_base::Kind;
use lap_snapshots as snapshot;
use lap_snapshots::{Filesystem, Id, Restore, RestoreStep, diff, volume};

use super::{
    all_of, control, fifo,
    pool::{Nobody, Pool, SECRET, sh},
    try_swap, while_swapping,
};

/// Links that lead out, to themselves and through the kernel; a FIFO; second names of files; a chain of directories.
fn plant(web: &Path) {
    symlink("../git", web.join("out")).unwrap();
    symlink("/", web.join("root")).unwrap();
    symlink("self", web.join("self")).unwrap();
    symlink(".", web.join("here")).unwrap();
    symlink("/proc/self/root/etc", web.join("magic")).unwrap();
    fifo(&web.join("fifo"));
    fs::hard_link(web.join("dir/key"), web.join("second")).unwrap();
    fs::create_dir_all(web.join("deep/".repeat(50))).unwrap();
    // A directory with the same names as git's, and a link to that one.
    fs::create_dir_all(web.join("moving/hooks")).unwrap();
    fs::write(web.join("moving/hooks/update"), "web's own").unwrap();
    symlink("../git", web.join("link")).unwrap();
    // A file, and a FIFO in its place.
    fs::write(web.join("file"), "web's own").unwrap();
    fifo(&web.join("pipe"));
}

fn pairs(web: &Path) -> [[std::path::PathBuf; 2]; 2] {
    [[web.join("moving"), web.join("link")], [web.join("file"), web.join("pipe")]]
}

/// No file of the snapshot's `web` has the content of another container's.
fn is_clean(pool: &Pool, id: &Id) {
    let leaked: Vec<_> =
        all_of(&pool.of(id).join("web")).into_iter().filter(|(_, content)| content == SECRET).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
}

#[test]
fn every_path_over_the_data_of_a_container() {
    for filesystem in Filesystem::ALL {
        let pool = Arc::new(Pool::on(filesystem));
        plant(&pool.web());
        let before = all_of(&pool.git());
        // A FIFO would block for ever: the test ends all the same.
        let (done, ended) = channel();
        let attacked = pool.clone();
        std::thread::spawn(move || {
            let first = attacked.take().unwrap();
            let work = || while_swapping(&pairs(&attacked.web()), || every_path(&attacked, &first.id));
            done.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))).unwrap();
        });
        match ended.recv_timeout(Duration::from_secs(300)).expect("it waits for the other end of a FIFO") {
            Ok(()) => {}
            Err(panic) => std::panic::resume_unwind(panic),
        }
        assert_eq!(all_of(&pool.git()), before, "{filesystem}");
    }
}

fn every_path(pool: &Pool, first: &Id) {
    let (path, state, web) = (pool.path(), pool.state(), pool.web());
    let mut taken = vec![first.clone()];
    for round in 0..4 {
        // On xfs and ext4 a file may be another one when it is copied: then there is no snapshot, and never a wrong one.
        if let Ok(meta) = pool.take() {
            is_clean(pool, &meta.id);
            taken.push(meta.id);
        }
        let now = diff(&path, &pool.of(first), &pool.data()).unwrap();
        assert!(!now.iter().any(|d| d.path.starts_with("git")), "{now:?}");
        volume::usage(&web).unwrap();
        for part in ["web/moving/hooks/update", "web/file", "web/dir", "web/deep"] {
            match pool.part(first, part, |_| {}) {
                Ok(meta) => taken.push(meta.id),
                Err(error) => assert!(matches!(error.kind, Kind::Refused | Kind::Usage | Kind::Node), "{error}"),
            }
            pool.recover().unwrap();
        }
        // As if it were a registry.
        let _ = registry::read_registry(&web);
        let _ = registry::tidy(&web);
        let _ = registry::take_over(&web);
        registry::put_all_back(&web).unwrap();
        let staged = snapshot::stage(&path, first, round).unwrap();
        assert!(staged.join("data/web").exists());
        snapshot::unstage(&path, round).unwrap();
    }
    for id in &taken {
        is_clean(pool, id);
    }
    for id in taken.iter().skip(1) {
        snapshot::remove(&path, id).unwrap();
    }
    let restored = Restore { pool: &path, state: &state, id: first, at: 1, by: "x", current: None, release: None };
    let kept = restored.run(&mut Nobody::default()).unwrap();
    is_clean(pool, &kept.id);
}

/// The control run: a walk that looks at a directory before it reads it is led into git's data.
#[test]
fn a_walk_by_path_is_led_elsewhere() {
    let pool = Pool::on(Filesystem::Ext4);
    plant(&pool.web());
    let led = |path: &std::path::PathBuf| fs::read_to_string(path).is_ok_and(|text| text == SECRET);
    while_swapping(&pairs(&pool.web())[..1], || while !control::files(&pool.web()).iter().any(led) {});
}

/// A container that still has a directory open puts a link to another subvolume in the place of its own, when lap deletes it.
#[test]
fn a_link_in_the_place_of_a_subvolume_deletes_no_other() {
    let pool = Pool::on(Filesystem::Btrfs);
    let other = pool.path().join("other");
    sh("btrfs", &["subvolume", "create", other.to_str().unwrap()]);
    for round in 0..6 {
        sh("btrfs", &["subvolume", "create", pool.web().join("dir/own").to_str().unwrap()]);
        let _ = symlink(&other, pool.web().join("dir/link"));
        let first = pool.take().unwrap();
        // What was there before is removed from here: the container, which has it open, goes on in it.
        let held = pool.data().join(".lap-restore/0");
        let (begun, stop) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if begun.load(Ordering::Relaxed) {
                        let _ = try_swap(&held.join("own"), &held.join("link"));
                    }
                }
            });
            let begins = begun.clone();
            let at = move |step| begins.store(step == RestoreStep::Keep, Ordering::Relaxed);
            let _ = pool.part(&first.id, "web/dir", at);
            stop.store(true, Ordering::Relaxed);
        });
        // Once nobody changes it any more, it comes to its end.
        pool.recover().unwrap();
        assert!(other.is_dir() && pool.state().is_dir(), "round {round}");
        assert!(!pool.data().join(".lap-restore").exists() && !pool.path().join(".lap-gone").exists());
        sh("btrfs", &["subvolume", "delete", pool.web().join("dir/own").to_str().unwrap()]);
        snapshot::remove(&pool.path(), &first.id).unwrap();
    }
    // The control run: btrfs(8) follows the link.
    symlink(&other, pool.web().join("link")).unwrap();
    sh("btrfs", &["subvolume", "delete", pool.web().join("link").to_str().unwrap()]);
    assert!(!other.exists(), "the attack works without the protection");
}
