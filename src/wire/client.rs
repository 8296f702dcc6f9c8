//! The other end of the agent's socket, over any byte stream (an SSH channel).

use std::{pin::Pin, sync::Arc};

use bollard::{ClientVersion, Docker};
use lap_base::error::{Error, Kind, OrError, Result};
use lap_repositories::{Rights, relay, storage::Storage};
use lap_snapshots::Meta;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::protocol::{Holder, MAX_PACK, NodeFacts, Note, Request, Response};
use crate::release::{Hooked, LedgerEntry, WatcherDecision};

/// The oldest version of Docker's interface that lap speaks: that of Docker 20.10. All that lap asks for exists there.
pub const OLDEST: &ClientVersion = &ClientVersion { major_version: 1, minor_version: 41 };

/// A byte stream to the agent's socket.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Opens one more stream to the agent's socket.
pub type Dial = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Box<dyn Stream>>> + Send>> + Send + Sync>;

/// Whether the connection under [`Dial`] has ended for good.
pub type HasEnded = Arc<dyn Fn() -> bool + Send + Sync>;

/// An agent that can be asked.
#[derive(Clone)]
pub struct AgentClient {
    dial: Dial,
    ended: HasEnded,
    /// For messages.
    node: String,
}

impl AgentClient {
    /// The agent of `node`, reached through `dial`.
    pub fn new(node: impl Into<String>, dial: Dial) -> Self {
        Self { dial, ended: Arc::new(|| false), node: node.into() }
    }

    /// The same, where all streams share one connection that can end.
    #[must_use]
    pub fn over(self, ended: HasEnded) -> Self {
        Self { ended, ..self }
    }

    /// The connection has ended, with the node for example: no other request of this client can succeed.
    pub fn is_disconnected(&self) -> bool {
        (self.ended)()
    }

    /// Asks, sends `body` after the question, and returns the answer.
    ///
    /// # Errors
    /// What the agent says, or that it does not answer.
    pub async fn ask(&self, request: &Request, body: &[u8]) -> Result<Response> {
        let mut stream = self.open(request).await?;
        let what = || format!("the agent of `{}` does not answer", self.node);
        stream.write_all(body).await.or_error(Kind::Disconnected, what)?;
        stream.flush().await.or_error(Kind::Disconnected, what)?;
        self.read(&mut stream).await
    }

