//! SSH to lap's sshd on a node: lap made its host key before its first start, so there is no first trust to give. On a
//! machine lap did not make it is reached through stock ssh (`via`).

use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Duration};

use lap_base::error::{Error, Kind, Result};
use russh::{
    Preferred, cipher,
    client::{self, Handle},
    keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate},
};
use tokio::{net::TcpStream, time::Instant};

use super::{quickack::QuickAck, stock_ssh::StockSsh};
use crate::wire::{
    client::{AgentClient, Dial, Stream},
    paths,
};

/// Between two tries while a node boots.
const BETWEEN: Duration = Duration::from_millis(20);
/// One try must not hang longer than this.
const TRY: Duration = Duration::from_secs(10);

/// Processors have instructions for AES, and OpenSSH is three times as fast with them as with what both like best.
const CIPHERS: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305];

/// Where a node's sshd is, and who both sides are.
#[derive(Clone)]
pub struct SshTarget {
    /// For messages.
    pub node: String,
    pub address: SocketAddr,
    /// The way to the machine that sees this address; `None`: we do.
    pub via: Option<StockSsh>,
    /// The `admin` key.
    pub key: Arc<PrivateKey>,
    /// The only host key that is accepted.
    pub host_key: PublicKey,
}

struct Checker {
    host_key: PublicKey,
}

impl client::Handler for Checker {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(key.public_key().key_data() == self.host_key.key_data())
    }
}

/// Why one try failed, and whether another may succeed.
enum Failed {
    NotYet(String),
    Final(Error),
}

/// One SSH connection; every stream to the node's agent is a channel in it.
#[derive(Clone)]
pub struct Session {
    handle: Arc<Handle<Checker>>,
    node: String,
}

/// Connects, trying again until `patience` is over: a node that boots refuses at first.
///
/// # Errors
/// It does not answer in time, has another host key, or does not accept the `admin` key.
pub async fn connect(target: &SshTarget, patience: Duration) -> Result<Session> {
    let until = Instant::now() + patience;
    loop {
        let tried = tokio::time::timeout(TRY, try_connect(target)).await;
        let why = match tried.unwrap_or_else(|_| Err(Failed::NotYet("no answer".into()))) {
            Ok(handle) => return Ok(Session { handle: Arc::new(handle), node: target.node.clone() }),
            Err(Failed::Final(error)) => return Err(error),
            Err(Failed::NotYet(why)) => why,
        };
        if Instant::now() >= until {
            let waited = if patience.is_zero() { String::new() } else { format!(" after {} s", patience.as_secs()) };
            let place = target.via.as_ref().map_or_else(|| target.address.to_string(), |via| via.destination.clone());
            let message = format!("`{}` ({place}) does not answer{waited}: {why}", target.node);
            return Err(Error::new(Kind::Disconnected, message)
                .hint("`lap status` shows whether the node runs; `lap up` starts it"));
        }
        // A try through ssh is a process.
        tokio::time::sleep(if target.via.is_some() { BETWEEN * 20 } else { BETWEEN }).await;
    }
}

async fn try_connect(target: &SshTarget) -> std::result::Result<Handle<Checker>, Failed> {
    // Notices within 15 s that the other side is gone; the node does the same.
    let config = client::Config {
        keepalive_interval: Some(Duration::from_secs(5)),
        keepalive_max: 3,
        window_size: 8 << 20,
        maximum_packet_size: 32 << 10,
        preferred: Preferred { cipher: Cow::Borrowed(CIPHERS), ..Preferred::DEFAULT },
        ..client::Config::default()
    };
    let checker = Checker { host_key: target.host_key.clone() };
    let config = Arc::new(config);
    let connected = match &target.via {
        None => {
            let stream = TcpStream::connect(target.address).await.map_err(|error| Failed::NotYet(error.to_string()))?;
            stream.set_nodelay(true).map_err(|error| Failed::NotYet(error.to_string()))?;
            client::connect_stream(config, QuickAck::new(stream), checker).await
        }
        Some(via) => {
            let wire = via.open(&target.address.to_string()).map_err(Failed::Final)?;
            let said = wire.said();
            let connected = client::connect_stream(config, wire, checker).await;
            if connected.is_err() && !matches!(connected, Err(russh::Error::UnknownKey)) {
                return Err(no_wire(target, via, &said).await);
            }
            connected
        }
    };
    let mut handle = match connected {
        Ok(handle) => handle,
        Err(russh::Error::UnknownKey) => {
            let message = format!(
                "`{}` ({}) has another host key than the one lap gave it: this may be another machine",
                target.node, target.address
            );
            return Err(Failed::Final(
                Error::new(Kind::Keys, message)
                    .hint("`lap doctor` shows the expected key; lap sent nothing to the machine"),
            ));
        }
        Err(error) => return Err(Failed::NotYet(error.to_string())),
    };
    let key = PrivateKeyWithHashAlg::new(target.key.clone(), None);
    match handle.authenticate_publickey("root", key).await {
        Ok(result) if result.success() => Ok(handle),
        Ok(_) => Err(Failed::Final(
            Error::new(Kind::Keys, format!("`{}` does not accept this workspace's `admin` key", target.node))
                .hint("import the keys of the lab with `lap keys import FILE`"),
        )),
        Err(error) => Err(Failed::NotYet(error.to_string())),
    }
}

/// Why nothing came through it. ssh has ended then; what it said is complete a moment later.
async fn no_wire(target: &SshTarget, via: &StockSsh, said: &std::sync::Mutex<String>) -> Failed {
    for _ in 0..50 {
        let text = said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if text.contains("open failed") {
            // The machine is there, and lap's sshd behind it is not.
            return Failed::NotYet(match target.address.ip().is_loopback() {
                true => "lap's sshd does not run there: start it with `lap node prepare`".into(),
                false => format!("{} does not answer there", target.address),
            });
        }
        if !text.is_empty() {
            let error = via.refused(&text);
            return if error.kind == Kind::Keys { Failed::Final(error) } else { Failed::NotYet(error.message) };
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Failed::NotYet("the connection broke off".into())
}

impl Session {
    /// The node's agent, through this connection.
    pub fn agent(&self) -> AgentClient {
        let session = self.clone();
        let dial: Dial = Arc::new(move || {
            let session = session.clone();
            Box::pin(async move { session.open(paths::SOCKET).await })
        });
        let handle = self.handle.clone();
        AgentClient::new(self.node.clone(), dial).over(Arc::new(move || handle.is_closed()))
    }

    async fn open(&self, socket: &str) -> Result<Box<dyn Stream>> {
        match self.handle.channel_open_direct_streamlocal(socket).await {
            Ok(channel) => Ok(Box::new(channel.into_stream())),
            Err(_) if self.handle.is_closed() => {
                Err(Error::new(Kind::Disconnected, format!("the connection to `{}` ended", self.node))
                    .hint("run the command again: it continues from the present state of the node"))
            }
            Err(error) => Err(Error::new(Kind::Node, format!("the agent of `{}` does not run: {error}", self.node))
                .hint("run the command again in a moment, or inspect the node with `lap ssh`")),
        }
    }
}
