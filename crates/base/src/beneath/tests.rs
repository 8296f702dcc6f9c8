//! Attacks by a container on its own data, and root's answer to each.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rustix::fs::{CWD, FileType, Mode, mkdirat, mknodat, openat};

use super::{Dir, Unmeasured, UsageLimits, Walk, dir::DIRECTORY, split};
use crate::error::{Error, Kind};

/// Makes a container's directory `web` beside the directory `other`, which does not belong to the container.
fn room() -> tempfile::TempDir {
    let room = tempfile::tempdir().unwrap();
    fs::create_dir_all(room.path().join("web/dir")).unwrap();
    fs::create_dir_all(room.path().join("other")).unwrap();
    fs::write(room.path().join("web/dir/file"), "ours").unwrap();
    fs::write(room.path().join("other/file"), "theirs").unwrap();
    room
}

fn web(room: &tempfile::TempDir) -> Dir {
    Dir::open(&room.path().join("web")).unwrap()
}

#[test]
fn a_link_is_refused_in_every_part_of_a_path() {
    let room = room();
    symlink("../other", room.path().join("web/link")).unwrap();
    symlink("dir", room.path().join("web/inside")).unwrap();
    symlink("/proc/self/root", room.path().join("web/root")).unwrap();
    symlink("link", room.path().join("web/again")).unwrap();
    let web = web(&room);
    for path in ["link", "link/file", "inside/file", "root/etc/passwd", "again/file", "../other/file", "/etc/passwd"] {
        let kind = |error: Error| error.kind;
        assert_eq!(web.file(Path::new(path)).map_err(kind).err(), Some(Kind::Refused), "{path}");
        assert_eq!(web.dir(Path::new(path)).map(drop).map_err(kind).err(), Some(Kind::Refused), "{path}");
    }
    // The metadata of the link itself can be read. A missing file is `None`.
    assert_eq!(FileType::from_raw_mode(web.metadata(Path::new("link")).unwrap().unwrap().st_mode), FileType::Symlink);
    assert!(web.file(Path::new("nothing/file")).unwrap().is_none() && web.dir(Path::new("nothing")).unwrap().is_none());
    assert_eq!(web.read(Path::new("dir/file"), 10).unwrap().as_deref(), Some(&b"ours"[..]));
    assert!(web.read(Path::new("dir/file"), 3).is_err());
}