    /// All facts of the node.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn facts(&self) -> Result<NodeFacts> {
        match self.ask(&Request::Facts, &[]).await? {
            Response::Facts(facts) => Ok(*facts),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Takes the node's lock; `busy` is told once who has it when it is not free and `wait` is set.
    ///
    /// # Errors
    /// [`Kind::Locked`] with the holder's name if it is not free and not to be waited for.
    pub async fn lock(&self, holder: Holder, wait: bool, busy: impl FnOnce(&Holder, i64)) -> Result<Held> {
        let mut stream = self.open(&Request::Lock { holder, wait }).await?;
        let answer = self.read_granted(&mut stream, wait, busy).await?;
        match answer {
            Response::Locked { fence } => {
                Ok(Held { fence, stream: tokio::sync::Mutex::new(stream), client: self.clone() })
            }
            other => Err(self.unexpected(&other)),
        }
    }

    /// Asks for something the agent does under its own lock, and tells `step` what it is doing.
    ///
    /// # Errors
    /// As [`Self::lock`], or what the agent says.
    pub async fn work(
        &self,
        request: &Request,
        wait: bool,
        busy: impl FnOnce(&Holder, i64),
        step: impl Fn(&str),
    ) -> Result<Response> {
        let mut stream = self.open(request).await?;
        let mut answer = self.read_granted(&mut stream, wait, busy).await?;
        while let Response::Step { text } = answer {
            step(&text);
            answer = self.read(&mut stream).await?;
        }
        Ok(answer)
    }

    /// Asks for a switch (or to watch one) and follows it: `step` is told what is being done, `last_word` says whether the release may
    /// be made, once. If the connection breaks, [`Request::WatchSwitch`] takes it up again.
    ///
    /// # Errors
    /// As [`Self::work`]; or there is no last word, and why: then the connection ends without an answer.
    pub async fn switch(
        &self,
        request: &Request,
        wait: bool,
        busy: impl FnOnce(&Holder, i64),
        step: impl Fn(&str),
        last_word: impl AsyncFn(Option<Hooked>) -> Result<WatcherDecision>,
    ) -> Result<(LedgerEntry, String)> {
        let mut stream = self.open(request).await?;
        let mut answer = self.read_granted(&mut stream, wait, busy).await?;
        loop {
            match answer {
                Response::Step { text } => step(&text),
                Response::Asked { hooked } => {
                    let lost = || format!("the connection to `{}` is lost", self.node);
                    let mut line = serde_json::to_vec(&last_word(hooked).await?).or_error(Kind::Other, lost)?;
                    line.push(b'\n');
                    stream.write_all(&line).await.or_error(Kind::Disconnected, lost)?;
                    stream.flush().await.or_error(Kind::Disconnected, lost)?;
                }
                Response::Switched { entry, hash } => return Ok((*entry, hash)),
                other => return Err(self.unexpected(&other)),
            }
            answer = self.read(&mut stream).await?;
        }
    }

    /// Asks for something for which the agent needs a repository's files, and serves them.
    ///
    /// # Errors
    /// What the agent says, or that the connection ended.
    pub async fn serve(&self, request: &Request, storage: Arc<dyn Storage>, step: impl Fn(&str)) -> Result<Response> {
        let rights = if matches!(request, Request::CopySnapshot { .. }) { Rights::Append } else { Rights::Read };
        let stream = self.open(request).await?;
        let line = relay::serve(stream, &self.node, rights.over(storage), step).await?;
        serde_json::from_str(&line).or_error(Kind::Node, || format!("the agent of `{}` does not answer", self.node))
    }

    /// Writes what is sent for `request` of a snapshot into `to`; gives its description and the number of bytes.
    ///
    /// # Errors
    /// There is no such snapshot; it broke off: then `to` holds a part.
    pub async fn export(&self, request: &Request, to: impl AsyncWrite + Unpin) -> Result<(Meta, u64)> {
        let mut stream = self.open(request).await?;
        let meta = match self.read(&mut stream).await? {
            Response::Exporting { meta } => meta,
            other => return Err(self.unexpected(&other)),
        };
        let broke = || "the archive is incomplete".to_owned();
        let bytes = super::archive_stream::receive(&mut stream, to).await.or_error(Kind::Node, broke)?;
        self.read(&mut stream).await.map(|_| (meta, bytes))
    }

    /// Sends an archive; gives the snapshot it became.
    ///
    /// # Errors
    /// As [`Self::work`].
    pub async fn import(
        &self,
        holder: Holder,
        wait: bool,
        busy: impl FnOnce(&Holder, i64),
        from: impl AsyncRead + Unpin,
    ) -> Result<Meta> {
        let mut stream = self.open(&Request::ImportSnapshot { holder, wait }).await?;
        match self.read_granted(&mut stream, wait, busy).await? {
            Response::Ready => {}
            other => return Err(self.unexpected(&other)),
        }
        let sent = super::archive_stream::send(from, &mut stream).await;
        // What the agent says tells more than that it stopped reading.
        match self.read(&mut stream).await? {
            Response::Taken { meta, .. } => {
                sent.map(|_| meta).or_error(Kind::Node, || "the archive is incomplete".into())
            }
            other => Err(self.unexpected(&other)),
        }
    }

    /// A pack of a commit that a repository in the environment's git has; `alone`: without its history.
    ///
    /// # Errors
    /// It does not have it, or what the agent says.
    pub async fn objects(&self, repository: &str, commit: &str, alone: bool) -> Result<Vec<u8>> {
        let request = Request::GiveObjects { repository: repository.to_owned(), commit: commit.to_owned(), alone };
        let mut stream = self.open(&request).await?;
        let size = match self.read(&mut stream).await? {
            Response::Objects { size } if size <= MAX_PACK => size,
            Response::Objects { .. } => {
                return Err(Error::new(Kind::Refused, format!("{commit} is too large to fetch from `{}`", self.node))
                    .hint("fetch it with `git fetch`"));
            }
            other => return Err(self.unexpected(&other)),
        };
        let mut pack = Vec::new();
        let got = stream.take(size).read_to_end(&mut pack).await;
        match got.or_error(Kind::Disconnected, || format!("the agent of `{}` does not answer", self.node))? {
            got if got as u64 == size => Ok(pack),
            _ => Err(Error::new(Kind::Disconnected, format!("the connection to `{}` broke", self.node))),
        }
    }

    /// As [`Self::work`], for something that needs what `from` gives first.
    ///
    /// # Errors
    /// As [`Self::work`].
    pub async fn bring(
        &self,
        request: &Request,
        wait: bool,
        busy: impl FnOnce(&Holder, i64),
        step: impl Fn(&str),
        from: impl AsyncRead + Unpin,
    ) -> Result<Response> {
        let mut stream = self.open(request).await?;
        match self.read_granted(&mut stream, wait, busy).await? {
            Response::Ready => {}
            other => return Err(self.unexpected(&other)),
        }
        let sent = super::archive_stream::send(from, &mut stream).await;
        // What the agent says tells more than that it stopped reading.
        let mut answer = self.read(&mut stream).await?;
        while let Response::Step { text } = answer {
            step(&text);
            answer = self.read(&mut stream).await?;
        }
        sent.map(|_| answer).or_error(Kind::Node, || "the archive is incomplete".into())
    }

    /// The first answer that is not "somebody else has the lock".
    async fn read_granted(
        &self,
        stream: &mut BufReader<Box<dyn Stream>>,
        wait: bool,
        busy: impl FnOnce(&Holder, i64),
    ) -> Result<Response> {
        let answer = self.read(stream).await?;
        let Response::Busy { holder, since } = &answer else { return Ok(answer) };
        if wait {
            busy(holder, *since);
            return self.read(stream).await;
        }
        let since = lap_base::words::ago(lap_base::clock::now() - since);
        let message = format!(
            "`{}` is locked: `{}` holds it for `lap {}` (process {}), since {since}",
            self.node, holder.who, holder.verb, holder.pid
        );
        Err(Error::new(Kind::Locked, message).hint("use `--wait` to wait until the lock is free"))
    }

    /// A connection to the node's own registry, or to the port at which it takes images; with a fencing number only as long as the lock is
    /// held.
    ///
    /// # Errors
    /// The registry does not take it, or the lock is lost.
    pub async fn registry(&self, fence: Option<u64>, write: bool) -> Result<Box<dyn Stream>> {
        let mut stream = self.open(&Request::Registry { fence, write }).await?;
        match self.read(&mut stream).await? {
            Response::Done => Ok(Box::new(stream)),
            other => Err(self.unexpected(&other)),
        }
    }

    /// The node's Docker; with a fencing number only as long as the lock is held. Nothing is sent yet.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn docker(&self, fence: Option<u64>) -> Result<Docker> {
        let client = self.clone();
        let transport = move |request: bollard::BollardRequest| {
            let client = client.clone();
            async move {
                let stream = client.open(&Request::Docker { fence }).await;
                let stream =
                    stream.map_err(|error| bollard::errors::Error::IOError { err: std::io::Error::other(error) })?;
                let io = hyper_util::rt::TokioIo::new(stream);
                let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
                tokio::spawn(connection.with_upgrades());
                let (mut parts, body) = request.into_parts();
                parts.headers.insert("host", hyper::header::HeaderValue::from_static("docker"));
                // bollard leaves the version out of such paths: the daemon speaks its own newest.
                let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
                if let Ok(uri) = path.parse() {
                    parts.uri = uri;
                }
                Ok(sender.send_request(bollard::BollardRequest::from_parts(parts, body)).await?)
            }
        };
        Docker::connect_with_custom_transport(transport, Some("http://docker"), 3600, OLDEST)
            .or_error(Kind::Node, || format!("Docker on `{}` does not answer", self.node))
    }

