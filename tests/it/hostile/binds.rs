//! A bind mount of a part of a container's data, while the container exchanges that part and a link.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use lap::agent::pool::binds::refresh_in;
use lap_base::Kind;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use super::{fifo, swap, while_swapping};

/// `/data` and the places, with a part of web's data that is to be mounted, for this thread alone.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let node = Self(tempfile::tempdir().unwrap());
        // As on a node, the places lie on another file system than the data.
        fs::create_dir_all(node.0.path().join("binds")).unwrap();
        mount(Some("tmpfs"), &node.0.path().join("binds"), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        for (file, text) in [("web/files/deep/file", "web's own"), ("git/hooks/deep/file", "git's own")] {
            fs::create_dir_all(node.data().join(file).parent().unwrap()).unwrap();
            fs::write(node.data().join(file), text).unwrap();
        }
        node.place("web%2Ffiles%2Fdeep");
        node
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn binds(&self) -> PathBuf {
        self.0.path().join("binds")
    }

    fn place(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.binds().join(name)).unwrap();
        self.binds().join(name).join("at")
    }

    fn refresh(&self) -> Result<(), Kind> {
        refresh_in(&self.binds(), &self.data()).map_err(|error| error.kind)
    }
}

fn says(at: &Path) -> Option<String> {
    fs::read_to_string(at.join("file")).ok()
}

#[test]
fn a_link_is_mounted_nowhere() {
    let node = Node::new();
    let at = node.place("web%2Ffiles%2Fdeep");
    node.refresh().unwrap();
    assert_eq!(says(&at).as_deref(), Some("web's own"));
    // In the middle of the path, then at its end, then one that leads out by the kernel.
    let web = node.data().join("web");
    symlink("../git/hooks", web.join("link")).unwrap();
    swap(&web.join("files"), &web.join("link"));
    assert_eq!(node.refresh(), Err(Kind::Refused));
    assert!(!at.exists(), "Docker finds nothing, and does not start the container");
    swap(&web.join("files"), &web.join("link"));
    node.refresh().unwrap();
    assert_eq!(says(&at).as_deref(), Some("web's own"));
    for target in ["/", "../../git/hooks/deep", "/proc/self/root/etc"] {
        let _ = fs::remove_file(web.join("end"));
        symlink(target, web.join("end")).unwrap();
        swap(&web.join("end"), &web.join("files/deep"));
        assert_eq!(node.refresh(), Err(Kind::Refused), "{target}");
        assert!(!at.exists(), "{target}");
        swap(&web.join("end"), &web.join("files/deep"));
    }
    // A FIFO is none to wait for, and no other place suffers.
    fifo(&web.join("pipe"));
    let pipe = node.place("web%2Fpipe");
    assert_eq!(node.refresh(), Err(Kind::Refused));
    assert!(!pipe.exists());
    assert_eq!(says(&at).as_deref(), Some("web's own"));
}

#[test]
fn what_is_mounted_stays_and_follows_what_was_restored() {
    let node = Node::new();
    let at = node.place("web%2Ffiles%2Fdeep");
    let file = node.place("web%2Ffiles%2Fdeep%2Ffile");
    node.refresh().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "web's own");
    let mounts = || fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let before = mounts();
    node.refresh().unwrap();
    assert_eq!(mounts(), before, "what is mounted is not mounted again");
    // A restore puts another directory there.
    fs::rename(node.data().join("web"), node.data().join("old")).unwrap();
    fs::create_dir_all(node.data().join("web/files/deep")).unwrap();
    fs::write(node.data().join("web/files/deep/file"), "restored").unwrap();
    node.refresh().unwrap();
    assert_eq!((says(&at).as_deref(), fs::read_to_string(&file).unwrap().as_str()), (Some("restored"), "restored"));
    // After a boot nothing is mounted.
    for mounted in [&at, &file] {
        umount2(mounted, MntFlags::MNT_DETACH).unwrap();
    }
    node.refresh().unwrap();
    assert_eq!(says(&at).as_deref(), Some("restored"));
    // What is gone is not mounted, and what comes again is.
    fs::rename(node.data().join("web"), node.data().join("away")).unwrap();
    assert_eq!(node.refresh(), Err(Kind::Refused));
    assert!(!at.exists() && !file.exists());
    fs::rename(node.data().join("away"), node.data().join("web")).unwrap();
    node.refresh().unwrap();
    assert_eq!(says(&at).as_deref(), Some("restored"));
}

#[test]
fn what_is_exchanged_all_the_time_is_never_mounted_from_elsewhere() {
    let node = Node::new();
    let at = node.place("web%2Ffiles%2Fdeep");
    let web = node.data().join("web");
    symlink("../git/hooks", web.join("link")).unwrap();
    let check = || fs::symlink_metadata(web.join("files")).is_ok_and(|meta| meta.is_dir());
    while_swapping(&[[web.join("files"), web.join("link")]], || {
        let (mut ours, mut refused) = (0, 0);
        while ours < 20 || refused < 20 {
            match node.refresh() {
                Ok(()) => ours += 1,
                Err(kind) => {
                    assert_eq!(kind, Kind::Refused);
                    refused += 1;
                }
            }
            assert_ne!(says(&at).as_deref(), Some("git's own"));
        }
        // The control run: a path that was checked, mounted as Docker does.
        let naive = node.0.path().join("naive");
        fs::create_dir(&naive).unwrap();
        loop {
            let source = web.join("files/deep");
            if check() && mount(Some(&source), &naive, None::<&str>, MsFlags::MS_BIND, None::<&str>).is_ok() {
                let led = says(&naive).as_deref() == Some("git's own");
                umount2(&naive, MntFlags::MNT_DETACH).unwrap();
                if led {
                    break;
                }
            }
        }
    });
}
