//! The `vagrant` provider with a real Vagrant, a real libvirtd and a real machine, emulated where the processor cannot help.
//! Slow, so it is not run by itself: `scripts/test` runs it last.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use super::lab::{Lab, Ran, run, stripped};

const NODE: &str = "environment = \"test\"\nrole = \"master\"\nprovider = \"vagrant\"\naddress = \"192.168.157.10\"\n\
                    disk = \"1g\"\nmemory = \"1g\"\n";

const DOCKERFILE: &str = "FROM scratch\nADD rootfs.tar /\nCOPY say /say\nSTOPSIGNAL SIGKILL\n\
                          CMD [\"/bin/busybox\", \"sleep\", \"1000000\"]\n";
const CONTAINER: &str = "names = [\"one.internal\"]\nports = [\"8080:80\"]\n\
                         healthcheck = { test = [\"CMD\", \"/bin/busybox\", \"test\", \"-e\", \"/say\"] }\n\
                         [build.rootfs]\nsuite = \"bookworm\"\nvariant = \"extract\"\npackages = [\"busybox-static\"]\n";

/// All of an image goes through an emulated network card and is unpacked by an emulated processor.
pub fn one_small_container(lab: &Lab) {
    fs::remove_dir_all(lab.root.join("containers")).unwrap();
    lab.write("containers/one/Dockerfile", DOCKERFILE);
    lab.write("containers/one/say", "one\n");
    lab.write("containers/one/container.toml", CONTAINER);
    lab.commit();
}

pub struct Machine<'l> {
    lab: &'l Lab,
    pub domain: String,
    binary: PathBuf,
    _dir: tempfile::TempDir,
}

impl<'l> Machine<'l> {
    pub fn new(lab: &'l Lab) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { lab, domain: format!("lap-{}-test", lab.name), binary: stripped(dir.path()), _dir: dir }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let template = self.lab.command(arguments);
        let mut command = Command::new(&self.binary);
        command.args(template.get_args()).current_dir(template.get_current_dir().unwrap());
        for (name, value) in template.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    pub fn lap(&self, arguments: &[&str]) -> Ran {
        let began = Instant::now();
        let ran = Ran::of(&self.command(arguments).output().unwrap());
        eprintln!("lap {}: {:.1} s", arguments.join(" "), began.elapsed().as_secs_f64());
        ran
    }

    pub fn inside(&self, script: &str) -> String {
        self.lap(&["ssh", "test", "--", "sh", "-c", script]).ok()
    }

    fn pid(&self) -> String {
        fs::read_to_string(format!("/run/libvirt/qemu/{}.pid", self.domain)).unwrap()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = format!("/var/lib/lap/{}/test/console.log", self.lab.name);
            eprintln!("--- {console}\n{}", run("tail", &["-n", "40", &console]).out);
        }
        self.lap(&["destroy", "test", "--yes"]);
    }
}

pub fn virsh(arguments: &[&str]) -> String {
    run("virsh", &[&["--quiet", "--connect", "qemu:///system"], arguments].concat()).out
}

