//! A complete server in this process with keys, a journal and a mark. Tests can stop and restart it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::LazyLock,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

use super::{
    DEADLINE, office,
    packet::{self, Key},
    put,
};
use crate::{
    keys::{KeyEntry, KeyFile},
    names::Names,
    server::service::{ServeOptions, Server},
};

pub struct Office {
    pub address: SocketAddr,
    pub dir: TempDir,
    runtime: Runtime,
    running: Option<(oneshot::Sender<()>, JoinHandle<lap_base::Result<()>>)>,
}

/// The secret of all keys in these tests.
const SECRET: &[u8] = b"not a secret: only tests know these bytes, and everyone who reads them";

/// The secret as it appears in the file of keys.
pub static SECRET_BASE64: LazyLock<String> = LazyLock::new(|| STANDARD.encode(SECRET));

fn entry(name: &str, update: &[&str], transfer: bool, expire: Option<u32>) -> KeyEntry {
    let algorithm = if name.starts_with("long") { "hmac-sha512" } else { "hmac-sha256" };
    KeyEntry {
        name: name.into(),
        algorithm: algorithm.into(),
        secret: SECRET_BASE64.clone(),
        update: update.iter().map(ToString::to_string).collect(),
        transfer,
        expire,
    }
}

/// The keys of the tests: `pc` for the machines of the office, `all` for all names, `long` with SHA-512, `lease` with a
/// lease of two seconds, `reader` for transfers.
fn keys() -> KeyFile {
    let everything = ["*.internal", "*.168.192.in-addr.arpa"];
    let keys = vec![
        entry("pc", &["*.pc.internal", "one.internal", "*.0.168.192.in-addr.arpa"], false, None),
        entry("all", &everything, true, None),
        entry("long", &everything, false, None),
        entry("lease", &everything, false, Some(2)),
        entry("reader", &[], true, None),
    ];
    KeyFile { keys }
}

/// Returns the client's side of a key.
pub fn key(name: &str) -> Key {
    let algorithm = if name.starts_with("long") { "hmac-sha512" } else { "hmac-sha256" };
    Key::new(name, algorithm, SECRET)
}

impl Office {
    pub fn start() -> Self {
        Self::with(&office())
    }

    pub fn with(names: &Names) -> Self {
        let dir = tempfile::tempdir().unwrap();
        put(&dir, &serde_json::to_string(names).unwrap());
        for sub in ["data", "state"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        std::fs::write(dir.path().join("keys.json"), serde_json::to_string(&keys()).unwrap()).unwrap();
        let runtime = Runtime::new().unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let mut office = Self { address, dir, runtime, running: None };
        office.run();
        office
    }

    pub fn options(&self) -> ServeOptions {
        ServeOptions {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            names_dir: self.dir.path().into(),
            keys: Some(self.path("keys.json")),
            data_dir: Some(self.path("data")),
            state_dir: Some(self.path("state")),
            metrics: None,
            build: String::new(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn names(&self, names: &Names) {
        put(&self.dir, &serde_json::to_string(names).unwrap());
    }

    fn run(&mut self) {
        let options = self.options();
        let server = self.runtime.block_on(Server::bind(&options)).unwrap();
        self.address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let run = server.run(async {
            let _ = stopped.await;
        });
        self.running = Some((stop, self.runtime.spawn(run)));
    }

    /// Stops the server normally.
    pub fn stop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.send(()).unwrap();
            self.runtime.block_on(task).unwrap().unwrap();
        }
    }

    pub fn restart(&mut self) {
        self.stop();
        self.run();
    }

    /// Sends an update, signed with the key `by`. Returns the response code.
    pub fn update(&self, by: &str, update: &packet::Update) -> u8 {
        key(by).send(self.address, false, &update.bytes())
    }

    pub fn ask(&self, name: &str, rtype: u16) -> (u8, Vec<String>) {
        packet::ask(self.address, name, rtype)
    }

    /// Waits until `is` returns true, with a long deadline.
    pub fn wait(&self, what: &str, is: impl Fn() -> bool) {
        let start = Instant::now();
        while !is() {
            assert!(start.elapsed() < DEADLINE, "this did not happen: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn serial(&self) -> u32 {
        packet::serial(self.address, "internal")
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}
