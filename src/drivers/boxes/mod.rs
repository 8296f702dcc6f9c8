//! Boxes: what Vagrant makes machines from. The same definition as the nodes' root file system, with a kernel, a boot loader
//! and systemd, as a disk that boots by itself. Nothing in it is a secret: who a machine is comes with its seed.

mod files;
mod ovf;

use std::{
    fs,
    path::{Path, PathBuf},
};

use lap_base::error::{Error, Kind, OrError, Result};
use sha2::{Digest, Sha256};

use super::{rootfs, stock_ssh::quoted};
use crate::{
    config::model::{Hypervisor, Rootfs},
    report::LineSink,
};

/// The size of the disk, as `disk.sh` makes it.
const GIB: u32 = 20;

/// What a machine needs beside what a node needs.
const PACKAGES: [&str; 9] =
    // Their kernel has AppArmor switched on: Docker starts nothing then without its tool.
    [
        "apparmor",
        "dbus",
        "e2fsprogs",
        "grub-common",
        "grub-pc-bin",
        "initramfs-tools",
        "systemd-sysv",
        "systemd-timesyncd",
        "udev",
    ];

impl Hypervisor {
    /// Its name in files and for Vagrant.
    pub fn name(self) -> &'static str {
        match self {
            Self::Libvirt => "libvirt",
            Self::Virtualbox => "virtualbox",
        }
    }

    /// Debian's small kernel has what a libvirt machine has, and not all that a VirtualBox machine may have.
    fn kernel(self) -> &'static str {
        match self {
            Self::Libvirt => "linux-image-cloud-amd64",
            Self::Virtualbox => "linux-image-amd64",
        }
    }

    /// For qemu-img: the disk's format and its options.
    fn format(self) -> (&'static str, &'static str) {
        match self {
            Self::Libvirt => ("qcow2", "compression_type=zstd"),
            Self::Virtualbox => ("vmdk", "subformat=streamOptimized"),
        }
    }
}

/// What a box is made of, from what nodes are made of.
fn definition(rootfs: &Rootfs, hypervisor: Hypervisor) -> Rootfs {
    let mut out = rootfs.clone();
    out.packages.extend(PACKAGES.into_iter().chain([hypervisor.kernel()]).map(str::to_owned));
    out
}

/// Identity of a box: equal definitions have equal ones.
pub fn identity(rootfs: &Rootfs, hypervisor: Hypervisor) -> String {
    let mut hash = Sha256::new();
    let files = files::archive().unwrap_or_default();
    for part in [rootfs::identity(&definition(rootfs, hypervisor)).as_bytes(), &files] {
        hash.update(Sha256::digest(part));
    }
    hash.update(ovf::text(0));
    hash.update(hypervisor.name());
    hex::encode(&hash.finalize()[..8])
}

/// What Vagrant calls it.
pub fn name(identity: &str) -> String {
    format!("lap/{identity}")
}

/// Where it is kept. May be deleted at any time.
pub fn cached(cache: &Path, rootfs: &Rootfs, hypervisor: Hypervisor) -> PathBuf {
    cache.join(format!("{}-{}.box", hypervisor.name(), identity(rootfs, hypervisor)))
}

/// Makes the box unless it is cached, telling `line` what happens. Returns its path.
///
/// # Errors
/// mmdebstrap or qemu-img is missing or fails: with its last lines.
pub async fn make(cache: &Path, rootfs: &Rootfs, hypervisor: Hypervisor, line: &LineSink<'_>) -> Result<PathBuf> {
    let target = cached(cache, rootfs, hypervisor);
    if target.exists() {
        return Ok(target);
    }
    let write = |path: &Path| format!("cannot write `{}`", path.display());
    fs::create_dir_all(cache).or_error(Kind::Host, || write(cache))?;
    let dir = tempfile::Builder::new().prefix("box-").tempdir_in(cache).or_error(Kind::Host, || write(cache))?;
    let (files, disk) = (dir.path().join("files.tar"), dir.path().join(disk_name(hypervisor)));
    fs::write(&files, files::archive()?).or_error(Kind::Host, || write(&files))?;
    let mut arguments = rootfs::options(&definition(rootfs, hypervisor));
    arguments.extend(hooks(hypervisor, &files, &disk));
    arguments.extend(["--format=null".into(), rootfs.suite.clone(), "/dev/null".into()]);
    rootfs::mmdebstrap(&arguments, &rootfs.suite, line).await?;
    line("pack the box");
    // Several may make the same: the last rename wins, all are equal.
    let new = tempfile::Builder::new().suffix(".box.lap-new").tempfile_in(cache);
    let new = new.or_error(Kind::Host, || write(cache))?;
    let (from, to) = (disk.clone(), new.path().to_owned());
    let packed = tokio::task::spawn_blocking(move || pack(hypervisor, &from, &to));
    packed.await.or_error(Kind::Other, || "pack".into())??;
    new.persist(&target).or_error(Kind::Host, || write(&target))?;
    Ok(target)
}

