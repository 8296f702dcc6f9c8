//! Mounts sources of bind mounts that lie in the data of a container, so that Docker follows no link in it (`crate::binds`).
//!
//! A source is opened below `/data` without following a link, and mounted by its descriptor. A mount lasts as long as nothing is restored and
//! the node runs: so all are looked at again before Docker starts anything. What cannot be mounted has no mount point, and then Docker
//! refuses to start its container.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bollard::{Docker, models::ContainerCreateBody, query_parameters::ListContainersOptionsBuilder};
use lap_base::{
    beneath::{self, Dir},
    durable,
    error::{Error, Kind, OrError, Result},
    state,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{FileType, Stat, fstat};

use super::mountinfo::is_mounted;
use crate::{binds, wire::paths};

/// Two at a time would mount one over the other.
static ONE: Mutex<()> = Mutex::new(());

/// Has these sources mounted, from now on also after the next boot.
///
/// # Errors
/// One is not there, is a link or leads through one, or is neither a directory nor a file.
pub fn add(sources: &[PathBuf]) -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for below in sources.iter().filter_map(|source| binds::below_data(source)) {
        let place = BindMount::of(Path::new(binds::DIRECTORY), &binds::name(below));
        let is_new = !place.directory.exists();
        durable::create_dir_all(&place.directory)
            .or_error(Kind::Node, || format!("cannot make `{}`", place.directory.display()))?;
        if let Err(error) = place.fit(Path::new(paths::DATA), below) {
            // No container uses it: nothing needs to try again.
            return Err(if is_new { place.remove().err().unwrap_or(error) } else { error });
        }
    }
    Ok(())
}

/// Puts the places into the body of a container that is about to be made, and has their sources mounted.
///
/// # Errors
/// As [`add`].
pub fn replace(body: &mut ContainerCreateBody) -> Result<()> {
    let mounts = body.host_config.iter_mut().flat_map(|host| host.mounts.iter_mut().flatten());
    let mut sources = Vec::new();
    for source in mounts.filter_map(|mount| mount.source.as_mut()) {
        let below = binds::mounted(Path::new(source)).map(|below| Path::new(paths::DATA).join(below));
        let is = below.unwrap_or_else(|| PathBuf::from(&*source));
        *source = binds::of(&is).to_string_lossy().into_owned();
        sources.push(is);
    }
    add(&sources)
}

/// Looks at all places again: what is mounted there is what the path leads to now. One that fails keeps no other from it.
///
/// # Errors
/// The first that cannot be mounted: its container does not start.
pub fn refresh() -> Result<()> {
    if !is_mounted(paths::DATA) {
        return Ok(());
    }
    refresh_in(Path::new(binds::DIRECTORY), Path::new(paths::DATA))
}

/// [`refresh`] of the places in `directory`, with sources below `data`.
///
/// # Errors
/// As [`refresh`].
pub fn refresh_in(directory: &Path, data: &Path) -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = Ok(());
    for (name, below) in places(directory)? {
        all = all.and(BindMount::of(directory, &name).fit(data, &below));
    }
    all
}

/// [`refresh`], for the log: Docker says so, too, when it starts the container.
pub fn refresh_and_tell() {
    if let Err(error) = refresh() {
        eprintln!("agent: {error}");
    }
}

/// Removes the places that no container uses.
///
/// # Errors
/// Docker does not answer.
pub async fn sweep(docker: &Docker) -> Result<()> {
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let list = docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    let sources = list.into_iter().flat_map(|container| container.mounts.unwrap_or_default());
    let used: BTreeSet<PathBuf> =
        sources.filter_map(|mount| binds::mounted(Path::new(&mount.source.unwrap_or_default()))).collect();
    let directory = Path::new(binds::DIRECTORY);
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, below) in places(directory)? {
        if !used.contains(&below) {
            BindMount::of(directory, &name).remove()?;
        }
    }
    Ok(())
}

/// Removes the mount points that an earlier boot left: they are empty, and Docker may start their containers at any time.
pub fn remove_those_of_an_earlier_boot() {
    if !is_mounted(paths::DATA) {
        unmount();
    }
}

/// Unmounts all; they are mounted again by [`refresh`].
pub fn unmount() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Path::new(binds::DIRECTORY);
    for (name, _) in places(directory).unwrap_or_default() {
        BindMount::of(directory, &name).close();
    }
}

