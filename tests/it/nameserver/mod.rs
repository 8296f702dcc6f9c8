//! Tests of the name server as a process: after kills, on a full disk, and together with other name servers and DHCP
//! servers.

mod against;
mod dhcp;
mod disk;
mod killed;
mod nsupdate;
#[path = "../../../crates/nameserver/src/server/tests/packet.rs"]
mod packet;
mod power;
mod secondary;
mod table;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use lap_base::testing::loopback::own_place;
use lap_nameserver::{
    keys::{KeyEntry, KeyFile},
    names::Names,
};
use tempfile::TempDir;

use self::packet::Key;

use crate::times::Timed;

/// The secret of all keys in these tests.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// The secret in base64.
const SECRET_BASE64: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The deadline of a test. It is long, because the machine may be busy with other work.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until `is` returns true.
fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "this did not happen: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// A child process that is killed when the test ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process of `lap dns serve` with its own directory.
struct Program {
    dir: TempDir,
    address: SocketAddr,
    child: Option<Process>,
    /// A command that runs the program, for example in a namespace.
    wrapper: Vec<String>,
    _timed: Timed,
}

fn small() -> Names {
    Names {
        zone: "internal.".into(),
        server: "ns.internal.".into(),
        server_address: Some([10, 77, 0, 1].into()),
        hosts: vec![("git.internal.".into(), [10, 77, 0, 1].into())],
        ..Names::default()
    }
}

impl Program {
    /// Makes a server without starting it.
    fn new(names: &Names) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["data", "state"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let update = vec!["*.internal".into(), "*.10.in-addr.arpa".into()];
        let entry = |name: &str, expire| KeyEntry {
            name: name.into(),
            algorithm: "hmac-sha256".into(),
            secret: SECRET_BASE64.into(),
            update: update.clone(),
            transfer: true,
            expire,
        };
        let keys = KeyFile { keys: vec![entry("all", None), entry("lease", Some(2))] };
        fs::write(dir.path().join("keys.json"), serde_json::to_string(&keys).unwrap()).unwrap();
        let program = Self { dir, address: own_place(), child: None, wrapper: vec![], _timed: Timed::begin() };
        program.names(names);
        program
    }

    fn start(names: &Names) -> Self {
        let mut program = Self::new(names);
        program.run();
        program
    }

    /// Replaces `names.json`, as `lap up` does.
    fn names(&self, names: &Names) {
        fs::write(self.path("names.new"), serde_json::to_string(names).unwrap()).unwrap();
        fs::rename(self.path("names.new"), self.path("names.json")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.push(env!("CARGO_BIN_EXE_lap").into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["dns", "serve", "--no-loopback", "--config"]).arg(self.dir.path());
        command.args(["--listen", &self.address.ip().to_string(), "--port", &self.address.port().to_string()]);
        command.arg("--keys").arg(self.path("keys.json"));
        command.arg("--data").arg(self.path("data")).arg("--state").arg(self.path("state"));
        command.stdin(Stdio::null());
        command
    }

    /// Starts the server and waits until it answers.
    fn run(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut child = Process(self.command().stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        wait("the name server answers", || {
            if let Some(ended) = child.0.try_wait().unwrap() {
                panic!("it ended with {ended}:\n{}", self.log());
            }
            self.wrapper.iter().any(|w| w == "nsenter") || TcpStream::connect(self.address).is_ok()
        });
        self.child = Some(child);
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().0.id()).unwrap()
    }

    /// Stops the server normally.
    fn stop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended = self.child.as_mut().unwrap().0.wait().unwrap();
        assert!(ended.success(), "{ended}\n{}", self.log());
        self.child = None;
    }

    /// Kills the server with SIGKILL.
    fn kill(&mut self) {
        self.child = None;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn key(&self) -> Key {
        Key::new("all", "hmac-sha256", SECRET)
    }

    /// Sends an update and returns the response code.
    fn update(&self, update: &packet::Update) -> u8 {
        self.key().send(self.address, true, &update.bytes())
    }

    fn ask(&self, name: &str, rtype: u16) -> (u8, Vec<String>) {
        packet::ask(self.address, name, rtype)
    }

    fn serial(&self) -> u32 {
        packet::serial(self.address, "internal")
    }
}

/// Returns the output of a command, on both channels.
fn output(command: &mut Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output().unwrap_or_else(|e| panic!("`{program}`: {e}: `scripts/setup test` installs it"));
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// Returns a copy of a daemon. AppArmor may confine the installed program to its own directories, and does not know the
/// copy.
fn unconfined(program: &str, dir: &Path) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/sbin"].map(|d| Path::new(d).join(program));
    let from = places.iter().find(|p| p.exists()).unwrap_or_else(|| panic!("no `{program}`: `scripts/setup test`"));
    let to = dir.join(program);
    if !to.exists() {
        // Another process makes the copy. If this process had the file open for writing, a child of another test could
        // inherit it, and the copy could not be executed.
        assert!(Command::new("cp").arg(from).arg(&to).status().unwrap().success());
    }
    to
}
