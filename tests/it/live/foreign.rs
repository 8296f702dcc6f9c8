//! A virtual machine of a box of others: a plain Debian with the user, the password and the key that all boxes of Vagrant have.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use sha2::{Digest, Sha256};

use super::{
    lab::{Lab, run},
    vm::{Machine, one_small_container, virsh},
};

const NODE: &str = "environment = \"test\"\nrole = \"master\"\nprovider = \"vagrant\"\naddress = \"192.168.159.10\"\n\
                    disk = \"1g\"\nmemory = \"1g\"\n";

/// What Vagrant, apt and a kernel need, and no Docker.
const PACKAGES: &str = "--include=ca-certificates,dbus,e2fsprogs,grub-common,grub-pc-bin,initramfs-tools,iproute2,\
                        linux-image-cloud-amd64,openssh-server,sudo,systemd-resolved,systemd-sysv,udev";

/// The box, known to Vagrant as long as the test runs.
struct Bare {
    name: String,
}

impl Bare {
    fn new(lab: &Lab) -> Self {
        let bare = Self { name: format!("{}/bare", lab.name) };
        bare.forget();
        let file = bare_box();
        let add = ["box", "add", "--no-tty", "--name", &bare.name, "--provider", "libvirt", &file];
        run("vagrant", &add).ok();
        bare
    }

    fn forget(&self) {
        run("vagrant", &["box", "remove", "--force", "--all", &self.name]);
        let copies = virsh(&["vol-list", "lap"]);
        let ours = self.name.replace('/', "-VAGRANTSLASH-");
        for copy in
            copies.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| name.starts_with(&ours))
        {
            run("virsh", &["--connect", "qemu:///system", "vol-delete", "--pool", "lap", copy]);
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The box as a file, made once.
fn bare_box() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/live/bare_box.sh");
    let made_of = [fs::read(script).unwrap(), PACKAGES.into()].concat();
    let name = format!("bare-{}.box", &hex::encode(Sha256::digest(made_of))[..16]);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !file.exists() {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        // The hardware is known, and a small initial RAM disk boots faster.
        let setup = "--setup-hook=mkdir -p \"$1/etc/initramfs-tools/conf.d\" && \
                     echo MODULES=list >\"$1/etc/initramfs-tools/conf.d/x\" && \
                     printf '%s\\n' virtio_pci virtio_blk ext4 >\"$1/etc/initramfs-tools/modules\"";
        let hook = format!("--customize-hook=sh '{script}' \"$1\" '{}' '{}'", path("box.img"), insecure_key());
        run("mmdebstrap", &["--variant=minbase", PACKAGES, setup, &hook, "--format=null", "bookworm", "/dev/null"])
            .ok();
        let metadata = "{\"provider\":\"libvirt\",\"format\":\"qcow2\",\"virtual_size\":8}";
        fs::write(path("metadata.json"), metadata).unwrap();
        run("tar", &["-cf", &path("bare.box"), "-C", &path(""), "metadata.json", "box.img"]).ok();
        fs::rename(path("bare.box"), &file).unwrap();
    }
    file.display().to_string()
}

/// The public half of the key that everybody has, as Vagrant itself brings it along.
fn insecure_key() -> String {
    // Vagrant puts it there when it is first called.
    run("vagrant", &["box", "list"]).ok();
    let home =
        std::env::var("VAGRANT_HOME").unwrap_or_else(|_| format!("{}/.vagrant.d", std::env::var("HOME").unwrap()));
    let ran = run("ssh-keygen", &["-yf", &format!("{home}/insecure_private_key")]);
    format!("{} vagrant insecure public key", ran.ok().trim())
}

#[test]
#[ignore = "makes a box and boots it several times: `VM=1 scripts/test` runs it last"]
fn a_box_of_others_becomes_a_node() {
    let lab = Lab::tiny("bare");
    let bare = Bare::new(&lab);
    lab.write("nodes/test/node.toml", &format!("{NODE}[vm]\nbox = \"{}\"\n", bare.name));
    one_small_container(&lab);
    let machine = Machine::new(&lab);
    let lap = |arguments: &[&str]| machine.lap(arguments);

    let plan = lap(&["up", "--dry-run"]).ok();
    assert!(plan.contains("make the node `test`") && !plan.contains("make the box"), "{plan}");
    killed_while_packages_come_in(&machine);
    lap(&["up"]).ok();
    lap(&["status"]).ok();
    assert!(lap(&["up"]).ok().contains("Nothing to do"));
    let list = lap(&["node", "list"]).ok();
    assert!(list.contains("192.168.159.10") && list.contains("answers"), "{list}");

    // Nothing opens it that everybody has, and Vagrant still gets in.
    assert_eq!(machine.inside("getent shadow | grep -c '^[^:]*:[^*!]' || :"), "0\n");
    let keys = machine.inside("cat /home/vagrant/.ssh/authorized_keys");
    let everybody = insecure_key();
    assert!(!keys.contains(everybody.split_whitespace().nth(1).unwrap()) && keys.contains("ssh-"), "{keys}");
    let ssh_config = format!("/var/lib/lap/{}/test/ssh_config", lab.name);
    assert_eq!(run("ssh", &["-F", &ssh_config, "test", "id", "-un"]).ok(), "vagrant\n");
    // systemd runs the agent, and Docker after it.
    assert_eq!(machine.inside("systemctl is-active lap-agent docker"), "active\nactive\n");
    assert_eq!(machine.inside("findmnt -no FSTYPE /data"), "btrfs\n");

    machine.inside("mkdir -p /data/one && echo before >/data/one/file && sync");
    lap(&["snapshot"]).ok();
    machine.inside("echo after >/data/one/file");
    lap(&["restore", "--yes", "latest"]).ok();
    assert_eq!(machine.inside("cat /data/one/file"), "before\n");

    lap(&["down"]).ok();
    lap(&["up"]).ok();
    lap(&["status"]).ok();
    assert_eq!(machine.inside("cat /data/one/file"), "before\n");

    lap(&["destroy", "test", "--yes"]).ok();
    assert!(!virsh(&["list", "--all", "--name"]).contains(&machine.domain));
    assert!(!virsh(&["vol-list", "lap"]).contains(&format!("{}-test", lab.name)));
    assert!(!Path::new("/var/lib/lap").join(&lab.name).exists());
}

/// The machine is there and half a node: the next `up` makes it anew.
fn killed_while_packages_come_in(machine: &Machine<'_>) {
    let mut command = machine.command(&["up", "--progress", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    let there = lines.map_while(Result::ok).any(|line| {
        seen.push(line);
        seen.last().is_some_and(|line| line.contains("installing apparmor"))
    });
    child.kill().unwrap();
    let _ = child.wait();
    assert!(there, "{}", seen.join("\n"));
    let plan = machine.lap(&["up", "--dry-run"]).ok();
    assert!(plan.contains("make the node `test` again, with its data  it is incomplete"), "{plan}");
}
