//! Raw connections through the agent: to the node's Docker, and to its registry. One that was opened under a fencing number is
//! cut when the lock changes hands.

use lap_base::error::{Error, Kind};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::{
    agent::{
        lock::NodeLock,
        system::{
            node_config::{address, status},
            stream::{Connection, say},
        },
    },
    wire::{paths, protocol::Response},
};

/// What is passed on at a time, each way.
const PIECE: usize = 64 << 10;

/// Passes bytes to and from Docker.
pub async fn docker(lock: &NodeLock, mut stream: Connection, fence: Option<u64>) {
    if let Some(Err(error)) = fence.map(|fence| lock.check(fence)) {
        // As Docker reports an error. Docker itself never answers 423 (RFC 4918, section 11.3).
        let body = serde_json::json!({ "message": error.message }).to_string();
        let head =
            format!("HTTP/1.1 423 Locked\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = stream.write_all((head + &body).as_bytes()).await;
        return;
    }
    let Ok(docker) = UnixStream::connect(paths::DOCKER).await else { return };
    pass(lock, stream, docker, fence).await;
}

/// Passes bytes to and from the registry, once it has taken the connection.
pub async fn registry(lock: &NodeLock, mut stream: Connection, fence: Option<u64>, write: bool) {
    if let Some(Err(error)) = fence.map(|fence| lock.check(fence)) {
        return say(&mut stream, &error.into()).await;
    }
    match TcpStream::connect(if write { paths::REGISTRY_WRITES } else { paths::REGISTRY }).await {
        Ok(registry) => {
            let _ = registry.set_nodelay(true);
            say(&mut stream, &Response::Done).await;
            pass(lock, stream, registry, fence).await;
        }
        Err(error) => {
            let error = Error::new(Kind::Node, format!("the registry does not answer: {error}"))
                .hint(format!("`{}` shows whether it runs", status()))
                .hint(format!("`lap logs {}` shows the reason if it does not", address("registry")));
            say(&mut stream, &error.into()).await;
        }
    }
}

async fn pass(
    lock: &NodeLock,
    mut one: Connection,
    mut other: impl AsyncRead + AsyncWrite + Unpin,
    fence: Option<u64>,
) {
    let copy = tokio::io::copy_bidirectional_with_sizes(&mut one, &mut other, PIECE, PIECE);
    match fence {
        Some(fence) => tokio::select! { _ = copy => {}, () = lock.lost(fence) => {} },
        None => {
            let _ = copy.await;
        }
    }
}
