//! Nodes on another host, which is reached over ssh as a person would reach it: a container with a plain Debian stands in for it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    lab::{Lab, Ran, run, stripped},
    machine::Machine,
};

const NODE: &str = "environment = \"test\"\nrole = \"master\"\nprovider = \"vagrant\"\naddress = \"192.168.158.10\"\n\
                    disk = \"1g\"\nmemory = \"1g\"\n[vm]\nhost = \"the-server\"\n";

#[test]
fn another_host_is_reached_over_ssh() {
    let lab = Lab::tiny("host");
    let host = Machine::new(&lab);
    lab.write("nodes/test/node.toml", NODE);
    let lap = |arguments: &[&str]| host.lap(&lab, arguments);

    // A host that nobody knows is not spoken to, and of its nodes nothing is said that is not known.
    let unknown = "your ssh does not know the host key of `the-server`";
    for verb in [&["up", "--dry-run"][..], &["up"], &["down"], &["destroy", "test", "--yes"]] {
        let said = lap(verb).fails(4);
        assert!(said.contains(unknown) && said.contains("nothing was changed"), "{verb:?}: {said}");
    }
    let said = lap(&["node", "list"]).ok();
    assert!(said.contains("unknown (your ssh does not know the host key of `the-server`"), "{said}");
    host.known();

    // What is missing there is said, with the way to it.
    let said = lap(&["up", "--dry-run"]).fails(4);
    assert!(said.contains("cannot run `virsh` on `the-server`: it is not installed"), "{said}");
    let said = lap(&["doctor"]);
    assert!(said.out.contains("BAD   `the-server`: `vagrant` is missing"), "{}", said.out);
    let said = lap(&["host", "install", "the-server", "--dry-run"]).fails(10);
    assert!(said.contains("/var/lib/lap belongs to `root`: log in as `root`, not as `ops`"), "{said}");
    host.inside("chown ops /var/lib/lap").ok();
    let said = lap(&["host", "install", "the-server", "--dry-run"]).ok();
    assert!(
        said.contains("On `the-server`:\n  install dnsmasq-base, ") && said.contains(", vagrant-libvirt"),
        "{said}"
    );
    assert!(said.contains("allow `ops` to use libvirt") && said.contains("there is no systemd"), "{said}");
    let said = lap(&["host", "install", "the-server"]).fails(2);
    assert!(said.contains("there is no terminal"), "{said}");
    assert_ne!(host.inside("test -e /usr/local/lib/lap/start-nodes || command -v vagrant").code, 0);
}

/// lap without what is only for finding faults: all of it goes to the host, and into the machine at its first boot.
struct Slim {
    binary: PathBuf,
    _dir: tempfile::TempDir,
}

impl Slim {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let binary = stripped(dir.path());
        Self { binary, _dir: dir }
    }

    fn command(&self, lab: &Lab, host: &Machine, arguments: &[&str]) -> Command {
        let template = host.command(lab, arguments);
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

    fn lap(&self, lab: &Lab, host: &Machine, arguments: &[&str]) -> Ran {
        let mut command = self.command(lab, host, arguments);
        let began = Instant::now();
        let ran = Ran::of(&command.output().unwrap());
        eprintln!("lap {}: {:.1} s", arguments.join(" "), began.elapsed().as_secs_f64());
        ran
    }
}

