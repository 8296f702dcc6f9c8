//! Tests of the server as its clients use it: pure answers, packets on loopback, and `dig`.

mod counted;
mod dig;
mod forged;
mod forwarding;
mod fuzz;
mod limited;
mod local;
mod malformed;
mod office;
pub mod packet;
mod quotas;
mod reload;
mod signatures;
mod tcp;
mod transfers;
mod updates;
mod upstream;

use std::{net::SocketAddr, process::Command, time::Duration};

use tempfile::TempDir;
use tokio::{net::UdpSocket, sync::oneshot, task::JoinHandle, time::timeout};

use super::{
    access::Networks,
    audit::Audit,
    handle::{Disposition, RequestContext, handle},
    keyring::Keyring,
    reply::Transport,
    service::{ServeOptions, Server},
    zones::Zones,
};
use crate::names::Names;

/// The deadline of a test. It is long, because the machine may be busy with other work.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server on loopback, and the directory of its names.
struct Running {
    address: SocketAddr,
    dir: TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<lap_base::Result<()>>,
}

impl Running {
    async fn start(names: &Names) -> Self {
        Self::on("127.0.0.1:0", names).await
    }

    async fn on(listen: &str, names: &Names) -> Self {
        Self::made(listen, names, |server| server).await
    }

    async fn made(listen: &str, names: &Names, change: impl FnOnce(Server) -> Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        put(&dir, &serde_json::to_string(names).unwrap());
        let options = ServeOptions {
            listen: vec![listen.parse().unwrap()],
            names_dir: dir.path().into(),
            keys: None,
            data_dir: None,
            state_dir: None,
            metrics: None,
            build: String::new(),
        };
        let server = change(Server::bind(&options).await.unwrap());
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, dir, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// Sends a packet and returns the reply.
    async fn packet(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(bytes, self.address).await.unwrap();
        let mut buffer = vec![0; 65535];
        let length = timeout(DEADLINE, socket.recv(&mut buffer)).await.ok()?.unwrap();
        buffer.truncate(length);
        Some(buffer)
    }

    /// Returns the output of `dig` with these arguments.
    async fn dig(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("dig");
        command.arg(format!("@{}", self.address.ip())).args(["-p", &self.address.port().to_string()]);
        command.args(["+tries=1", "+time=60"]).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
        let output = output.expect("these tests ask with `dig`: apt-get install bind9-dnsutils");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Replaces `names.json`, as `lap up` does.
fn put(dir: &TempDir, text: &str) {
    let new = dir.path().join("names.json.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, dir.path().join("names.json")).unwrap();
}

/// Handles a message without a key from this machine.
fn handle_unsigned(
    zones: &Zones,
    recursion: bool,
    message: &[u8],
    transport: Transport,
    out: &mut Vec<u8>,
) -> Disposition {
    let (keys, clients, audit) = (Keyring::default(), Networks::private(), Audit::default());
    let rules = RequestContext { zones, keys: &keys, clients: &clients, recursion, audit: &audit };
    handle(rules, message, [127, 0, 0, 1].into(), transport, out)
}

/// Returns the names of a small office.
fn office() -> Names {
    let hosts = [
        ("master.node.internal.", "192.168.0.10"),
        ("office.host.internal.", "192.168.0.2"),
        ("hosted.host.internal.", "203.0.113.5"),
        ("ns.internal.", "192.168.0.10"),
        ("git.internal.", "192.168.0.10"),
        ("ubuntu.cache.internal.", "192.168.0.10"),
        ("git.test.internal.", "192.168.0.11"),
    ];
    Names {
        zone: "internal.".into(),
        server: "ns.internal.".into(),
        server_address: Some([192, 168, 0, 10].into()),
        hosts: hosts.iter().map(|(n, a)| (n.to_string(), a.parse().unwrap())).collect(),
        ..Names::default()
    }
}