/// The control run makes the same call without the protection. It blocks without end, so it runs in a thread that the
/// test does not join.
#[test]
fn a_fifo_does_not_block_a_read() {
    let room = room();
    let path = room.path().join("web/fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert!(web(&room).file(Path::new("fifo")).unwrap_err().message.ends_with("is not a regular file"));
    let (done, waits) = std::sync::mpsc::channel();
    let planted = path.clone();
    std::thread::spawn(move || done.send(fs::read(planted).is_ok()));
    assert!(waits.recv_timeout(Duration::from_millis(200)).is_err(), "a plain read waits for the other end");
    // A writer at the other end lets the thread continue.
    drop(fs::OpenOptions::new().write(true).open(path).unwrap());
    waits.recv().unwrap();
}

#[test]
fn a_walk_stops_at_its_limits() {
    let room = room();
    for n in 0..20 {
        fs::write(room.path().join(format!("web/{n}")), "").unwrap();
    }
    let web = web(&room);
    assert_eq!(web.list(&Walk::of(21, 1)).unwrap().len(), 21);
    assert!(web.list(&Walk::of(20, 1)).unwrap_err().message.starts_with("there are too many files"));
    assert!(Walk::of(1, 3).may_enter(&web, 4).unwrap_err().message.ends_with("is deeper than 3 levels"));
}

/// Makes nested directories, so deep that their path is longer than `PATH_MAX`.
fn deep(at: &Path, levels: usize) {
    let mut here = openat(CWD, at, DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = openat(&here, "d", DIRECTORY, Mode::empty()).unwrap();
    }
}

#[test]
fn a_tree_of_any_depth_is_removed_and_nothing_else() {
    let room = room();
    let at = room.path().join("web");
    symlink("../../other", at.join("dir/link")).unwrap();
    mknodat(CWD, at.join("dir/fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::hard_link(room.path().join("other/file"), at.join("dir/hard")).unwrap();
    fs::create_dir(at.join("dir/second")).unwrap();
    deep(&at.join("dir"), 3000);
    deep(&at.join("dir/second"), 200);
    let above = Dir::open(room.path()).unwrap();
    above.remove("web".as_ref()).unwrap();
    above.remove("web".as_ref()).unwrap();
    assert!(!at.exists());
    assert_eq!(fs::read_to_string(room.path().join("other/file")).unwrap(), "theirs");
}

/// The attribute prevents the removal, even by root (chattr(1)).
#[test]
fn a_file_with_an_attribute_is_named_with_the_command_that_removes_it() {
    let room = room();
    let dir = room.path().join("web/dir");
    fs::create_dir_all(dir.join("deep/er")).unwrap();
    fs::write(dir.join("deep/er/kept"), "").unwrap();
    let chattr = |how: &str, path: &Path| Command::new("chattr").arg(how).arg(path).status().unwrap().success();
    for (place, letter, word) in [
        ("web/dir/deep/er/kept", 'i', "immutable"),
        ("web/dir/deep/er/kept", 'a', "append-only"),
        ("web/dir/deep/er", 'i', "immutable"),
        ("web", 'i', "immutable"),
    ] {
        let path = room.path().join(place);
        // Not every file system has such attributes.
        if !chattr(&format!("+{letter}"), &path) {
            return;
        }
        let file = Dir::open(path.parent().unwrap()).unwrap().remove(path.file_name().unwrap());
        let tree = Dir::open(room.path()).unwrap().remove("web".as_ref());
        assert!(chattr(&format!("-{letter}"), &path));
        for error in [file.unwrap_err(), tree.unwrap_err()] {
            let named = format!("`{}` is {word} (chattr)", path.display());
            assert!(error.message.ends_with(&named), "{error}");
            assert!(error.hints[0].contains(&format!("`chattr -{letter} '{}'`", path.display())), "{error:?}");
        }
    }
    Dir::open(room.path()).unwrap().remove("web".as_ref()).unwrap();
}

/// A thread in the place of a container exchanges a directory and a link in a loop.
#[test]
fn a_link_that_is_exchanged_in_a_loop_is_never_followed() {
    let room = room();
    let web_path = room.path().join("web");
    symlink("../other", web_path.join("link")).unwrap();
    let web = web(&room);
    let stop = AtomicBool::new(false);
    let (mut ours, mut refused, mut naive) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                crate::durable::swap(&web_path.join("dir"), &web_path.join("link")).unwrap();
            }
        });
        while ours == 0 || refused == 0 || naive == 0 {
            match web.read(Path::new("dir/file"), 100) {
                Ok(bytes) => {
                    assert_eq!(bytes.as_deref(), Some(&b"ours"[..]));
                    ours += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind, Kind::Refused, "{error}");
                    refused += 1;
                }
            }
            // The control run shows that a path can change between the check and the open.
            let path = web_path.join("dir");
            if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
                naive += usize::from(fs::read(path.join("file")).is_ok_and(|read| read == b"theirs"));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn names_in_open_directories_are_moved_and_exchanged() {
    let room = room();
    let web = web(&room);
    let aside = Dir::open(room.path()).unwrap().make(Path::new("aside/blobs")).unwrap();
    assert!(web.dir(Path::new("dir")).unwrap().unwrap().rename("file".as_ref(), &aside, "x".as_ref()).unwrap());
    assert!(!web.rename("file".as_ref(), &aside, "y".as_ref()).unwrap(), "`file` does not exist");
    assert_eq!(fs::read_to_string(room.path().join("aside/blobs/x")).unwrap(), "ours");
    fs::write(room.path().join("web/x"), "new").unwrap();
    assert!(web.rename("x".as_ref(), &aside, "x".as_ref()).is_err(), "nothing is replaced");
    web.exchange("x".as_ref(), &aside, "x".as_ref()).unwrap();
    assert_eq!(fs::read_to_string(room.path().join("aside/blobs/x")).unwrap(), "new");
    // The directory cannot be made, because a link has its name.
    symlink("../other", room.path().join("web/link")).unwrap();
    assert_eq!(web.make(Path::new("link/new")).unwrap_err().kind, Kind::Refused);
    assert!(!room.path().join("other/new").exists());
    for path in ["", "/etc", "../x", "a/../b", "."] {
        assert!(split(Path::new(path)).is_err(), "{path}");
    }
}

fn limits(enough: u64) -> UsageLimits {
    UsageLimits { until: Instant::now() + Duration::from_secs(60), enough }
}

#[test]
fn the_space_of_a_container_is_measured_and_each_name_counts() {
    let room = room();
    let web = web(&room);
    let before = web.usage(limits(u64::MAX)).bytes;
    fs::write(room.path().join("web/dir/big"), vec![7; 1 << 20]).unwrap();
    // A file with several names counts once, and a link is not followed.
    for name in ["a", "b", "c"] {
        fs::hard_link(room.path().join("web/dir/big"), room.path().join("web").join(name)).unwrap();
    }
    symlink("../other", room.path().join("web/link")).unwrap();
    fs::write(room.path().join("other/huge"), vec![7; 4 << 20]).unwrap();
    fs::File::create(room.path().join("web/hole")).unwrap().set_len(1 << 40).unwrap();
    let big = web.usage(limits(u64::MAX)).bytes - before;
    assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&big), "{big}");
    for n in 0..1000 {
        fs::write(room.path().join(format!("web/dir/{n}")), "").unwrap();
    }
    let names = web.usage(limits(u64::MAX)).bytes - before - big;
    assert!(names >= 1000 << 10, "{names}");
}

#[test]
fn a_measurement_ends_at_its_limits() {
    let room = room();
    let web = web(&room);
    for n in 0..100 {
        fs::write(room.path().join(format!("web/dir/{n}")), vec![7; 4096]).unwrap();
    }
    let enough = web.usage(limits(100 << 10));
    assert!(enough.bytes > 100 << 10 && enough.bytes < 200 << 10 && enough.missing.is_none(), "{enough:?}");
    let late = web.usage(UsageLimits { until: Instant::now(), enough: u64::MAX });
    assert_eq!(late.missing, Some(Unmeasured::Time));
    // The tree is deeper than any program needs and than a path can be. The result must show that it is incomplete.
    let mut here = Dir::open(&room.path().join("web")).unwrap();
    for _ in 0..1000 {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = here.need(Path::new("d")).unwrap();
    }
    assert_eq!(web.usage(limits(u64::MAX)).missing, Some(Unmeasured::Place));
}
