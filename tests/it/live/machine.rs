//! The `ssh` provider on a plain Debian with nothing but sshd: a container stands in for the machine. It is reached as a
//! person would reach it, through their own ssh configuration with another user, another port and a jump host.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use super::{
    inside::inside,
    lab::{Lab, Ran, run, until, until_or},
};

/// What a bare machine has.
const PACKAGES: &str = "--include=openssh-server,sudo,ca-certificates";

pub struct Machine {
    pub name: String,
    address: String,
    /// In front in `PATH`: an `ssh` with this test's configuration in place of the person's.
    pub bin: PathBuf,
    fingerprint: String,
    _dir: tempfile::TempDir,
}

impl Machine {
    pub fn new(lab: &Lab) -> Self {
        let image = bare_debian();
        let name = lab.node("machine");
        run("docker", &["rm", "--force", "--volumes", &name]);
        let label = format!("lap.lab={}", lab.name);
        let mut arguments: Vec<&str> = vec!["run", "--detach", "--name", &name, "--label", &label];
        // What a `docker` node has, too: an inner Docker Engine and loop devices.
        arguments.extend(["--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"]);
        for option in ["seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"] {
            arguments.extend(["--security-opt", option]);
        }
        for rule in ["b 7:* rwm", "c 10:237 rwm", "c 10:200 rwm"] {
            arguments.extend(["--device-cgroup-rule", rule]);
        }
        if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            arguments.extend(["--cgroupns", "private"]);
        } else {
            arguments.extend(["--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]);
        }
        // A network of its own, so that it has the same address when it comes back.
        run("docker", &["network", "create", "--label", &label, &name]);
        arguments.extend(["--network", &name]);
        arguments.extend(["--volume", "/var/lib/docker", "--volume", "/var/lib/lap", &image]);
        // Whoever gets in as root directly has not come our way.
        arguments.extend(["sh", "-c", "mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -p 2222 -o PermitRootLogin=no"]);
        run("docker", &arguments).ok();
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = run("docker", &["inspect", "--format", address, &name]).ok().trim().to_owned();
        let dir = tempfile::tempdir().unwrap();
        let machine = Self { name, address, bin: dir.path().join("bin"), fingerprint: String::new(), _dir: dir };
        machine.listens();
        machine.people()
    }

    /// Somebody who may log in and become root, and their ssh.
    fn people(mut self) -> Self {
        let dir = self.bin.parent().unwrap().to_owned();
        let key = dir.join("key");
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "ops", "-f", key.to_str().unwrap()]).ok();
        let public = fs::read_to_string(dir.join("key.pub")).unwrap();
        self.inside("useradd -m -s /bin/sh ops && usermod -p '*' ops && mkdir -p ~ops/.ssh").ok();
        self.inside("echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops").ok();
        self.inside(&format!("echo '{}' >~ops/.ssh/authorized_keys && chown -R ops ~ops/.ssh", public.trim())).ok();
        let config = format!(
            "Host the-server\n  HostName {0}\n  Port 2222\n  User ops\n  IdentityFile {1}\n  IdentitiesOnly yes\n  \
             ProxyJump jump\nHost jump\n  HostName {0}\n  Port 2222\n  User ops\n  IdentityFile {1}\n  \
             StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n",
            self.address,
            key.display()
        );
        fs::write(dir.join("config"), config).unwrap();
        fs::create_dir(&self.bin).unwrap();
        let ssh = self.bin.join("ssh");
        let text = format!("#!/bin/sh\nexec /usr/bin/ssh -F '{}' \"$@\"\n", dir.join("config").display());
        fs::write(&ssh, text).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        let said = self.inside("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").ok();
        self.fingerprint = said.split_whitespace().nth(1).unwrap().to_owned();
        self
    }

    /// Waits until its sshd, port 2222, shows the host key that lies there: it does not with one that it is about to give up.
    fn listens(&self) {
        let shown = "ssh-keyscan -p 2222 -t ed25519 127.0.0.1 2>/dev/null | cut -d ' ' -f 2- | \
                     grep -qxF \"$(cut -d ' ' -f -2 /etc/ssh/ssh_host_ed25519_key.pub)\"";
        until("its sshd comes up", || self.inside(shown).code == 0);
    }

    /// What somebody who has compared the host key by themselves has written down.
    pub fn known(&self) {
        let dir = self.bin.parent().unwrap();
        let known = dir.join("known_hosts");
        let key = self.inside("cat /etc/ssh/ssh_host_ed25519_key.pub").ok();
        fs::write(&known, format!("[{}]:2222 {key}", self.address)).unwrap();
        let config = fs::read_to_string(dir.join("config")).unwrap();
        let config =
            config.replace("ProxyJump jump", &format!("ProxyJump jump\n  UserKnownHostsFile {}", known.display()));
        fs::write(dir.join("config"), config).unwrap();
    }

    pub fn inside(&self, script: &str) -> Ran {
        inside(&self.name, &["sh", "-c", script])
    }

    pub fn command(&self, lab: &Lab, arguments: &[&str]) -> Command {
        let mut command = lab.command(arguments);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.bin.display()));
        command
    }

    pub fn lap(&self, lab: &Lab, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(lab, arguments).output().unwrap())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.inside("tail -n 30 /var/log/lap-agent.log /var/log/dockerd.log");
            eprintln!("--- {}\n{}{}", self.name, log.out, log.err);
        }
        run("docker", &["rm", "--force", "--volumes", &self.name]);
        run("docker", &["network", "rm", &self.name]);
    }
}

