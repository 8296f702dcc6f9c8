//! TCP (RFC 7766): clients may send many questions on one connection, and the server answers each as soon as it can.
//! The server closes a connection that is idle (section 6.2.3) or that has reached its maximum lifetime. If all slots
//! are taken, it closes the connection with the longest idle time (section 6.5; RFC 9210, section 4.2). So no client
//! can keep the others out.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, Semaphore, oneshot},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    handle::Disposition,
    metrics::By,
    reply::Transport,
    shared::Shared,
    shares::{Limits, Share, Shares},
    store::unix,
    transfer::{self, Transfer},
};

/// The maximum number of connections on one address.
const MAX_CONNECTIONS: usize = 512;
/// The maximum number of connections of one client.
const MAX_OF_CLIENT: usize = 64;
/// A connection that was active within this time is not closed for a client with as many connections.
const YOUNG: Duration = Duration::from_secs(1);
/// The minimum time between two records of the fact that a connection is active.
const TOUCH_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum number of questions of one connection that wait for upstream servers.
const MAX_PIPELINED: usize = 64;
/// The maximum number of transfers at a time on one address. Each holds a copy of its zone.
const MAX_TRANSFERS: usize = 4;

/// The time limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A connection is closed if the client sends no question, or accepts no reply, for this time.
    pub idle: Duration,
    /// A connection is closed after this time, as soon as all its questions are answered. The client can open another
    /// one.
    pub life: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { idle: Duration::from_secs(10), life: Duration::from_secs(300) }
    }
}

/// Opens a listener on `address`. It does not set SO_REUSEPORT, so a second server on the same port gets an error.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections, without end.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, times: Times) {
    let slots = Shares::new(Limits { all: MAX_CONNECTIONS, each: MAX_OF_CLIENT, young: YOUNG });
    let transfers = Arc::new(Semaphore::new(MAX_TRANSFERS));
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let Some((share, evicted)) = slots.take(client.ip(), Instant::now()) else {
                    closed(&shared, client.ip());
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                let writer =
                    Arc::new(Writer { half: Mutex::new(writer), broken: AtomicBool::new(false), idle: times.idle });
                let shared = shared.clone();
                let connection = Connection {
                    client: client.ip(),
                    shared: shared.clone(),
                    transfers: transfers.clone(),
                    writer,
                    share: Arc::new(share),
                    waiting: Arc::new(Semaphore::new(MAX_PIPELINED)),
                    times,
                };
                tokio::spawn(async move {
                    tokio::select! {
                        _ = connection.run(reader) => {}
                        _ = evicted => closed(&shared, client.ip()),
                    }
                });
            }
            // The process has no free file descriptor, or the client has closed the connection. The pause avoids a busy
            // loop.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Counts and logs a connection that was closed because there are too many.
fn closed(shared: &Shared, client: IpAddr) {
    shared.metrics.common().connections_closed.add(1);
    shared.audit.over_quota(client, "a connection: too many are open");
}

/// One client's connection. Forwarded questions have their own tasks, which hold the writer and the slot.
struct Connection {
    client: IpAddr,
    shared: Arc<Shared>,
    transfers: Arc<Semaphore>,
    writer: Arc<Writer>,
    share: Arc<Share>,
    waiting: Arc<Semaphore>,
    times: Times,
}

impl Connection {
    async fn run(self, mut reader: OwnedReadHalf) -> io::Result<()> {
        let end = sleep(self.times.life);
        tokio::pin!(end);
        let (mut question, mut out, mut touched) = (Vec::new(), Vec::new(), Instant::now());
        loop {
            tokio::select! {
                // The lifetime ends between two messages. Replies in progress are still sent.
                () = &mut end => return Ok(()),
                read = next(&mut reader, &mut question, self.times.idle) => read?,
            }
            let since = Instant::now();
            if since.duration_since(touched) >= TOUCH_INTERVAL {
                self.share.touch(since);
                touched = since;
            }
            if !self.answer(&question, &mut out, since).await? {
                return Ok(());
            }
        }
    }