    async fn open(&self, request: &Request) -> Result<BufReader<Box<dyn Stream>>> {
        let what = || format!("the agent of `{}` does not answer", self.node);
        let mut line = serde_json::to_vec(request).or_error(Kind::Other, what)?;
        line.push(b'\n');
        let mut stream = BufReader::new((self.dial)().await?);
        stream.write_all(&line).await.or_error(Kind::Disconnected, what)?;
        stream.flush().await.or_error(Kind::Disconnected, what)?;
        Ok(stream)
    }

    async fn read(&self, stream: &mut BufReader<Box<dyn Stream>>) -> Result<Response> {
        let mut line = String::new();
        let what = || format!("the agent of `{}` does not answer", self.node);
        if stream.read_line(&mut line).await.or_error(Kind::Disconnected, what)? == 0 {
            return Err(Error::new(Kind::Disconnected, format!("the agent of `{}` ended the connection", self.node))
                .hint("run the command again: it continues from the present state of the node"));
        }
        match serde_json::from_str(&line).or_error(Kind::Node, what)? {
            Response::Failed { kind, message, hints } => {
                Err(Error { kind, message: format!("{}: {message}", self.node), hints })
            }
            answer => Ok(answer),
        }
    }

    fn unexpected(&self, answer: &Response) -> Error {
        Error::new(Kind::Node, format!("the agent of `{}` sent an unexpected answer: {answer:?}", self.node))
    }
}

/// The node's lock, held as long as this lives.
pub struct Held {
    /// Goes with every request that changes something.
    pub fence: u64,
    stream: tokio::sync::Mutex<BufReader<Box<dyn Stream>>>,
    client: AgentClient,
}

impl Held {
    /// Writes into the node's journal.
    ///
    /// # Errors
    /// The connection, and so the lock, is gone.
    pub async fn note(&self, note: &Note) -> Result<()> {
        let mut line = serde_json::to_vec(note).or_error(Kind::Other, || "journal".into())?;
        line.push(b'\n');
        let mut stream = self.stream.lock().await;
        let lost = || format!("the connection to `{}` is lost, and therefore the lock", self.client.node);
        stream.write_all(&line).await.or_error(Kind::Locked, lost)?;
        stream.flush().await.or_error(Kind::Locked, lost)
    }

    /// Ends the operation, and gives the lock back.
    ///
    /// # Errors
    /// The connection is gone: the journal says "lost".
    pub async fn end(self, result: Result<(), String>) -> Result<()> {
        self.note(&Note::End(result)).await?;
        let mut stream = self.stream.lock().await;
        self.client.read(&mut stream).await.map(|_| ())
    }
}
