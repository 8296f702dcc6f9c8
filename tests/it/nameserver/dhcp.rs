//! ISC's DHCP server assigns a lease and registers it, over a veth pair between two network namespaces.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use lap_nameserver::names::Names;

use super::{Process, Program, SECRET_BASE64, output, small, unconfined, wait, write};

/// A process that only keeps a network namespace alive.
struct Namespace(Process);

impl Namespace {
    fn new(enter: &[String]) -> Self {
        let mut words = enter.to_vec();
        words.extend(
            ["unshare", "--map-root-user", "--net", "sh", "-c", "echo ready; exec sleep 600"].map(String::from),
        );
        if !enter.is_empty() {
            // The process is already root in the user namespace of the first one.
            words.retain(|w| w != "--map-root-user");
        }
        let mut child = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).expect("this machine does not permit namespaces");
        Self(Process(child))
    }

    fn pid(&self) -> String {
        self.0.0.id().to_string()
    }

    /// Returns the words before a command that runs in this namespace.
    fn enter(&self) -> Vec<String> {
        let words = ["nsenter", "--preserve-credentials", "--user", "--net", "--target"].map(String::from);
        [words.to_vec(), vec![self.pid()]].concat()
    }

    fn command(&self, program: &Path) -> Command {
        let words = self.enter();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program).stdin(Stdio::null());
        command
    }

    fn sh(&self, script: &str) -> String {
        let mut command = self.command(Path::new("sh"));
        output(command.args(["-c", script]))
    }
}

fn leases(style: &str) {
    let server = Namespace::new(&[]);
    let client = Namespace::new(&server.enter());
    let said = server.sh(&format!(
        "ip link set lo up && ip link add office type veth peer name desk netns {} && \
         ip address add 10.77.0.1/24 dev office && ip link set office up",
        client.pid()
    ));
    assert_eq!(said, "");
    assert_eq!(client.sh("ip link set lo up && ip link set desk up"), "");

    let mut program = Program::new(&Names { reverse: vec!["10.77.0.0/24".into()], ..small() });
    program.wrapper = server.enter();
    program.address = "10.77.0.1:53".parse().unwrap();
    program.run();
    // The message of dig about a slow server looks like an answer, so dig waits long enough.
    let dig =
        |arguments: &str| server.sh(&format!("dig @10.77.0.1 +short +tries=3 +time=20 {arguments}")).trim().to_owned();
    wait("the name server answers", || dig("git.internal") == "10.77.0.1");

    // The configuration is the one in docs/dns.md.
    let configuration = format!(
        "authoritative;\n\
         ddns-updates on;\n\
         ddns-update-style {style};\n\
         key all {{ algorithm hmac-sha256; secret {SECRET_BASE64}; }}\n\
         zone internal. {{ primary 10.77.0.1; key all; }}\n\
         zone 0.77.10.in-addr.arpa. {{ primary 10.77.0.1; key all; }}\n\
         subnet 10.77.0.0 netmask 255.255.255.0 {{\n\
           range 10.77.0.100 10.77.0.150;\n\
           default-lease-time 600;\n\
           option domain-name-servers 10.77.0.1;\n\
           ddns-domainname \"pc.internal.\";\n\
         }}\n"
    );
    let dir = program.dir.path();
    write(&dir.join("dhcpd.conf"), &configuration);
    write(&dir.join("leases"), "");
    write(&dir.join("dhclient.conf"), "send host-name \"anna\";\nrequest subnet-mask;\n");
    let log = |name: &str| fs::File::create(dir.join(name)).unwrap();
    let mut dhcpd = server.command(&unconfined("dhcpd", dir));
    dhcpd.args(["-4", "-f", "-d", "--no-pid", "-cf"]).arg(dir.join("dhcpd.conf"));
    dhcpd.arg("-lf").arg(dir.join("leases")).arg("office").stderr(log("dhcpd.log")).stdout(Stdio::null());
    let _dhcpd = Process(dhcpd.spawn().unwrap());

    let dhclient = |release: bool| {
        let mut command = client.command(&unconfined("dhclient", dir));
        command.args(if release { &["-r"][..] } else { &["-1"] }).args(["-4", "-d", "-sf", "/bin/true", "-cf"]);
        command.arg(dir.join("dhclient.conf")).arg("-lf").arg(dir.join("client.leases"));
        command.arg("-pf").arg(dir.join("dhclient.pid")).arg("desk").stderr(log("dhclient.log")).stdout(Stdio::null());
        Process(command.spawn().unwrap())
    };
    let said = || {
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        format!("{}{}{}", read("dhcpd.log"), read("dhclient.log"), program.log())
    };
    // If the client asked earlier, it would get no answer, and would wait long before it asks again.
    wait("dhcpd listens", || said().contains("Sending on "));
    let asking = dhclient(false);
    let start = std::time::Instant::now();
    wait("the lease is registered", || {
        assert!(start.elapsed() < super::PATIENCE / 2, "{}", said());
        dig("anna.pc.internal") == "10.77.0.100" && dig("-x 10.77.0.100") == "anna.pc.internal."
    });
    let owner = if style == "standard" { "DHCID" } else { "TXT" };
    assert!(!dig(&format!("anna.pc.internal {owner}")).is_empty(), "the record of the owner: {owner}");
    drop(asking);
    // The script of dhclient would have done this.
    assert_eq!(client.sh("ip address add 10.77.0.100/24 dev desk"), "");
    let mut releasing = dhclient(true);
    wait("the lease is released", || releasing.0.try_wait().unwrap().is_some());
    wait("its names are removed", || dig("anna.pc.internal").is_empty() && dig("-x 10.77.0.100").is_empty());
    assert_eq!(dig(&format!("anna.pc.internal {owner}")), "");
    assert!(server.sh("dig @10.77.0.1 anna.pc.internal").contains("NXDOMAIN"));
    assert!(program.log().contains("key `all.` from 10.77.0.1, serial "), "{}", program.log());
}

#[test]
fn dhcpd_registers_in_the_standard_style() {
    leases("standard");
}

#[test]
fn dhcpd_registers_in_the_interim_style() {
    leases("interim");
}
