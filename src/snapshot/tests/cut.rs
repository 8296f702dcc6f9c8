//! The power goes: what the file system had not written to its device is not there any more. The device is a file, and what it is at that
//! instant is mounted in the place of what it became.

use std::io::Write;

use super::*;

/// Large enough that it is no part of its inode.
const LARGE: usize = 200 << 10;

/// A pool that writes nothing because time passes.
fn slow(filesystem: Filesystem) -> Pool {
    let pool = Pool::on(filesystem);
    if filesystem != Filesystem::Xfs {
        sh("mount", &["-o", "remount,commit=300", pool.path().to_str().unwrap()]);
    }
    pool.write("git/large", &"old".repeat(LARGE));
    pool
}

fn image(pool: &Pool) -> PathBuf {
    pool.dir.path().join("image")
}

pub(super) fn keep(image: &Path) {
    sh("cp", &["--sparse=always", image.to_str().unwrap(), &format!("{}.cut", image.display())]);
}

/// The machine comes back with what was kept.
fn comes_back(pool: &Pool) {
    sh("umount", &[pool.path().to_str().unwrap()]);
    fs::rename(format!("{}.cut", image(pool).display()), image(pool)).unwrap();
    sh("mount", &["-o", "loop", image(pool).to_str().unwrap(), pool.path().to_str().unwrap()]);
}

/// As a database writes what it has acknowledged.
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
fn at_each_step_it_is_the_old_state_or_the_new_one() {
    quiet();
    for filesystem in Filesystem::ALL {
        for step in Step::ALL {
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
            sweep(&pool.path()).unwrap();
            let context = format!("{filesystem}, cut at {step:?}: {said:?}");
            let finished = said.as_ref().is_some_and(|said| said.contains("is finished"));
            assert!(both(&pool, if finished { "old" } else { "new" }), "{context}");
            // From here on containers run, and what they are told is written is written into this.
            assert!(finished || !matches!(step, Step::Start | Step::Close), "{context}");
            assert_eq!(pool.left_over(), [""; 0], "{context}");
            let kept = list(&pool.path()).unwrap().into_iter().filter(|meta| meta.reason == Reason::Replaced).count();
            assert_eq!(kept, usize::from(finished), "{context}");
        }
    }
}

#[test]
fn what_was_restored_stays_with_what_was_written_since() {
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
