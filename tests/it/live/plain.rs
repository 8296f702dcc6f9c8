//! A plain Debian with systemd in an emulated machine that lap has nothing to do with: libvirt boots it, its own sshd lets its
//! administrator in.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use super::lab::{Lab, run};

const ADDRESS: &str = "192.168.156.10";
const MAC: &str = "52:54:00:9c:0a:01";
/// What a server's installation has. What a node needs beyond that (btrfs-progs) is left to `lap node prepare`.
const PACKAGES: &str = "--include=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,dbus,e2fsprogs,openssh-server,sudo,\
                        ca-certificates,iproute2,procps,kmod,apparmor,docker.io,iptables";
/// Makes the disk out of `$1`, the root file system, with whatever kernel it has. `$2`: who may log in; `$3`: the machine's host key.
const DISK: &str = r#"
set -eu
root=$1
chroot "$root" useradd --create-home --shell /bin/sh --password '*' ops
echo 'ops ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/ops"
mkdir "$root/home/ops/.ssh"
cp "$2" "$root/home/ops/.ssh/authorized_keys"
chroot "$root" chown -R ops: /home/ops/.ssh
rm -f "$root"/etc/ssh/ssh_host_*
cp "$3" "$root/etc/ssh/ssh_host_ed25519_key"
chmod 600 "$root/etc/ssh/ssh_host_ed25519_key"
printf '[Match]\nName=en* eth*\n\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/50-all.network"
chroot "$root" systemctl --quiet enable systemd-networkd.service
chroot "$root" systemctl --quiet mask systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer
echo plain >"$root/etc/hostname"
echo '127.0.0.1 localhost plain' >"$root/etc/hosts"
rm -f "$root/etc/resolv.conf"
echo 'nameserver 192.168.156.1' >"$root/etc/resolv.conf"
echo '/dev/vda / ext4 noatime 0 1' >"$root/etc/fstab"
: >"$root/etc/machine-id"
cp "$root"/boot/vmlinuz-* "$root/lap-kernel"
cp "$root"/boot/initrd.img-* "$root/lap-initrd"
view=$(mktemp -d "$root.XXXXXX")
trap 'umount "$view" || true; rmdir "$view"' EXIT
mount --bind "$root" "$view"
truncate -s 8G "$root.disk"
mke2fs -q -F -t ext4 -d "$view" "$root.disk"
qemu-img convert -f raw -O qcow2 "$root.disk" "$root/lap-disk"
rm "$root.disk"
"#;

pub struct Plain {
    domain: String,
    network: String,
    /// In front in `PATH`: an `ssh` with this test's configuration in place of the person's.
    bin: PathBuf,
    /// Where its disk is; swept by `scripts/test`.
    home: PathBuf,
}

impl Plain {
    pub const DESTINATION: &'static str = "the-plain-one";