/// An image with a plain Debian, made once.
fn bare_debian() -> String {
    static ONE: Mutex<()> = Mutex::new(());
    // Whoever comes second finds it, also if the first one failed.
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let image = "lap/test-bare-debian:1";
    if run("docker", &["image", "inspect", image]).code != 0 {
        let dir = tempfile::tempdir().unwrap();
        let tar = dir.path().join("rootfs.tar");
        let tar = tar.to_str().unwrap();
        run("mmdebstrap", &["--variant=minbase", PACKAGES, "--format=tar", "bookworm", tar]).ok();
        run("docker", &["import", tar, image]).ok();
    }
    image.to_owned()
}

#[test]
fn a_bare_machine_becomes_a_node_and_ceases_to_be_one() {
    let lab = Lab::tiny("machine");
    let machine = Machine::new(&lab);
    fs::remove_dir_all(lab.root.join("nodes/test")).unwrap();
    let lap = |arguments: &[&str]| machine.lap(&lab, arguments);

    // The host key is shown before anything is trusted; another one is not taken.
    let add = ["node", "add", "test", "the-server", "--address", &machine.address, "-e", "test"];
    let said = lap(&add).fails(2);
    assert!(said.contains("there is no terminal"), "{said}");
    assert!(!lab.root.join("nodes/test").exists());
    let wrong = ["--host-key", "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"];
    let said = lap(&[&add[..], &wrong].concat()).fails(9);
    assert!(said.contains("differs from the given one"), "{said}");
    let pinned = ["--host-key", &machine.fingerprint];
    lap(&[&add[..], &pinned].concat()).ok();
    let written = fs::read_to_string(lab.root.join("nodes/test/node.toml")).unwrap();
    assert!(written.contains("destination = \"the-server\"\nhost_key = \"ssh-ed25519 AAAA"), "{written}");

    // `up` installs nothing on a machine that nobody prepared.
    let said = lap(&["up"]).fails(9);
    assert!(said.contains("`lap node prepare test`"), "{said}");
    let said = lap(&["node", "prepare", "test", "--dry-run"]).ok();
    assert!(said.contains("install apparmor, btrfs-progs, docker.io, iptables, kmod"), "{said}");
    assert_ne!(machine.inside("command -v dockerd || test -e /usr/local/bin/lap").code, 0);
    lab.edit("nodes/test/node.toml", "provider", "disk = \"1g\"\nprovider");
    kill_prepare(&lab, &machine);
    lap(&["node", "prepare", "test", "--yes"]).ok();
    assert!(lap(&["node", "prepare", "test", "--yes"]).ok().contains("Nothing to do"));

    // All else is as on any node.
    lap(&["up"]).ok();
    lap(&["status"]).ok();
    assert!(lap(&["up"]).ok().contains("Nothing to do"));
    let said = lap(&["node", "list"]).ok();
    assert!(said.contains(&machine.address) && said.contains("answers"), "{said}");
    assert_eq!(lap(&["ssh", "test", "--", "cat", "/etc/lap-nothing", "||", "id"]).code, 1, "words stay words");
    assert_eq!(lap(&["ssh", "test", "--", "id", "-un"]).ok(), "root\n");
    machine.inside("mkdir -p /data/one && echo before >/data/one/file").ok();
    lap(&["snapshot"]).ok();
    machine.inside("echo after >/data/one/file").ok();
    lap(&["restore", "--yes", "latest"]).ok();
    assert_eq!(machine.inside("cat /data/one/file").ok(), "before\n");
    lap(&["status"]).ok();

    a_recovery_leaves_it_alone(&lab, &machine);
    a_power_cut(&lab, &machine);
    another_host_key(&lab, &machine);

    // Down stops what is lap's; the machine goes on, and so does what is not lap's.
    lap(&["down"]).ok();
    assert_eq!(machine.inside("docker ps --quiet").ok(), "");
    lap(&["up"]).ok();
    assert!(lap(&["node", "rm", "test"]).fails(2).contains("answer the question with `--yes`"));
    lap(&["node", "rm", "test", "--yes"]).ok();
    assert!(!lab.root.join("nodes/test").exists());
    let left = machine.inside("ls -A /var/lib/lap /usr/local/bin; pgrep -a lap").out;
    assert_eq!(left, "/usr/local/bin:\n\n/var/lib/lap:\npool.img\n", "only the data stay");

    // Taken in again, it has its data; and `destroy` takes all of it.
    lap(&[&add[..], &pinned].concat()).ok();
    lab.edit("nodes/test/node.toml", "provider", "disk = \"1g\"\nprovider");
    lap(&["node", "prepare", "test", "--yes"]).ok();
    assert_eq!(machine.inside("cat /data/one/file").ok(), "before\n");
    lap(&["destroy", "test", "--yes"]).ok();
    assert_ne!(machine.inside("test -e /var/lib/lap/pool.img").code, 0);
    fs::remove_dir_all(lab.root.join("nodes/test")).unwrap();
    on_a_disk_of_its_own(&lab, &machine, &[&add[..], &pinned].concat());
}

