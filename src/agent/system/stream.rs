//! Answers and raw bytes on a connection to the agent's socket.

use lap_base::error::{Error, Kind, OrError, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use crate::wire::protocol::Response;

/// A connection to the agent's socket.
pub type Connection = BufReader<UnixStream>;

/// Sends an answer. A peer that is gone needs none.
pub async fn say(stream: &mut (impl AsyncWrite + Unpin), answer: &Response) {
    if let Ok(mut line) = serde_json::to_vec(answer) {
        line.push(b'\n');
        // A peer that went away needs no answer.
        let _ = stream.write_all(&line).await;
    }
}

/// Receives `size` bytes.
///
/// # Errors
/// They are more than `limit`, or the connection broke.
pub async fn receive(stream: &mut Connection, size: u64, limit: u64) -> Result<Vec<u8>> {
    if size > limit {
        return Err(Error::new(Kind::Refused, format!("{size} bytes are too many, at most {limit} are allowed")));
    }
    let mut bytes = Vec::new();
    let got = stream.take(size).read_to_end(&mut bytes).await;
    match got.or_error(Kind::Node, || "the connection broke".into())? {
        got if got as u64 == size => Ok(bytes),
        got => Err(Error::new(Kind::Node, format!("the connection broke after {got} of {size} bytes"))),
    }
}
