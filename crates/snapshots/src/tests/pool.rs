//! A pool on a real file system. The tests of `lap-repositories` include this file too, so it uses the crate's external
//! name.

#![allow(dead_code, reason = "each of the two crates uses a different part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lap_base::error::Result;
use lap_snapshots::{Filesystem, Meta, Nested, Reason, Still, free_id, order, take, volume};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// A pool with some data. It is mounted only for this thread and its child processes.
pub struct Pool {
    pub dir: tempfile::TempDir,
}

impl Pool {
    pub fn new() -> Self {
        Self::on(Filesystem::Btrfs)
    }

    pub fn on(filesystem: Filesystem) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pool = Self { dir };
        let image = pool.dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
        let (mkfs, words) = filesystem.mkfs();
        sh(mkfs, &[words, &[image.to_str().unwrap()]].concat());
        fs::create_dir(pool.path()).unwrap();
        sh("mount", &["-o", "loop", image.to_str().unwrap(), pool.path().to_str().unwrap()]);
        volume::create(&pool.path().join("data")).unwrap();
        volume::create(&pool.path().join("state")).unwrap();
        fs::create_dir(pool.path().join("snapshots")).unwrap();
        pool.write("git/one", "old");
        pool
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("pool")
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join("data").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join("data").join(name)).unwrap_or_default()
    }

    pub fn take_at(&self, at: i64, still: &mut dyn Still) -> Result<Meta> {
        let (id, by) = (free_id(&self.path(), at), "anna@notebook".to_owned());
        let meta = Meta {
            id: id.clone(),
            at,
            reason: Reason::Asked,
            note: None,
            by,
            current: None,
            pause: None,
            order: Some(order::next(&self.path(), &id)?),
            nested: Nested::default(),
        };
        take(&self.path(), &meta, still).map(|taken| Meta { nested: taken.nested, ..meta })
    }

    /// Returns the files in the pool that are neither the present data nor complete snapshots.
    pub fn left_over(&self) -> Vec<String> {
        let names = |dir: &Path| -> Vec<String> {
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
        };
        let mut all = names(&self.path());
        all.retain(|name| !["data", "known", "lost+found", "snapshots", "state"].contains(&name.as_str()));
        all.extend(names(&self.path().join("snapshots")).into_iter().filter(|name| name.starts_with('.')));
        all.extend(names(&self.state()).into_iter().filter(|name| name != "snapshot-order.json"));
        all
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

pub fn sh(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An implementation of `Still` for a pool without running programs.
pub struct Nobody;

impl Still for Nobody {
    fn at(&mut self, _: &str) {}

    fn pause(&mut self) -> Result<()> {
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        Ok(())
    }

    fn patience(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Unmounts a file system. A child process of another test may have this test's files open until it calls exec, so the
/// call is repeated.
pub fn unmount(place: &Path) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let output = Command::new("umount").arg(place).output().unwrap();
        if output.status.success() {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("busy") && std::time::Instant::now() < until, "{said}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Makes a pool that writes nothing to its device by itself.
pub fn slow(filesystem: Filesystem) -> Pool {
    let pool = Pool::on(filesystem);
    if filesystem != Filesystem::Xfs {
        sh("mount", &["-o", "remount,commit=300", pool.path().to_str().unwrap()]);
    }
    pool
}

pub fn image(pool: &Pool) -> PathBuf {
    pool.dir.path().join("image")
}

pub fn keep(image: &Path) {
    sh("cp", &["--sparse=always", image.to_str().unwrap(), &format!("{}.cut", image.display())]);
}

/// Replaces the device by its copy from the time of the cut.
pub fn comes_back(pool: &Pool) {
    unmount(&pool.path());
    fs::rename(format!("{}.cut", image(pool).display()), image(pool)).unwrap();
    sh("mount", &["-o", "loop", image(pool).to_str().unwrap(), pool.path().to_str().unwrap()]);
}
