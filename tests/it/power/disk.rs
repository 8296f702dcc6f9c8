//! A pool on a disk that records what it is told, and the images that power cuts may leave of it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use lap_snapshots::{Filesystem, volume};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use super::{
    fuse,
    log::{Cut, Entry, Log, flushes, last_flush, replay, replay_part, seeded},
};

/// xfs wants that much.
const SIZE: u64 = 320 << 20;

/// A directory in memory, mounted for this thread and what it starts.
pub struct Disk {
    dir: tempfile::TempDir,
    filesystem: Filesystem,
    pub log: Arc<Log>,
}

impl Disk {
    /// With an empty pool, which is mounted at [`Self::pool`].
    pub fn new(filesystem: Filesystem) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let disk = Self { dir: tempfile::tempdir().unwrap(), filesystem, log: Arc::default() };
        let options = Some("size=4g");
        mount(Some("tmpfs"), disk.dir.path(), Some("tmpfs"), MsFlags::empty(), options).unwrap();
        let image = disk.path("image");
        File::create(&image).unwrap().set_len(SIZE).unwrap();
        let (mkfs, words) = filesystem.mkfs();
        sh(mkfs, &[words, &[image.to_str().unwrap()]].concat());
        File::create(disk.path("device")).unwrap();
        fs::create_dir_all(disk.pool()).unwrap();
        fuse::serve(
            &disk.path("device"),
            File::options().read(true).write(true).open(&image).unwrap(),
            disk.log.clone(),
        );
        disk.mount(&disk.path("device"));
        volume::create(&disk.pool().join("data")).unwrap();
        volume::create(&disk.pool().join("state")).unwrap();
        fs::create_dir(disk.pool().join("snapshots")).unwrap();
        disk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where it is on a node, below a directory that a test may make a node's root.
    pub fn pool(&self) -> PathBuf {
        self.path("root/var/lib/lap/pool")
    }

    fn try_mount(&self, device: &Path) -> Result<(), String> {
        // Blocks that are not needed are not announced: the log has writes only. btrfs would tell why a damaged file system is not mounted.
        let options = "loop,nodiscard";
        let output = Command::new("mount")
            .args(["-t", self.filesystem.name(), "-o", options])
            .args([device, &self.pool()])
            .output()
            .unwrap();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    fn mount(&self, device: &Path) {
        self.try_mount(device).unwrap();
    }

    fn unmount(&self) {
        unmount(&self.pool());
    }

    /// From now on what the disk is told is recorded. Before, all of it is on the disk.
    pub fn record(&self) {
        volume::sync(&self.pool()).unwrap();
        let (image, durable) = (self.path("image"), self.path("durable"));
        self.log.begin(|| copy(&image, &durable));
    }

    /// The power goes for the last time: gives what was recorded.
    pub fn end(&self) -> Recording<'_> {
        let log = self.log.end();
        self.unmount();
        umount2(&self.path("device"), MntFlags::MNT_DETACH).unwrap();
        fs::remove_file(self.path("image")).unwrap();
        Recording { disk: self, log, names: ["durable", "cut"], flushed: 0 }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for mounted in [self.pool(), self.path("again"), self.path("device"), self.dir.path().to_owned()] {
            let _ = umount2(&mounted, MntFlags::MNT_DETACH);
        }
    }
}

/// What was recorded, and an image of the disk at one of its flushes.
pub struct Recording<'a> {
    disk: &'a Disk,
    pub log: Vec<Entry>,
    /// The image at a flush, and what a cut leaves.
    names: [&'static str; 2],
    flushed: usize,
}

impl<'a> Recording<'a> {
    /// `count` cuts that the seed chooses, and one after each flush, of which at most `flushes` are taken.
    pub fn cuts(&self, seed: u64, count: u64, most_flushes: usize) -> Vec<Cut> {
        let all = flushes(&self.log);
        let step = all.len().div_ceil(most_flushes.max(1)).max(1);
        let mut cuts: Vec<Cut> = all.iter().rev().step_by(step).copied().collect();
        cuts.extend(seeded(&self.log, seed, count));
        cuts.sort();
        cuts.dedup();
        cuts
    }

    /// Makes the image that this cut leaves. The cuts come in their order.
    fn cut(&mut self, cut: Cut) {
        let flushed = last_flush(&self.log, cut.at);
        assert!(flushed >= self.flushed, "the cuts are in their order");
        let durable = self.disk.path(self.names[0]);
        replay(&File::options().write(true).open(&durable).unwrap(), &self.log[self.flushed..flushed]);
        self.flushed = flushed;
        copy(&durable, &self.image());
        replay_part(&File::options().write(true).open(self.image()).unwrap(), &self.log[flushed..cut.at], cut.survives);
    }

    /// Mounts what this cut leaves.
    ///
    /// # Errors
    /// The file system does not mount it.
    pub fn mount(&mut self, cut: Cut) -> Result<Mounted<'a>, String> {
        self.cut(cut);
        self.disk.try_mount(&self.image())?;
        Ok(Mounted(self.disk))
    }

    /// Records what `act` does to what this cut leaves.
    ///
    /// # Errors
    /// The file system does not mount it, or `act` says why.
    pub fn record(&mut self, cut: Cut, act: &dyn Fn(&Path) -> Result<(), String>) -> Result<Recording<'a>, String> {
        self.cut(cut);
        let (disk, device, log) = (self.disk, self.disk.path("again"), Arc::<Log>::default());
        copy(&self.image(), &disk.path("again-durable"));
        File::create(&device).unwrap();
        fuse::serve(&device, File::options().read(true).write(true).open(self.image()).unwrap(), log.clone());
        log.begin(|| {});
        let acted = disk.try_mount(&device).and_then(|()| {
            let _pool = Mounted(disk);
            act(&disk.pool())
        });
        let log = log.end();
        umount2(&device, MntFlags::MNT_DETACH).unwrap();
        acted?;
        Ok(Recording { disk, log, names: ["again-durable", "again-cut"], flushed: 0 })
    }

    /// What the last cut left, changed by its check.
    pub fn image(&self) -> PathBuf {
        self.disk.path(self.names[1])
    }
}

fn copy(from: &Path, to: &Path) {
    sh("cp", &["--sparse=always", from.to_str().unwrap(), to.to_str().unwrap()]);
}

/// A pool after a power cut.
pub struct Mounted<'a>(&'a Disk);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        self.0.unmount();
    }
}

/// A program that another test starts has this test's open files for a moment, before it becomes that program.
fn unmount(place: &Path) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let output = Command::new("umount").arg(place).output().unwrap();
        if output.status.success() {
            return;
        }
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("busy") && Instant::now() < until, "{message}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn sh(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