    /// Makes and boots it, until its administrator can log in.
    pub fn boot(lab: &Lab) -> Self {
        let home = Path::new("/var/lib/lap").join(&lab.name);
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(home.join("bin")).unwrap();
        let path = |name: &str| home.join(name).display().to_string();
        let machine = Self {
            domain: format!("lap-{}-plain", lab.name),
            network: format!("lap-{}", lab.name),
            bin: home.join("bin"),
            home: home.clone(),
        };
        for key in ["key", "host"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "ops", "-f", &path(key)]).ok();
        }
        fs::write(home.join("disk.sh"), DISK).unwrap();
        let hooks = [
            format!("--customize-hook=sh {} \"$1\" {} {}", path("disk.sh"), path("key.pub"), path("host")),
            format!("--customize-hook=download /lap-disk {}", path("disk")),
            format!("--customize-hook=download /lap-kernel {}", path("kernel")),
            format!("--customize-hook=download /lap-initrd {}", path("initrd")),
        ];
        let setup = "--setup-hook=mkdir -p \"$1/etc/initramfs-tools/conf.d\" && \
                     echo MODULES=list >\"$1/etc/initramfs-tools/conf.d/x\" && \
                     printf '%s\\n' virtio_pci virtio_blk ext4 >\"$1/etc/initramfs-tools/modules\"";
        // As after an installation, apt knows what there is: all of it anew takes minutes on a processor that is emulated.
        let mut arguments = vec!["--quiet", "--variant=minbase", "--skip=cleanup/apt", PACKAGES, setup];
        arguments.extend(hooks.iter().map(String::as_str));
        arguments.extend(["--format=null", "bookworm", "/dev/null"]);
        run("mmdebstrap", &arguments).ok();
        machine.people();
        machine.start();
        machine
    }

    fn people(&self) {
        let path = |name: &str| self.home.join(name).display().to_string();
        let host = fs::read_to_string(self.home.join("host.pub")).unwrap();
        fs::write(self.home.join("known"), format!("{ADDRESS} {host}")).unwrap();
        let config = format!(
            "Host {}\n  HostName {ADDRESS}\n  User ops\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n",
            Self::DESTINATION,
            path("key"),
            path("known"),
        );
        fs::write(self.home.join("config"), config).unwrap();
        let ssh = self.bin.join("ssh");
        fs::write(&ssh, format!("#!/bin/sh\nexec /usr/bin/ssh -F '{}' \"$@\"\n", path("config"))).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn start(&self) {
        let path = |name: &str| self.home.join(name).display().to_string();
        let network = format!(
            "<network><name>{}</name><forward mode='nat'/><bridge stp='off' delay='0'/>\
             <ip address='192.168.156.1' prefix='24'><dhcp><range start='192.168.156.254' end='192.168.156.254'/>\
             <host mac='{MAC}' ip='{ADDRESS}'/></dhcp></ip></network>",
            self.network
        );
        let domain = format!(
            "<domain type='qemu'><name>{}</name><memory unit='MiB'>1024</memory><vcpu>2</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{}</kernel><initrd>{}</initrd>\
             <cmdline>root=/dev/vda ro console=ttyS0 quiet no_timer_check panic=10</cmdline></os>\
             <features><acpi/></features><cpu mode='maximum'/><on_reboot>restart</on_reboot>\
             <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/></disk><interface type='network'><mac address='{MAC}'/>\
             <source network='{}'/><model type='virtio'/></interface>\
             <serial type='file'><source path='{}'/></serial><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\
             </devices></domain>",
            self.domain,
            path("kernel"),
            path("initrd"),
            path("disk"),
            self.network,
            path("console.log"),
        );
        fs::write(self.home.join("network.xml"), network).unwrap();
        fs::write(self.home.join("domain.xml"), domain).unwrap();
        virsh(&["net-create", &path("network.xml")]);
        virsh(&["create", &path("domain.xml")]);
        let begun = Instant::now();
        while self.ssh(&["true"]).is_none() {
            assert!(begun.elapsed() < Duration::from_secs(900), "it does not come up");
            std::thread::sleep(Duration::from_secs(1));
        }
        eprintln!("the plain machine answers after {:.0} s", begun.elapsed().as_secs_f64());
        eprintln!("{}", self.ssh(&["systemd-analyze"]).unwrap_or_default());
    }

    /// What a command of its administrator prints there; `None`: it fails, or the machine does not answer.
    pub fn ssh(&self, command: &[&str]) -> Option<String> {
        let mut ssh = Command::new(self.bin.join("ssh"));
        ssh.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR", Self::DESTINATION, "--"]);
        let output = ssh.args(command).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A command that finds this machine's `ssh`.
    pub fn with(&self, command: &mut Command) {
        command.env("PATH", format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap()));
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = self.home.join("console.log");
            eprintln!("{}", run("tail", &["-n", "40", console.to_str().unwrap()]).out);
        }
        let _ = run("virsh", &["--quiet", "--connect", "qemu:///system", "destroy", &self.domain]);
        let _ = run("virsh", &["--quiet", "--connect", "qemu:///system", "net-destroy", &self.network]);
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn virsh(arguments: &[&str]) {
    run("virsh", &[&["--quiet", "--connect", "qemu:///system"], arguments].concat()).ok();
}
