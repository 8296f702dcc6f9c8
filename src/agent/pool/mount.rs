//! The node's pool: btrfs with the subvolumes `data` (mounted at `/data`), `state`, and the directory `snapshots`; where the kernel has
//! no btrfs, another file system with directories of these names.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    process::Command,
    time::Duration,
};

use lap_base::{
    beneath, durable,
    error::{Error, Kind, OrError, Result},
};
use lap_snapshots::{Filesystem, is_btrfs, volume};

use super::{
    disk, grow, mkfs,
    mountinfo::{is_mounted, mounted},
};
use crate::{
    agent::system::{command::run, kernel},
    wire::{paths, protocol::NodeConfig},
};

/// Mounts the pool, making it first where there is none. `/data` is mounted later ([`mount_data`]): a restore that was interrupted decides
/// what the data is.
///
/// # Errors
/// Names the command that failed and what it said.
pub fn mount(config: &NodeConfig) -> Result<()> {
    for dir in [paths::POOL, paths::DATA] {
        fs::create_dir_all(dir).or_error(Kind::Node, || format!("cannot make `{dir}`"))?;
    }
    if !is_mounted(paths::POOL) {
        match &config.device {
            Some(device) => disk::mount(device, config.filesystem)?,
            None => {
                make_image(config.disk, config.filesystem)?;
                mount_image()?;
            }
        }
    }
    // That it cannot be used whole is no reason not to start.
    if let Err(error) = grow::fit(config) {
        eprintln!("agent: {error}");
    }
    for name in ["data", "state"] {
        let path = Path::new(paths::POOL).join(name);
        if !path.exists() {
            volume::create(&path)?;
        }
    }
    let snapshots = Path::new(paths::POOL).join("snapshots");
    fs::create_dir_all(&snapshots).or_error(Kind::Node, || format!("cannot make `{}`", snapshots.display()))
}

/// Mounts the pool's `data` at `/data`, unless it is.
///
/// # Errors
/// What mount says.
pub fn mount_data() -> Result<()> {
    if is_mounted(paths::DATA) {
        return Ok(());
    }
    let (device, _) = mounted(paths::POOL).ok_or_else(|| Error::new(Kind::Node, "the pool is not mounted"))?;
    if !is_btrfs(Path::new(paths::POOL))? {
        return run(Command::new("mount").arg("--bind").arg(Path::new(paths::POOL).join("data")).arg(paths::DATA));
    }
    run(Command::new("mount").args(["-t", "btrfs", "-o", "subvol=data,noatime", &device, paths::DATA]))
}

/// Unmounts `/data`. Whoever still uses it after `patience` keeps what it sees, and nobody else sees it.
///
/// # Errors
/// What umount says.
pub fn unmount_data(patience: Duration) -> Result<()> {
    let until = std::time::Instant::now() + patience;
    while is_mounted(paths::DATA) {
        match run(Command::new("umount").arg(paths::DATA)) {
            Ok(()) => {}
            Err(_) if std::time::Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => run(Command::new("umount").args(["-l", paths::DATA]))?,
        }
    }
    Ok(())
}

/// Unmounts both; what is still busy stays until the last process is gone.
pub fn unmount() {
    super::binds::unmount();
    for path in [paths::DATA, paths::POOL] {
        if is_mounted(path) {
            let _ = run(Command::new("umount").arg(path)).or_else(|_| run(Command::new("umount").args(["-l", path])));
        }
    }
}

/// Makes the directory for a container's data.
///
/// # Errors
/// It is not a container's name, or something else has it.
pub fn make_data(container: &str) -> Result<()> {
    let (above, name) = beneath::split(Path::new(container))?;
    if !above.as_os_str().is_empty() {
        return Err(Error::new(Kind::Refused, format!("`{container}` is not the name of a container")));
    }
    beneath::Dir::open(Path::new(paths::DATA))?.make(Path::new(name)).map(drop)
}

/// A pool that was being made when the power went is made again: it gets its name only when it is whole.
fn make_image(disk: u64, desired: Option<Filesystem>) -> Result<()> {
    if Path::new(paths::POOL_IMAGE).exists() {
        return Ok(());
    }
    let new = format!("{}.lap-new", paths::POOL_IMAGE);
    let _ = fs::remove_file(&new);
    let file = OpenOptions::new().write(true).create_new(true).open(&new);
    file.and_then(|file| file.set_len(disk)).or_error(Kind::Node, || format!("cannot make `{new}`"))?;
    mkfs::make(desired, &new)?;
    durable::publish(Path::new(&new), Path::new(paths::POOL_IMAGE))
        .or_error(Kind::Node, || format!("cannot rename `{new}`"))
}

/// `mount -o loop` frees its device by itself when the node is killed. Two nodes of one host may race for a free
/// device: the loser tries again.
fn mount_image() -> Result<()> {
    let filesystem = mkfs::found(paths::POOL_IMAGE)
        .ok_or_else(|| Error::new(Kind::Node, format!("`{}` is no longer a pool", paths::POOL_IMAGE)))?;
    let mut nodes = 16;
    for attempt in 0.. {
        kernel::make_loop_nodes(nodes)?;
        match mkfs::mount(filesystem, paths::POOL_IMAGE, true) {
            Ok(()) => break,
            Err(error) if attempt == 20 => return Err(error),
            Err(_) => {
                nodes = (nodes * 2).min(256);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
    Ok(())
}

/// The pool. Not `/data`: that is away in the middle of a restore.
pub fn path() -> Result<&'static Path> {
    if is_mounted(paths::POOL) {
        return Ok(Path::new(paths::POOL));
    }
    Err(Error::new(Kind::Refused, format!("there is no pool at `{}`", paths::POOL)))
}
