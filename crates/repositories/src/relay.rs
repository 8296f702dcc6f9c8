//! Serves the files of a repository to a node, through the connection of the client that started the work. Both
//! directions carry one line of JSON and then bytes. The node sends a [`Message::Call`] and gets a [`RelayReply`].

use std::{io, sync::Arc};

use bytes::Bytes;
use lap_base::error::{Error, Kind, OrError, Result};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    sync::{Semaphore, mpsc},
};

use super::{
    file::{Folder, RepositoryFile},
    rights::{is_readable, is_writable},
    storage::Storage,
};

/// The maximum number of files that are read or written at the same time.
pub const MAX_IN_PROGRESS: usize = 4;
/// The maximum size in bytes of a file that lap reads or writes.
pub const MAX_SIZE: u64 = 256 << 20;

/// A request for a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Lists all files and their sizes. The reply is JSON.
    List(Folder),
    Read {
        file: RepositoryFile,
        range: Option<(u64, u64)>,
    },
    Write(RepositoryFile),
}

/// One request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The number of the request. The reply repeats it, because replies arrive in any order.
    pub number: u64,
    pub act: Operation,
    /// The number of bytes that follow the line.
    pub size: u64,
}

/// A line from the process that works with the repository. The tags are those of the agent's answers, because the same
/// connection carries both.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Message {
    /// A request. `size` bytes follow.
    Call(Call),
    /// A progress message for the operator.
    Step { text: String },
    /// The work is done.
    Done,
    /// The work failed.
    Failed { kind: Kind, message: String, hints: Vec<String> },
    /// The last line of another protocol. The caller of [`serve`] parses it.
    #[serde(other)]
    Other,
}

impl From<Error> for Message {
    fn from(error: Error) -> Self {
        Self::Failed { kind: error.kind, message: error.message, hints: error.hints }
    }
}

/// The reply to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelayReply {
    pub number: u64,
    pub fault: Option<IoFault>,
    /// The number of bytes that follow the line.
    pub size: u64,
}

/// A serializable [`io::Error`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoFault {
    NotThere,
    Short,
    Full,
    Other(String),
}

impl From<io::Error> for IoFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotThere,
            io::ErrorKind::UnexpectedEof => Self::Short,
            io::ErrorKind::StorageFull => Self::Full,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<IoFault> for io::Error {
    fn from(fault: IoFault) -> Self {
        match fault {
            IoFault::NotThere => io::ErrorKind::NotFound.into(),
            IoFault::Short => io::ErrorKind::UnexpectedEof.into(),
            IoFault::Full => io::ErrorKind::StorageFull.into(),
            IoFault::Other(text) => Self::other(text),
        }
    }
}

/// Serves requests until a line arrives that is neither a call nor a step, and returns this line. `on_step` receives each
/// progress message.
///
/// # Errors
/// The error that the node reports, or the end of the connection.
pub async fn serve<S: AsyncRead + AsyncWrite + Send + 'static>(
    stream: S,
    node: &str,
    storage: Arc<dyn Storage>,
    on_step: impl Fn(&str),
) -> Result<String> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(256 << 10, reader);
    let (reply, mut replies) = mpsc::channel::<(RelayReply, Bytes)>(MAX_IN_PROGRESS);
    // The task ends with the last sender, or when the node has closed the connection.
    tokio::spawn(async move {
        while let Some((reply, bytes)) = replies.recv().await {
            let Ok(mut line) = serde_json::to_vec(&reply) else { return };
            line.push(b'\n');
            let sent = async {
                writer.write_all(&line).await?;
                writer.write_all(&bytes).await?;
                writer.flush().await
            };
            if sent.await.is_err() {
                return;
            }
        }
    });
    let places = Arc::new(Semaphore::new(MAX_IN_PROGRESS));
    let what = || format!("the agent of `{node}` does not answer");
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await.or_error(Kind::Disconnected, what)? == 0 {
            return Err(Error::new(Kind::Disconnected, format!("the agent of `{node}` ended the connection"))
                .hint("run the command again: it continues"));
        }
        match serde_json::from_str(&line).or_error(Kind::Node, what)? {
            Message::Call(call) => {
                if call.size > MAX_SIZE {
                    return Err(Error::new(Kind::Refused, format!("{} bytes are too many for a file", call.size)));
                }
                let mut body = vec![0; call.size as usize];
                reader.read_exact(&mut body).await.or_error(Kind::Disconnected, what)?;
                let place = places.clone().acquire_owned().await.or_error(Kind::Other, what)?;
                let (storage, reply) = (storage.clone(), reply.clone());
                tokio::task::spawn_blocking(move || {
                    let answer = match act(storage.as_ref(), call.act, body.into()) {
                        Ok(bytes) => (RelayReply { number: call.number, fault: None, size: bytes.len() as u64 }, bytes),
                        Err(error) => {
                            (RelayReply { number: call.number, fault: Some(error.into()), size: 0 }, Bytes::new())
                        }
                    };
                    let _ = reply.blocking_send(answer);
                    drop(place);
                });
            }
            Message::Step { text } => on_step(&text),
            Message::Failed { kind, message, hints } => {
                return Err(Error { kind, message: format!("{node}: {message}"), hints });
            }
            Message::Done | Message::Other => return Ok(line),
        }
    }
}

fn act(storage: &dyn Storage, act: Operation, body: Bytes) -> io::Result<Bytes> {
    match &act {
        Operation::List(folder) if !is_readable(*folder) => {
            return Err(io::Error::other(format!("a node may not read `{}`", folder.name())));
        }
        Operation::Read { file, .. } if !is_readable(file.folder) => {
            return Err(io::Error::other(format!("a node may not read `{file}`")));
        }
        Operation::Write(file) if !is_writable(file.folder) => {
            return Err(io::Error::other(format!("a node may not write `{file}`")));
        }
        _ => {}
    }
    match act {
        Operation::List(folder) => Ok(serde_json::to_vec(&storage.list(folder)?)?.into()),
        Operation::Read { range: Some((_, length)), .. } if length > MAX_SIZE => {
            Err(io::Error::other("the request is too large"))
        }
        Operation::Read { file, range } => storage.read(&file, range),
        Operation::Write(file) => {
            let parts = [body];
            if !file.is(&parts) {
                return Err(io::Error::other(format!("`{file}` was damaged during the transfer")));
            }
            storage.write(&file, &parts).map(|()| Bytes::new())
        }
    }
}