/// A disk of the machine's: a loop device, of which the machine knows no more than of any other disk.
struct Disk<'a> {
    machine: &'a Machine,
    device: String,
}

impl<'a> Disk<'a> {
    /// Two labs may take the same one at the same time: the loser takes another.
    fn new(machine: &'a Machine) -> Self {
        let device = machine.inside(
            "test -e /dev/loop-control || mknod /dev/loop-control c 10 237; truncate -s 1G /disk.img; for i in $(seq 50); do \
             disk=$(losetup -f) && { test -e $disk || mknod $disk b 7 ${disk#/dev/loop}; } && losetup $disk /disk.img && echo $disk && exit; \
             sleep 0.1; done; exit 1",
        );
        Self { machine, device: device.ok().trim().to_owned() }
    }

    /// After a boot; elsewhere udev does this.
    fn appears(&self) {
        let disk = &self.device;
        self.machine
            .inside(&format!("test -e {disk} || mknod {disk} b 7 {}", disk.trim_start_matches("/dev/loop")))
            .ok();
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        self.appears();
        self.machine.inside(&format!("umount -l /data /var/lib/lap/pool; losetup -d {}", self.device));
    }
}

/// Nothing that is on a disk is overwritten; it outlives a power cut and `lap node rm`, and all of it is used when it becomes larger.
fn on_a_disk_of_its_own(lab: &Lab, machine: &Machine, add: &[&str]) {
    let disk = Disk::new(machine);
    let device = disk.device.as_str();
    let lap = |arguments: &[&str]| machine.lap(lab, arguments);
    let prepare = ["node", "prepare", "test", "--yes"];
    let add = || lap(&[add, &["--device", device]].concat()).ok();
    add();
    machine.inside(&format!("head -c 4096 /dev/urandom | dd of={device} bs=4096 seek=9 conv=notrunc")).ok();
    let said = lap(&prepare).fails(10);
    assert!(said.contains(&format!("`{device}` is not empty: `data` is on it")), "{said}");
    machine
        .inside(&format!(
            "head -c 1M /dev/zero >{device} && printf '\\125\\252' | dd of={device} bs=1 seek=510 conv=notrunc"
        ))
        .ok();
    let said = lap(&prepare).fails(10);
    assert!(said.contains(&format!("`{device}` is not empty: `dos` is on it")), "{said}");
    machine.inside(&format!("head -c 1M /dev/zero >{device}")).ok();
    let said = lap(&["node", "prepare", "test", "--dry-run"]).ok();
    assert!(said.contains(&format!("make a pool on {device} (1.0 GiB)")), "{said}");
    lap(&prepare).ok();
    machine.inside("mkdir -p /data/one && echo kept >/data/one/file").ok();
    lap(&["snapshot"]).ok();
    assert!(machine.inside("grep ' /data ' /proc/mounts").ok().starts_with(device));

    run("docker", &["kill", &machine.name]).ok();
    run("docker", &["start", &machine.name]).ok();
    machine.listens();
    disk.appears();
    lap(&prepare).ok();
    assert_eq!(machine.inside("cat /data/one/file").ok(), "kept\n");
    let list: serde_json::Value = serde_json::from_str(&lap(&["snapshot", "list", "--json"]).ok()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");

    machine.inside(&format!("truncate -s 2G /disk.img && losetup -c {device}")).ok();
    machine.inside("pkill -9 -f 'lap agent [r]un'").ok();
    let large = "test $(df --output=size -BM /data | tail -n 1 | tr -d M) -ge 2000";
    until_or(|| machine.inside(large).code == 0, || machine.inside("df /data").out);

    lap(&["node", "rm", "test", "--yes"]).ok();
    add();
    let said = lap(&["node", "prepare", "test", "--dry-run"]).ok();
    assert!(said.contains(&format!("use the existing pool on {device}")), "{said}");
    lap(&prepare).ok();
    assert_eq!(machine.inside("cat /data/one/file").ok(), "kept\n");
    lap(&["destroy", "test", "--yes"]).ok();
    assert_eq!(machine.inside(&format!("blkid -p {device}")).code, 2, "nothing is on it any more");
}

/// Killed, with what it started there, it goes on. Packages take long enough that it is always met at them; its own files
/// are written within milliseconds, and may all be there when the kill arrives.
fn kill_prepare(lab: &Lab, machine: &Machine) {
    use std::io::{BufRead, BufReader};
    let mut killed = Vec::new();
    for step in ["installing", "write /var/lib/lap/ssh/host_ed25519_key", "write /usr/local/bin/lap", "start the agent"]
    {
        let mut command = machine.command(lab, &["node", "prepare", "test", "--yes", "--progress", "plain"]);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
            if line.contains(step) {
                let _ = child.kill();
                machine.inside("pkill -9 -f 'lap/[p]repare'");
                killed.push(step);
                break;
            }
        }
        let _ = child.wait();
        // apt-get does not end with the connection; what it has begun it finishes.
        until("it is idle", || machine.inside("pgrep -f '[a]pt-get|[d]pkg|lap/[p]repare'").code != 0);
    }
    assert!(killed.len() >= 2 && killed[0] == "installing", "{killed:?}");
}