#[test]
#[ignore = "boots a machine several times: `VM=1 scripts/test` runs it last"]
fn a_virtual_machine_is_a_node() {
    let lab = Lab::tiny("vm");
    lab.write("nodes/test/node.toml", NODE);
    let worker = NODE.replace("master", "worker").replace("address = \"192.168.157.10\"\n", "");
    lab.write("nodes/worker/node.toml", &worker.replace("1g\"\n", "512m\"\n"));
    one_small_container(&lab);
    let own = "config.vm.provider(:libvirt) { |vm| vm.title = \"as I say\" }";
    lab.write("nodes/test/Vagrantfile", &format!("Vagrant.configure(\"2\") {{ |config| {own} }}\n"));
    let machine = Machine::new(&lab);
    let lap = |arguments: &[&str]| machine.lap(arguments);

    let plan = lap(&["up", "--dry-run"]).ok();
    assert!(plan.contains("make the node `test`"), "{plan}");
    lap(&["up"]).ok();
    assert!(virsh(&["dumpxml", &machine.domain]).contains("<title>as I say</title>"));
    lap(&["status"]).ok();
    assert!(lap(&["up"]).ok().contains("Nothing to do"));
    let list = lap(&["node", "list"]).ok();
    assert!(list.contains("192.168.157.10") && list.matches("answers").count() == 2, "{list}");
    // It came at the same time, and lap has chosen its address.
    assert_eq!(lap(&["ssh", "worker", "--", "hostname"]).ok(), "worker\n");
    // No key that others know, no password, one sshd.
    assert_eq!(
        machine.inside("grep -c '^[^:]*:[^*!]' /etc/shadow; find /home /root/.ssh -type f 2>/dev/null || :"),
        "0\n"
    );
    assert_eq!(machine.inside("findmnt -no FSTYPE /data; hostname"), "btrfs\ntest\n");

    machine.inside("mkdir -p /data/one && echo before >/data/one/file && sync");
    lap(&["snapshot"]).ok();
    machine.inside("echo after >/data/one/file");
    lap(&["restore", "--yes", "latest"]).ok();
    assert_eq!(machine.inside("cat /data/one/file"), "before\n");

    a_power_cut(&machine);
    a_halt_and_more_memory(&machine);
    another_machine_with_the_same_data(&machine);

    // Who takes his own words back is not held up by what was written of them.
    fs::remove_file(lab.root.join("nodes/test/Vagrantfile")).unwrap();
    lap(&["destroy", "test", "--yes"]).ok();
    assert!(!virsh(&["list", "--all", "--name"]).contains(&machine.domain));
    assert!(!virsh(&["vol-list", "lap"]).contains(&lab.name));
    assert!(!virsh(&["net-list", "--all", "--name"]).contains(&lab.name));
    assert!(!Path::new("/var/lib/lap").join(&lab.name).exists());
}

/// The machine's process is killed in the middle of writes: what was synced is there, and all comes back.
fn a_power_cut(machine: &Machine<'_>) {
    machine.inside("(while :; do head -c 1M /dev/urandom >>/data/one/noise; done) >/dev/null 2>&1 &");
    run("kill", &["-9", machine.pid().trim()]).ok();
    let said = machine.lap(&["status"]).fails(5);
    assert!(!said.is_empty());
    machine.lap(&["up"]).ok();
    assert_eq!(machine.inside("rm -f /data/one/noise; cat /data/one/file"), "before\n");
    machine.lap(&["status"]).ok();
}

fn a_halt_and_more_memory(machine: &Machine<'_>) {
    machine.lap(&["down"]).ok();
    assert!(virsh(&["list", "--all"]).lines().any(|line| line.contains(&machine.domain) && line.contains("shut off")));
    machine.lab.edit("nodes/test/node.toml", "memory = \"1g\"", "memory = \"1280m\"");
    let plan = machine.lap(&["up", "--dry-run"]).ok();
    assert!(plan.contains("it is shut off: memory 1.0 GiB → 1.2 GiB"), "{plan}");
    machine.lap(&["up"]).ok();
    assert_eq!(
        machine.inside("test $(awk '/^MemTotal/ { print $2 }' /proc/meminfo) -gt 1100000 && echo more"),
        "more\n"
    );
}

/// As after a changed box, and as after lap was killed before it could write down what it had made.
fn another_machine_with_the_same_data(machine: &Machine<'_>) {
    fs::remove_file(format!("/var/lib/lap/{}/test/made.json", machine.lab.name)).unwrap();
    machine.inside("touch /here-before");
    let plan = machine.lap(&["up", "--dry-run"]).ok();
    assert!(plan.contains("make the node `test` again, with its data  it is incomplete"), "{plan}");
    machine.lap(&["up"]).ok();
    assert_eq!(machine.inside("test -e /here-before || cat /data/one/file"), "before\n");
    machine.lap(&["status"]).ok();
}
