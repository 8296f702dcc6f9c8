//! A pool with data of a hostile container (`web`) and of two others, mounted for this thread and what it starts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use lap_base::Result;
use lap_snapshots::{
    Filesystem, Id, Meta, Nested, Reason, RestoreStep, Still, World, free_id,
    only::{self, Only},
    take, volume,
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// What no container but its own may see or change.
pub const SECRET: &str = "a secret of git";

pub struct Pool {
    dir: tempfile::TempDir,
}

impl Pool {
    pub fn on(filesystem: Filesystem) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let pool = Self { dir: tempfile::tempdir().unwrap() };
        let image = pool.dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
        let (mkfs, words) = filesystem.mkfs();
        sh(mkfs, &[words, &[image.to_str().unwrap()]].concat());
        fs::create_dir(pool.path()).unwrap();
        sh("mount", &["-o", "loop", image.to_str().unwrap(), pool.path().to_str().unwrap()]);
        volume::create(&pool.data()).unwrap();
        volume::create(&pool.state()).unwrap();
        fs::create_dir(pool.path().join("snapshots")).unwrap();
        pool.write("git/hooks/update", SECRET);
        pool.write("git/ssh/key", SECRET);
        pool.write("web/dir/update", "web's own");
        pool.write("web/dir/key", "web's own");
        pool
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("pool")
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub fn web(&self) -> PathBuf {
        self.data().join("web")
    }

    pub fn git(&self) -> PathBuf {
        self.data().join("git")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn of(&self, id: &Id) -> PathBuf {
        self.path().join("snapshots").join(id.to_string()).join("data")
    }

    pub fn take(&self) -> Result<Meta> {
        let at = 1_795_254_312;
        let meta = Meta {
            id: free_id(&self.path(), at),
            at,
            reason: Reason::Asked,
            note: None,
            by: "anna@notebook".into(),
            current: None,
            pause: None,
            order: None,
            nested: Nested::default(),
        };
        take(&self.path(), &meta, &mut Nobody::default()).map(|taken| Meta { nested: taken.nested, ..meta })
    }

    /// Restores a part; `at` is what happens when a step begins.
    pub fn part(&self, id: &Id, path: &str, at: impl FnMut(RestoreStep) + 'static) -> Result<Meta> {
        let (pool, state, paths) = (self.path(), self.state(), [path.to_owned()]);
        let only = Only {
            pool: &pool,
            state: &state,
            id,
            paths: &paths,
            containers: &[],
            at: 1_795_254_400,
            by: "ben@pc",
            current: None,
            kept: None,
        };
        only.run(&mut Nobody { at: Some(Box::new(at)) })
    }

    pub fn recover(&self) -> Result<Option<String>> {
        only::recover(&self.path(), &self.state(), &mut Nobody::default())
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

/// Does the same on each file system that a pool can be.
pub fn on_each(act: impl Fn(&Pool)) {
    Filesystem::ALL.into_iter().for_each(|filesystem| act(&Pool::on(filesystem)));
}

/// A node without containers that run; a hostile process is a thread of the test.
#[derive(Default)]
pub struct Nobody {
    at: Option<Box<dyn FnMut(RestoreStep)>>,
}

impl Still for Nobody {
    fn at(&mut self, _: &str) {}

    fn pause(&mut self) -> Result<()> {
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        None
    }
}

impl World for Nobody {
    fn step(&mut self, step: RestoreStep) {
        if let Some(at) = &mut self.at {
            at(step);
        }
    }

    fn running(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn can_start(&self) -> bool {
        true
    }

    fn stop(&mut self, _: &[String]) -> Result<()> {
        Ok(())
    }

    fn start(&mut self, _: &[String]) -> Result<()> {
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        Ok(())
    }

    fn mount(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The names in a directory.
pub fn names(dir: &Path) -> Vec<String> {
    let mut all: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}
