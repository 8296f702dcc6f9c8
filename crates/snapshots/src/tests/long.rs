//! A container makes nested directories, until their path is longer than the kernel accepts.

use std::os::{
    fd::OwnedFd,
    unix::fs::{MetadataExt, PermissionsExt},
};

use lap_base::beneath::Dir;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, mkdirat, openat, symlinkat};

use super::*;

const LEVELS: usize = 45;

fn name() -> String {
    "n".repeat(200)
}

/// Returns the relative path of the deepest directory.
fn below(levels: usize) -> PathBuf {
    std::iter::repeat_n(name(), levels).fold(PathBuf::from("git"), |path, name| path.join(name))
}

fn make(pool: &Pool) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut here = openat(CWD, pool.path().join("data/git"), flags, Mode::empty()).unwrap();
    for _ in 0..LEVELS {
        mkdirat(&here, name(), Mode::from_raw_mode(0o750)).unwrap();
        here = openat(&here, name(), flags, Mode::empty()).unwrap();
    }
    write(&here, "file", "old");
    linkat(&here, "file", &here, "linked", AtFlags::empty()).unwrap();
    symlinkat("file", &here, "link").unwrap();
    here
}

fn write(dir: &OwnedFd, name: &str, text: &str) {
    fs::write(lap_base::beneath::reach(std::os::fd::AsFd::as_fd(dir)).join(name), text).unwrap();
}

fn read(data: &Path, name: &str) -> String {
    let bytes = Dir::open(data).unwrap().read(&below(LEVELS).join(name), 99).unwrap();
    String::from_utf8(bytes.unwrap_or_default()).unwrap()
}

#[test]
fn a_snapshot_contains_paths_longer_than_the_kernel_accepts() {
    on_each(is_taken_and_restored);
}

fn is_taken_and_restored(pool: Pool) {
    let deepest = make(&pool);
    let first = pool.take();
    write(&deepest, "file", "new");
    write(&deepest, "more", "new");
    let second = pool.take();
    // Nothing has changed, so on XFS and ext4 each file is a hard link to its copy.
    let third = pool.take();
    for (meta, file, more) in [(&first, "old", ""), (&second, "new", "new"), (&third, "new", "new")] {
        let data = data(&pool.path(), &meta.id);
        assert_eq!([read(&data, "file"), read(&data, "linked"), read(&data, "more")], [file, file, more]);
        let dir = Dir::open(&data).unwrap().need(&below(LEVELS)).unwrap();
        let [file, linked] = ["file", "linked"].map(|name| dir.metadata(Path::new(name)).unwrap().unwrap());
        assert_eq!(file.st_ino, linked.st_ino);
        assert_eq!(fs::read_link(dir.reach().join("link")).unwrap(), Path::new("file"));
        let mode = fs::metadata(dir.reach()).unwrap();
        assert_eq!((mode.permissions().mode() & 0o777, mode.uid()), (0o750, 0));
    }
    assert!(diff(&pool.path(), &data(&pool.path(), &first.id), &pool.path().join("data")).unwrap().len() >= 2);
    pool.restore(&first.id, &mut Fake::up()).unwrap();
    assert_eq!(read(&pool.path().join("data"), "file"), "old");
    only(&pool, &second.id, &["git"], &["git"], &mut Fake::up()).unwrap();
    assert_eq!(read(&pool.path().join("data"), "file"), "new");
    assert_eq!(pool.left_over(), [""; 0]);
}