/// Unmounts all, and removes their places. A place that is still mounted stays: what it shows is data.
pub fn remove_all() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Path::new(binds::DIRECTORY);
    for (name, _) in places(directory).unwrap_or_default() {
        if let Err(error) = BindMount::of(directory, &name).remove() {
            eprintln!("agent: {error}");
        }
    }
    let _ = fs::remove_dir(directory);
}

fn places(directory: &Path) -> Result<Vec<(String, PathBuf)>> {
    let names = state::names(directory).value_or_refuse()?.unwrap_or_default();
    Ok(names.into_iter().filter_map(|name| binds::path(&name).map(|path| (name, path))).collect())
}

/// A place, in a directory that lap alone changes.
struct BindMount {
    directory: PathBuf,
    at: PathBuf,
}

impl BindMount {
    fn of(directory: &Path, name: &str) -> Self {
        let directory = directory.join(name);
        Self { at: directory.join(binds::AT), directory }
    }

    /// Mounts what `below` leads to now, unless it is mounted.
    fn fit(&self, data: &Path, below: &Path) -> Result<()> {
        let source = match Source::open(data, below) {
            Ok(source) => source,
            Err(error) => {
                self.close();
                return Err(error);
            }
        };
        if source.is_at(&self.at) {
            return Ok(());
        }
        self.close();
        let what = |verb: &str| format!("cannot {verb} `{}`", self.at.display());
        let made =
            if source.is_directory() { fs::create_dir(&self.at) } else { fs::File::create_new(&self.at).map(drop) };
        made.or_error(Kind::Node, || what("make"))?;
        let mounted = mount(Some(&source.path()), &self.at, None::<&str>, MsFlags::MS_BIND, None::<&str>);
        if mounted.is_err() {
            // Docker would take an empty directory for the source.
            self.close();
        }
        mounted.or_error(Kind::Node, || what("mount"))
    }

    /// Docker finds nothing here from now on. A container that runs keeps what it sees.
    fn close(&self) {
        while umount2(&self.at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
        match fs::remove_dir(&self.at) {
            Err(error) if error.kind() == ErrorKind::NotADirectory => drop(fs::remove_file(&self.at)),
            _ => {}
        }
    }

    fn remove(&self) -> Result<()> {
        self.close();
        fs::remove_dir(&self.directory).or_error(Kind::Node, || format!("cannot remove `{}`", self.directory.display()))
    }
}

/// A source that is open: what has its path by the time it is mounted does not matter.
struct Source {
    open: std::os::fd::OwnedFd,
    stat: Stat,
}

impl Source {
    fn open(data: &Path, below: &Path) -> Result<Self> {
        let path = Path::new(paths::DATA).join(below).to_string_lossy().escape_debug().to_string();
        let error = |why: String| Error::new(Kind::Refused, format!("cannot mount `{path}` into a container: {why}"));
        let open = match Dir::open(data)?.open_path(below) {
            Ok(open) => open,
            Err(rustix::io::Errno::NOENT) => {
                return Err(error("it is not there".into())
                    .hint("make it before the container starts, or leave the volume out"));
            }
            Err(rustix::io::Errno::LOOP) => {
                return Err(error("a part of the path is a symbolic link".into()).hint(
                    "lap does not follow links in the data of a container: name the directory itself in `volumes`",
                ));
            }
            Err(why) => return Err(error(why.to_string())),
        };
        let stat = fstat(&open).or_error(Kind::Node, || format!("cannot look at `{path}`"))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory | FileType::RegularFile | FileType::Socket => Ok(Self { open, stat }),
            FileType::Symlink => Err(error("it is a symbolic link".into())
                .hint("lap does not follow links in the data of a container: name the directory itself in `volumes`")),
            _ => Err(error("it is neither a directory nor a file".into())),
        }
    }

    fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }

    /// The mount point lies on another file system, so it is this one only if this one is mounted there.
    fn is_at(&self, at: &Path) -> bool {
        fs::symlink_metadata(at).is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.stat.st_dev, self.stat.st_ino))
    }

    /// A path by which mount(2) reaches the open source. It stays right when the source is renamed.
    fn path(&self) -> PathBuf {
        beneath::reach(self.open.as_fd())
    }
}
