//! Knot DNS and BIND as secondaries: after a NOTIFY they transfer the changes, and never miss one.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use lap_base::testing::loopback::{own_place, own_port};
use lap_nameserver::names::Names;
use tempfile::TempDir;

use super::{
    Process, Program, SECRET_BASE64,
    packet::{self, A, Update},
    small, wait, write,
};

/// A secondary of `internal`. Dropping it ends its process.
pub struct Peer {
    pub address: SocketAddr,
    pub dir: TempDir,
    process: Option<Process>,
    knot: bool,
}

impl Peer {
    /// Makes a secondary without starting it, so that the primary can get its address.
    pub fn new(knot: bool) -> Self {
        // BIND listens only on addresses of an interface.
        let address = if knot { own_place() } else { (Ipv4Addr::LOCALHOST, own_port()).into() };
        Self { address, dir: tempfile::tempdir().unwrap(), process: None, knot }
    }

    fn configuration(&self, primary: SocketAddr) -> String {
        let dir = self.dir.path().display();
        let (own, own_port) = (self.address.ip(), self.address.port());
        let (ip, port) = (primary.ip(), primary.port());
        if self.knot {
            return format!(
                "server:\n    listen: {own}@{own_port}\n    rundir: {dir}\n\
                 log:\n  - target: {dir}/log\n    any: info\n\
                 database:\n    storage: {dir}\n\
                 key:\n  - id: all\n    algorithm: hmac-sha256\n    secret: {SECRET_BASE64}\n\
                 remote:\n  - id: lap\n    address: {ip}@{port}\n    key: all\n\
                 acl:\n  - id: notify\n    address: 127.0.0.0/8\n    action: notify\n\
                 zone:\n  - domain: internal\n    master: lap\n    acl: notify\n    storage: {dir}\n"
            );
        }
        format!(
            "options {{ directory \"{dir}\"; listen-on port {own_port} {{ {own}; }}; listen-on-v6 {{ none; }}; pid-file none; \
             session-keyfile \"{dir}/session.key\"; recursion no; dnssec-validation no; notify no; \
             minimal-responses yes; }};\n\
             controls {{ }};\n\
             key all {{ algorithm hmac-sha256; secret \"{SECRET_BASE64}\"; }};\n\
             zone internal {{ type secondary; file \"internal.db\"; primaries {{ {ip} port {port} key all; }}; \
             allow-notify {{ 127.0.0.0/8; }}; }};\n"
        )
    }

    pub fn run(&mut self, primary: SocketAddr) {
        let file = self.dir.path().join("peer.conf");
        write(&file, &self.configuration(primary));
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("output")).unwrap();
        let program = if self.knot { "knotd" } else { "named" };
        let mut command = Command::new(super::unconfined(program, self.dir.path()));
        command.args(if self.knot { &["-c"][..] } else { &["-g", "-n", "1", "-c"] }).arg(&file);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        self.process = Some(Process(child));
    }

    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        read("output") + &read("log")
    }

    /// Waits until the secondary has the same serial as the primary.
    pub fn follows(&mut self, primary: &Program) {
        let wished = primary.serial();
        let start = std::time::Instant::now();
        wait("the secondary has the zone", || {
            if let Some(ended) = self.process.as_mut().unwrap().0.try_wait().unwrap() {
                panic!("it ended with {ended}:\n{}", self.log());
            }
            assert!(
                start.elapsed() < super::PATIENCE / 2,
                "it does not follow to {wished}:\n{}\n{}",
                self.log(),
                primary.log()
            );
            // The test connects to the port. Binding the port for a check would block the server for a moment.
            TcpStream::connect(self.address).is_ok()
                && packet::ask(self.address, "internal", packet::SOA)
                    .1
                    .first()
                    .is_some_and(|soa| soa.split(' ').nth(3) == Some(&wished.to_string()))
        });
    }

    /// Returns whether the secondary received an incremental transfer.
    fn took_changes_alone(&self) -> bool {
        if self.knot {
            return self.log().contains("IXFR, incoming");
        }
        // For a secondary zone, BIND has a journal only after an incremental transfer.
        self.dir.path().join("internal.db.jnl").exists()
    }
}

fn add(label: &str, n: u8) -> Update {
    Update::of("internal").add(&format!("{label}.pc.internal"), A, 60, &[10, 0, 0, n])
}

fn follows_everything(knot: bool, size: u32) {
    let mut peer = Peer::new(knot);
    let mut names = Names { secondaries: vec![peer.address], ..small() };
    names.hosts.extend((0..size).map(|i| (format!("n{i}.internal."), (0x0a4d_0000 + (i & 255)).into())));
    let mut program = Program::start(&names);
    peer.run(program.address);
    peer.follows(&program);
    let last = format!("n{}.internal", size - 1);
    assert_eq!(packet::ask(peer.address, &last, A), program.ask(&last, A));
    assert!(!peer.took_changes_alone());

    // The refresh time of the zone is 300 s, so a faster change was announced by NOTIFY.
    assert_eq!(program.update(&add("first", 1)), 0);
    peer.follows(&program);
    assert_eq!(packet::ask(peer.address, "first.pc.internal", A).1, ["60 10.0.0.1"]);
    assert!(peer.took_changes_alone(), "{}", peer.log());

    // The workspace has a new name.
    names.hosts.push(("new.internal.".into(), [10, 77, 0, 9].into()));
    let before = program.serial();
    program.names(&names);
    wait("names.json is taken over", || program.serial() != before);
    peer.follows(&program);
    assert_eq!(packet::ask(peer.address, "new.internal", A).1, ["60 10.77.0.9"]);

    // A normal restart keeps the serial. A kill loses nothing, but leads to a new serial.
    let before = program.serial();
    program.stop();
    let snapshot = fs::read(program.path("data/names.journal")).unwrap();
    program.run();
    assert_eq!(program.serial(), before);
    assert_eq!(program.update(&add("second", 2)), 0);
    peer.follows(&program);
    program.kill();
    program.run();
    peer.follows(&program);
    assert_eq!(packet::ask(peer.address, "second.pc.internal", A).1, ["60 10.0.0.2"]);

    // The earlier data is restored and the mark remains. The secondary must remove the later registration.
    program.stop();
    fs::write(program.path("data/names.journal"), snapshot).unwrap();
    program.run();
    peer.follows(&program);
    assert_eq!(packet::ask(peer.address, "second.pc.internal", A).0, 3, "{}", peer.log());
    assert_eq!(packet::ask(peer.address, "first.pc.internal", A).1, ["60 10.0.0.1"]);
    assert_eq!(program.update(&add("third", 3)), 0);
    peer.follows(&program);
    assert_eq!(packet::ask(peer.address, "third.pc.internal", A).1, ["60 10.0.0.3"]);
}

#[test]
fn knot_follows_every_change() {
    follows_everything(true, 100_000);
}

#[test]
fn bind_follows_every_change() {
    follows_everything(false, 1_000);
}
