//! BIND's `named` for tests. The tests of `lap dns` include this file too, so it uses the crate's external name.

#![allow(dead_code, reason = "each of the two test modules uses a different part")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use lap_base::{random::random, testing::loopback::own_port};
use lap_nameserver::{client::query::query, keys::KeyEntry};

const NAMED: &str = "/usr/sbin/named";

/// A running `named` with the zone `internal.` and the reverse zone of 10.0.0.0/24. One key may transfer them. It may
/// change names below `pc.internal.` and in the reverse zone.
pub struct Named {
    child: Child,
    pub address: SocketAddr,
    /// The key `lap-admin`, and its file in the format of `tsig-keygen`.
    pub key: KeyEntry,
    pub key_file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `named` and waits until it answers. Returns `None` if this machine does not have the program.
pub async fn named(algorithm: &str) -> Option<Named> {
    if !Path::new(NAMED).exists() {
        eprintln!("`{NAMED}` is not installed: the test is skipped");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let key = key("lap-admin", algorithm);
    let text = format!("key \"{}\" {{ algorithm {algorithm}; secret \"{}\"; }};\n", key.name, key.secret);
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, own_port()));
    fs::write(at("key"), text).unwrap();
    fs::write(
        at("zone"),
        "$TTL 60\n@ SOA ns hostmaster 1 3600 600 604800 30\n@ NS ns\nns A 127.0.0.1\ngit A 10.0.0.1\nw TXT \"a b\" c\n",
    )
    .unwrap();
    fs::write(
        at("reverse"),
        "$TTL 60\n@ SOA ns.internal. hostmaster.internal. 1 3600 600 604800 30\n@ NS ns.internal.\n",
    )
    .unwrap();
    let config = format!(
        "include \"{key}\";\noptions {{ directory \"{dir}\"; pid-file none; session-keyfile none; listen-on port {port} {{ 127.0.0.1; }}; \
         listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; }};\ncontrols {{ }};\n\
         zone \"internal\" {{ type master; file \"{zone}\"; allow-transfer {{ key lap-admin; }};\n\
         update-policy {{ grant lap-admin wildcard *.pc.internal. ANY; }}; }};\n\
         zone \"0.0.10.in-addr.arpa\" {{ type master; file \"{reverse}\"; allow-transfer {{ key lap-admin; }}; allow-update {{ key \
         lap-admin; }}; }};\n",
        key = at("key"),
        dir = dir.path().display(),
        port = free.port(),
        zone = at("zone"),
        reverse = at("reverse"),
    );
    fs::write(at("named.conf"), config).unwrap();
    let mut command = Command::new(NAMED);
    command.args(["-g", "-n", "1", "-c", &at("named.conf")]).stderr(Stdio::null()).stdin(Stdio::null());
    let child = command.spawn().unwrap();
    let mut server = Named { child, address: free, key, key_file: at("key").into(), _dir: dir };
    let began = Instant::now();
    while !query(free, "internal.", "SOA", Duration::from_secs(2)).await.is_ok_and(|a| a.found()) {
        assert_eq!(server.child.try_wait().unwrap(), None, "named ended");
        assert!(began.elapsed() < Duration::from_secs(120), "named does not answer on {free}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Some(server)
}

/// Returns a new key without rights.
pub fn key(name: &str, algorithm: &str) -> KeyEntry {
    let secret = STANDARD.encode(random::<32>().unwrap());
    let (name, algorithm) = (name.to_owned(), algorithm.to_owned());
    KeyEntry { name, algorithm, secret, update: Vec::new(), transfer: false, expire: None }
}
