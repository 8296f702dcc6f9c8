//! Machines in an office's network: a Linux bridge of the test's own with a DHCP server behind it. One machine has a fixed address there,
//! the other asks for one. Slow, so it is not run by itself: `scripts/test` runs it last.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    lab::{Lab, run},
    vm::{Machine, one_small_container, virsh},
};

const SERVER: &str = "192.168.158.1";
const MASTER: &str = "192.168.158.10";
const FIRST: &str = "192.168.158.100,192.168.158.119";
const SECOND: &str = "192.168.158.150,192.168.158.169";

/// A bridge and who gives addresses there. Gone when the test ends; `scripts/test` removes what a killed one left.
struct Office {
    bridge: String,
    dir: tempfile::TempDir,
    server: Option<Child>,
}

impl Office {
    fn new(lab: &Lab) -> Self {
        // No interface has a longer name than 15 bytes.
        let bridge = format!("{}br", lab.name.split('-').next().unwrap());
        let _ = Command::new("ip").args(["link", "delete", &bridge]).stderr(Stdio::null()).status();
        run("ip", &["link", "add", &bridge, "type", "bridge"]).ok();
        run("ip", &["address", "add", &format!("{SERVER}/24"), "dev", &bridge]).ok();
        run("ip", &["link", "set", &bridge, "up"]).ok();
        Self { bridge, dir: tempfile::tempdir().unwrap(), server: None }
    }

    /// From now on it gives addresses of this range, and knows nothing of those it gave before.
    fn gives(&mut self, range: &str) {
        self.silent();
        let leases = self.dir.path().join("leases");
        let _ = fs::remove_file(&leases);
        // Ends with this test, however that ends.
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"])
            .args([
                "--bind-interfaces",
                "--except-interface=lo",
                "--dhcp-authoritative",
                "--log-facility=-",
                "--user=root",
            ])
            .args([format!("--interface={}", self.bridge), format!("--dhcp-range={range},255.255.255.0,1h")])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .arg("--pid-file")
            .spawn();
        self.server = Some(server.unwrap());
    }

    fn silent(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.silent();
        run("ip", &["link", "delete", &self.bridge]);
    }
}

fn node(role: &str, address: &str, bridge: &str) -> String {
    format!(
        "environment = \"test\"\nrole = \"{role}\"\nprovider = \"vagrant\"\n{address}disk = \"1g\"\nmemory = \"768m\"\n\n\
         [vm]\nbridge = \"{bridge}\"\n"
    )
}

/// The address that `lap node list` shows for `worker`, once that answers there.
#[track_caller]
fn answering(machine: &Machine<'_>, range: &str) -> String {
    let begun = Instant::now();
    let octet = |text: &str| text.rsplit('.').next().and_then(|octet| octet.parse::<u8>().ok());
    let (from, to) = range.split_once(',').unwrap();
    loop {
        let list = machine.lap(&["node", "list"]).ok();
        let row = list.lines().find(|line| line.starts_with("worker ")).unwrap_or_default();
        let address = row.split_whitespace().find(|word| word.starts_with("192.168.158.")).unwrap_or_default();
        if row.contains("answers") && octet(from) <= octet(address) && octet(address) <= octet(to) {
            return address.to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "{list}");
        thread::sleep(Duration::from_secs(2));
    }
}

#[test]
#[ignore = "boots two machines: `VM=1 scripts/test` runs it last"]
fn a_machine_in_the_offices_network_has_the_address_it_was_given() {
    let lab = Lab::tiny("bridge");
    let mut office = Office::new(&lab);
    office.gives(FIRST);
    lab.write("nodes/test/node.toml", &node("master", &format!("address = \"{MASTER}\"\n"), &office.bridge));
    lab.write("nodes/worker/node.toml", &node("worker", "", &office.bridge));
    one_small_container(&lab);
    let machine = Machine::new(&lab);
    let lap = |arguments: &[&str]| machine.lap(arguments);

    assert!(lap(&["node", "list"]).ok().lines().any(|line| line.starts_with("worker ") && line.contains("not made")));
    lap(&["up"]).ok();
    lap(&["status"]).ok();
    let first = answering(&machine, FIRST);
    let list = lap(&["node", "list"]).ok();
    assert!(list.lines().any(|line| line.contains(MASTER) && line.contains("answers")), "{list}");
    lap(&["ssh", "worker", "--", "true"]).ok();
    assert_eq!(machine.inside("hostname"), "test\n");
    // Both reach the world through the host, and the office's network by itself.
    let routes = lap(&["ssh", "worker", "--", "ip", "-4", "route"]).ok();
    assert!(routes.lines().filter(|line| line.starts_with("default")).count() == 1, "{routes}");
    assert!(lap(&["up"]).ok().contains("Nothing to do"));

    // Tomorrow the office's DHCP gives it another one.
    office.gives(SECOND);
    // As when its cable was out, or its lease over. Not while it is spoken to: the way there ends with it.
    let again = "(sleep 2; for card in /sys/class/net/*; do if ip -4 address show \"${card##*/}\" | grep -q 192.168.158; then \
                 networkctl reconfigure \"${card##*/}\"; fi; done) >/dev/null 2>&1 &";
    lap(&["ssh", "worker", "--", "sh", "-c", again]).ok();
    let second = answering(&machine, SECOND);
    assert_ne!(first, second);
    lap(&["ssh", "worker", "--", "true"]).ok();
    lap(&["up"]).ok();
    let plan = plan_with(&lab, &machine, "address = \"192.168.158.20\"\n", &office.bridge);
    assert!(
        plan.contains("restart the node `worker`") && plan.contains("address from DHCP → 192.168.158.20"),
        "{plan}"
    );
    lab.write("nodes/worker/node.toml", &node("worker", "", &office.bridge));

    lap(&["destroy", "test", "--yes"]).ok();
    assert!(!virsh(&["list", "--all", "--name"]).contains(&lab.name));
    assert!(!virsh(&["vol-list", "lap"]).contains(&lab.name));
    assert!(!std::path::Path::new("/var/lib/lap").join(&lab.name).exists());
}

fn plan_with(lab: &Lab, machine: &Machine<'_>, address: &str, bridge: &str) -> String {
    lab.write("nodes/worker/node.toml", &node("worker", address, bridge));
    machine.lap(&["up", "--dry-run"]).ok()
}