/// The machine says itself that it has data, under whatever name the lab is recovered.
fn a_recovery_leaves_it_alone(lab: &Lab, machine: &Machine) {
    let disk = tempfile::tempdir().unwrap();
    let path = |name: &str| disk.path().join(name).display().to_string();
    let (repository, passphrase, new) = (path("repository"), path("passphrase"), path("new"));
    fs::write(&passphrase, "a good passphrase\n").unwrap();
    machine.lap(lab, &["repository", "init", &repository, "--passphrase-file", &passphrase]).ok();
    machine.lap(lab, &["snapshot", "copy", "--to", &repository]).ok();
    for name in [lab.name.as_str(), "elsewhere"] {
        let recover = ["--lab", name, "recover", "--from", &repository, "--passphrase-file", &passphrase, &new];
        let said = machine.lap(lab, &recover).fails(10);
        assert!(said.contains("the node `test` at `the-server` has containers"), "{said}");
        assert!(!Path::new(&new).exists());
    }
}

/// Without systemd somebody has to start the agent: what it finds it takes up.
fn a_power_cut(lab: &Lab, machine: &Machine) {
    run("docker", &["kill", &machine.name]).ok();
    run("docker", &["start", &machine.name]).ok();
    machine.listens();
    machine.lap(lab, &["status"]).fails(5);
    machine.lap(lab, &["node", "prepare", "test", "--yes"]).ok();
    machine.lap(lab, &["up"]).ok();
    assert_eq!(machine.inside("cat /data/one/file").ok(), "before\n");
}

/// A machine that shows another key is not spoken to, although lap's own key below is right.
fn another_host_key(lab: &Lab, machine: &Machine) {
    machine.inside("cd /etc/ssh && cp -a ssh_host_ed25519_key k && cp -a ssh_host_ed25519_key.pub k.pub").ok();
    machine.inside("cd /etc/ssh && rm ssh_host_ed25519_key* && ssh-keygen -A >&2 && kill -HUP 1").ok();
    machine.listens();
    let said = machine.lap(lab, &["status"]).fails(9);
    assert!(said.contains("differs from the pinned one"), "{said}");
    machine.inside("cd /etc/ssh && mv k ssh_host_ed25519_key && mv k.pub ssh_host_ed25519_key.pub && kill -HUP 1").ok();
    machine.listens();
    machine.lap(lab, &["status"]).ok();
}