    /// Answers one message, or starts a task that does. Returns `false` if the connection is to be closed.
    async fn answer(&self, question: &[u8], out: &mut Vec<u8>, since: Instant) -> io::Result<bool> {
        let metrics = self.shared.metrics.common();
        metrics.queries(Transport::Tcp, 1);
        match self.shared.handle(question, self.client, Transport::Tcp, out) {
            // A client that sends malformed messages does not keep its connection.
            Disposition::Drop => return Ok(false),
            Disposition::Reply => {
                self.writer.send(out).await?;
                metrics.response(out);
                metrics.took(By::Zones, since.elapsed(), 1);
            }
            Disposition::Forward(limit, signer) => {
                let Ok(permit) = self.waiting.clone().acquire_owned().await else { return Ok(false) };
                let (shared, writer, client, draft) =
                    (self.shared.clone(), self.writer.clone(), self.client, out.clone());
                let work = Work::begin(&self.share);
                tokio::spawn(async move {
                    if let Some(reply) = shared.forward(&draft, limit, client, signer, since).await {
                        let _ = writer.send(&reply).await;
                    }
                    drop((work, permit));
                });
            }
            Disposition::Update(request, signed) => {
                let _work = Work::begin(&self.share);
                let (sender, reply) = oneshot::channel();
                self.shared.update(*request, signed, self.client, out.clone(), since, |reply| {
                    let _ = sender.send(reply);
                });
                // The server answers in order here: the next question on this connection sees the changes of this
                // update.
                let Ok(reply) = reply.await else { return Ok(false) };
                self.writer.send(&reply).await?;
            }
            Disposition::Transfer(transfer) => {
                let _work = Work::begin(&self.share);
                let Ok(_permit) = self.transfers.acquire().await else { return Ok(false) };
                metrics.transfer();
                send_parts(&self.writer, &self.shared, *transfer).await?;
            }
        }
        Ok(true)
    }
}

/// Reads the next message. Each of its two parts must arrive within `idle`.
async fn next(reader: &mut OwnedReadHalf, question: &mut Vec<u8>, idle: Duration) -> io::Result<()> {
    let length = timeout(idle, reader.read_u16()).await??;
    question.resize(usize::from(length), 0);
    timeout(idle, reader.read_exact(question)).await??;
    Ok(())
}

/// Marks the connection as busy until it is dropped.
struct Work(Arc<Share>);

impl Work {
    fn begin(share: &Arc<Share>) -> Self {
        share.begin();
        Self(share.clone())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.end(Instant::now());
    }
}

async fn send_parts(writer: &Writer, shared: &Arc<Shared>, mut transfer: Transfer) -> io::Result<()> {
    let shared = shared.clone();
    let collected = spawn_blocking(move || (transfer::parts(&shared.zones(), &transfer), transfer)).await;
    let Ok((Some(parts), collected)) = collected else { return Err(io::ErrorKind::NotFound.into()) };
    transfer = collected;
    for mut part in parts {
        transfer.signer.sign(&mut part, unix());
        writer.send(&part).await?;
    }
    Ok(())
}

/// The sending half of a connection. It sends one reply at a time.
struct Writer {
    half: Mutex<OwnedWriteHalf>,
    /// Whether sending failed. The client may have received a part of a reply.
    broken: AtomicBool,
    idle: Duration,
}

impl Writer {
    /// Sends the length and the message in one write, so that they share a packet (RFC 7766, section 8).
    async fn send(&self, reply: &[u8]) -> io::Result<()> {
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes(), reply].concat();
        let mut half = self.half.lock().await;
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // The flag is set before the write, because the task may be cancelled during it. After a part of a reply,
        // nothing else may follow.
        self.broken.store(true, Ordering::Relaxed);
        timeout(self.idle, half.write_all(&framed)).await??;
        self.broken.store(false, Ordering::Relaxed);
        Ok(())
    }
}