/// mmdebstrap's hooks, in order. Each is a line for a shell, or one of mmdebstrap's own; the paths in them are quoted.
fn hooks(hypervisor: Hypervisor, files: &Path, disk: &Path) -> [String; 4] {
    let path = |path: &Path| quoted(&[path.display().to_string()]).concat();
    let modules = files::MODULES.join(" ");
    let (format, options) = hypervisor.format();
    [
        format!(
            "--setup-hook=mkdir -p \"$1/etc/initramfs-tools/conf.d\" && \
             echo MODULES=list >\"$1/etc/initramfs-tools/conf.d/lap\" && \
             printf '%s\\n' {modules} >\"$1/etc/initramfs-tools/modules\""
        ),
        format!("--customize-hook=tar-in {} /", path(files)),
        format!("--customize-hook=FORMAT={format} OPTIONS={options} sh \"$1/{}\" \"$1\"", files::DISK),
        format!("--customize-hook=download /lap-disk {}", path(disk)),
    ]
}

fn disk_name(hypervisor: Hypervisor) -> &'static str {
    match hypervisor {
        Hypervisor::Libvirt => "box.img",
        Hypervisor::Virtualbox => ovf::DISK,
    }
}

/// A `.box`: an archive of the disk, and of what Vagrant must know about it.
fn pack(hypervisor: Hypervisor, disk: &Path, target: &Path) -> Result<()> {
    let what = || format!("cannot write `{}`", target.display());
    let file = fs::File::create(target).or_error(Kind::Host, what)?;
    let mut tar = tar::Builder::new(file);
    let metadata = match hypervisor {
        Hypervisor::Libvirt => format!(r#"{{"provider":"libvirt","format":"qcow2","virtual_size":{GIB}}}"#),
        Hypervisor::Virtualbox => r#"{"provider":"virtualbox"}"#.to_owned(),
    };
    let mut small = |name: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes())
    };
    small("metadata.json", &metadata).or_error(Kind::Host, what)?;
    if hypervisor == Hypervisor::Virtualbox {
        let size = fs::metadata(disk).or_error(Kind::Host, what)?.len();
        small("box.ovf", &ovf::text(size)).or_error(Kind::Host, what)?;
        // Vagrant asks a VirtualBox box for the address of its first network card.
        small("Vagrantfile", "Vagrant.configure(\"2\") { |config| config.vm.base_mac = \"0800276C6170\" }\n")
            .or_error(Kind::Host, what)?;
    }
    let mut content = fs::File::open(disk).map_err(|error| {
        Error::new(Kind::Build, format!("mmdebstrap left no disk: {error}")).hint("is `qemu-img` installed?")
    })?;
    tar.append_file(disk_name(hypervisor), &mut content).or_error(Kind::Host, what)?;
    tar.finish().or_error(Kind::Host, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hypervisor_has_its_box() {
        let rootfs = Rootfs { suite: "bookworm".into(), variant: "minbase".into(), ..Rootfs::default() };
        let [one, two] = [Hypervisor::Libvirt, Hypervisor::Virtualbox].map(|of| identity(&rootfs, of));
        assert_ne!(one, two);
        assert_eq!(one, identity(&rootfs, Hypervisor::Libvirt));
        assert!(definition(&rootfs, Hypervisor::Libvirt).packages.contains("linux-image-cloud-amd64"));
    }

    #[test]
    fn paths_in_hooks_are_quoted() {
        let hooks = hooks(Hypervisor::Libvirt, Path::new("/a b/files"), Path::new("/it's/disk"));
        assert_eq!(hooks[1], "--customize-hook=tar-in '/a b/files' /");
        assert_eq!(hooks[3], "--customize-hook=download /lap-disk \"/it's/disk\"");
        assert_eq!(
            hooks[2],
            "--customize-hook=FORMAT=qcow2 OPTIONS=compression_type=zstd sh \"$1/lap-disk.sh\" \"$1\""
        );
    }

    #[test]
    fn a_box_is_an_archive_with_its_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, target) = (dir.path().join("d"), dir.path().join("b"));
        fs::write(&disk, "disk").unwrap();
        pack(Hypervisor::Virtualbox, &disk, &target).unwrap();
        let mut archive = tar::Archive::new(fs::File::open(&target).unwrap());
        let names: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["metadata.json", "box.ovf", "Vagrantfile", ovf::DISK]);
    }
}
