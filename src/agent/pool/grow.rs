//! A pool that becomes larger, while everything on it goes on: in a file because somebody asks for it, on a disk of its own because
//! that has become larger.

use std::{
    fs::{self, OpenOptions},
    process::Command,
};

use lap_base::{
    durable::write_file,
    error::{Error, Kind, OrError, Result},
};
use lap_snapshots::Filesystem;

use super::{mkfs, mountinfo};
use crate::{
    agent::system::{command, failpoint, node_config::read_config},
    wire::{
        machine::config_text,
        paths,
        protocol::{NodeConfig, Response},
    },
};

/// CAP_SYS_RESOURCE, see capabilities(7).
const SYS_RESOURCE: u32 = 24;

/// Makes the pool so many bytes large. That is written down first: what a kill interrupts, the next start finishes.
///
/// # Errors
/// The pool is no file, or its file system cannot grow here.
pub fn to(disk: u64) -> Result<Response> {
    let mut config = read_config()?;
    if config.device.is_some() {
        return Err(Error::new(Kind::Refused, "the pool uses its whole disk already"));
    }
    let (_, filesystem) = place()?;
    can_grow(filesystem)?;
    if disk > config.disk {
        config.disk = disk;
        failpoint::at("record the size");
        write_file(paths::CONFIG.as_ref(), &config_text(&config)?, 0o600)?;
    }
    fit(&config).map(|()| Response::Done)
}

/// At each start, and when it is to be larger: the pool has all the room that it should have.
///
/// # Errors
/// It cannot be made larger; it is as it was.
pub fn fit(config: &NodeConfig) -> Result<()> {
    let (device, filesystem) = place()?;
    if config.device.is_none() {
        let what = || format!("cannot extend `{}`", paths::POOL_IMAGE);
        let file = OpenOptions::new().write(true).open(paths::POOL_IMAGE).or_error(Kind::Node, what)?;
        if file.metadata().or_error(Kind::Node, what)?.len() < config.disk {
            can_grow(filesystem)?;
            failpoint::at("extend the file");
            file.set_len(config.disk).and_then(|()| file.sync_all()).or_error(Kind::Node, what)?;
        }
        command::run(Command::new("losetup").args(["--set-capacity", &device]))?;
    }
    failpoint::at("extend the file system");
    mkfs::grow(filesystem, &device)
}

/// The length of the pool's file; `None`: it has a disk of its own.
pub fn image() -> Option<u64> {
    let config = read_config().ok().filter(|config| config.device.is_none());
    config.and_then(|_| fs::metadata(paths::POOL_IMAGE).ok()).map(|image| image.len())
}

/// What the pool is mounted from, and as what.
fn place() -> Result<(String, Filesystem)> {
    let mounted = mountinfo::mounted(paths::POOL);
    let place = mounted.and_then(|(device, filesystem)| Some((device, Filesystem::named(&filesystem)?)));
    place.ok_or_else(|| Error::new(Kind::Node, "the pool is not mounted"))
}

/// The kernel wants more for it of ext4 than the `docker` provider gives a node.
fn can_grow(filesystem: Filesystem) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if filesystem != Filesystem::Ext4 || has(&status, SYS_RESOURCE) {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, "an ext4 pool cannot grow in a container").hint(
        "copy the data off the machine with `lap snapshot copy`, then run `lap destroy`, and restore it into a larger pool with `lap recover`",
    ))
}

/// Whether a process, of which this is `/proc/<pid>/status`, has this capability.
fn has(status: &str, capability: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    effective & (1 << capability) != 0
}

#[cfg(test)]
mod tests {
    use super::has;

    #[test]
    fn a_capability_is_a_bit() {
        let root = "Name:\tlap\nCapPrm:\t0\nCapEff:\t000001ffffffffff\n";
        assert!(has(root, 24) && !has(&root.replace("ffffffffff", "fffeffffff"), 24) && !has("", 24));
    }
}