#[test]
#[ignore = "installs a hypervisor and boots a machine: `VM=1 scripts/test` runs it last"]
fn a_bare_machine_becomes_a_host_of_nodes() {
    let lab = Lab::tiny("far");
    let host = Machine::new(&lab);
    host.known();
    host.inside("chown ops /var/lib/lap").ok();
    lab.write("nodes/test/node.toml", NODE);
    super::vm::one_small_container(&lab);
    let slim = Slim::new();
    let lap = |arguments: &[&str]| slim.lap(&lab, &host, arguments);

    install(&lab, &host);
    let said = lap(&["host", "install", "the-server"]).ok();
    assert!(said.contains("Nothing to do"), "{said}");
    // There is neither udev nor systemd, so somebody makes and starts them.
    host.inside("mkdir -p /dev/net && mknod /dev/net/tun c 10 200").ok();
    host.inside("mkdir -p /run/dbus; rm -f /run/dbus/pid; dbus-daemon --system --fork").ok();
    run("docker", &["exec", "--detach", &host.name, "/usr/lib/polkit-1/polkitd", "--no-debug"]).ok();
    host.inside("virtlogd -d && libvirtd -d").ok();

    assert!(lap(&["up", "--dry-run"]).ok().contains("make the box for libvirt of `the-server`"));
    let dir = format!("/var/lib/lap/{}/test", lab.name);
    for half in ["/var/lib/lap/.boxes/*.lap-new", &format!("{dir}/.vagrant/machines/test/libvirt/id")] {
        kill_up(&slim, &lab, &host, half);
    }
    lap(&["up"]).ok();
    lap(&["status"]).ok();
    assert!(lap(&["up"]).ok().contains("Nothing to do"));
    assert_eq!(lap(&["ssh", "test", "--", "hostname"]).ok(), "test\n");
    let list = lap(&["node", "list"]).ok();
    assert!(list.contains("192.168.158.10") && list.contains("answers"), "{list}");
    // The `admin` key stays where it is; the host has one that opens this machine only.
    assert_eq!(host.inside(&format!("cd {dir} && grep -l 'PRIVATE KEY' vagrant_key Vagrantfile")).out, "vagrant_key\n");
    let admin = fs::read_to_string(lab.root.join(".lap/keys/admin")).unwrap();
    assert!(!host.inside(&format!("cat {dir}/vagrant_key")).ok().contains(admin.lines().nth(2).unwrap()));
    assert_eq!(host.inside(&format!("ls -A /var/lib/lap/.boxes; stat -c %a {dir}/seed.iso")).out, "600\n");

    lap(&["down"]).ok();
    let domain = format!("lap-{}-test", lab.name);
    let info = host.inside(&format!("virsh -c qemu:///system dominfo {domain}")).ok();
    assert!(info.contains("shut off") && info.contains("Autostart:      disable"), "{info}");
    lap(&["up"]).ok();
    let info = host.inside(&format!("virsh -c qemu:///system dominfo {domain}")).ok();
    assert!(info.contains("running") && info.contains("Autostart:      enable"), "{info}");
    // The host was booted, and did not start it by itself.
    host.inside(&format!("virsh -c qemu:///system destroy {domain} && /usr/local/lib/lap/start-nodes")).ok();
    assert!(host.inside("virsh -c qemu:///system list --name").ok().contains(&domain));

    lap(&["destroy", "test", "--yes"]).ok();
    let left = host.inside("virsh -q -c qemu:///system list --all --name; virsh -q -c qemu:///system vol-list lap").out;
    assert!(!left.contains(&domain) && !left.contains(&format!("{}-test-data", lab.name)), "{left}");
    assert_ne!(host.inside(&format!("test -e /var/lib/lap/{}", lab.name)).code, 0);
}

/// Whether a program with such words runs there. A bare machine has no pgrep.
fn runs(host: &Machine, words: &str) -> bool {
    host.inside(&format!("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q '{words}'")).code == 0
}

/// Killed as soon as this is there: what it started on the host ends with it.
fn kill_up(slim: &Slim, lab: &Lab, host: &Machine, half: &str) {
    let mut child = slim.command(lab, host, &["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let seen = (0..6000).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        host.inside(&format!("test -e {half}")).code == 0 || child.try_wait().unwrap().is_some()
    });
    assert!(seen && child.try_wait().unwrap().is_none(), "`{half}` never came");
    child.kill().unwrap();
    let _ = child.wait();
    let ended = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        !runs(host, r"[b]in/vagrant\|[l]ap-new")
    });
    assert!(ended, "it still runs there");
}

/// Killed while packages come in, it goes on.
fn install(lab: &Lab, host: &Machine) {
    let arguments = ["host", "install", "the-server", "--yes", "--progress", "plain"];
    let mut child = host.command(lab, &arguments).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("installing")));
    child.kill().unwrap();
    let _ = child.wait();
    // apt-get does not end with the connection; what it has begun is waited for.
    let began = Instant::now();
    host.lap(lab, &arguments).ok();
    eprintln!("lap host install: {:.1} s", began.elapsed().as_secs_f64());
}
