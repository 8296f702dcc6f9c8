//! TCP (RFC 7766): many questions on one connection, answered as they are ready. A connection that asks nothing is closed (section 6.2.3),
//! one that lives long, too, and the one that was idle for the longest time when there are no more places (section 6.5; RFC 9210,
//! section 4.2): no client can keep the others out.

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

/// Connections at a time on one address.
const MAX_CONNECTIONS: usize = 512;
/// Of one client.
const MAX_OF_CLIENT: usize = 64;
/// A connection that did something within this time is not closed for another one of the same right.
const YOUNG: Duration = Duration::from_secs(1);
/// How often it is noted that a connection is used.
const NOTED: Duration = Duration::from_millis(100);
/// Questions of one connection that wait for upstreams.
const MAX_PIPELINED: usize = 64;
/// Transfers at a time on one address: each holds a copy of its zone.
const MAX_TRANSFERS: usize = 4;

/// How long connections may be open.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A connection that asks nothing, or takes no answer, for this long is closed.
    pub idle: Duration,
    /// Whatever it does, it is closed after this time, as soon as all that it asked is answered. A client opens another one.
    pub life: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { idle: Duration::from_secs(10), life: Duration::from_secs(300) }
    }
}

/// A listener on `address`; without SO_REUSEPORT, so that a second server on the same port is an error.
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

/// Accepts for ever.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, times: Times) {
    let places = Shares::new(Limits { all: MAX_CONNECTIONS, each: MAX_OF_CLIENT, young: YOUNG });
    let transfers = Arc::new(Semaphore::new(MAX_TRANSFERS));
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let Some((share, gone)) = places.take(client.ip(), Instant::now()) else {
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
                        _ = gone => closed(&shared, client.ip()),
                    }
                });
            }
            // Out of file descriptors, or a client that left already: it passes, and must not spin until then.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A connection is closed for want of a place.
fn closed(shared: &Shared, client: IpAddr) {
    shared.metrics.common().connections_closed.add(1);
    shared.audit.over_quota(client, "a connection: too many are open");
}

/// One client's connection. What is asked upstream goes on in tasks of its own, which hold the writer and the place.
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
        let (mut question, mut out, mut noted) = (Vec::new(), Vec::new(), Instant::now());
        loop {
            tokio::select! {
                // Between two messages: what was asked is still answered.
                () = &mut end => return Ok(()),
                read = next(&mut reader, &mut question, self.times.idle) => read?,
            }
            let since = Instant::now();
            if since.duration_since(noted) >= NOTED {
                self.share.touch(since);
                noted = since;
            }
            if !self.answer(&question, &mut out, since).await? {
                return Ok(());
            }
        }
    }

    /// Answers one message, or has it answered. `false`: the connection is to be closed.
    async fn answer(&self, question: &[u8], out: &mut Vec<u8>, since: Instant) -> io::Result<bool> {
        let metrics = self.shared.metrics.common();
        metrics.queries(Transport::Tcp, 1);
        match self.shared.handle(question, self.client, Transport::Tcp, out) {
            // Whoever talks nonsense on a connection is not worth keeping it open for.
            Disposition::Drop => return Ok(false),
            Disposition::Reply => {
                self.writer.send(out).await?;
                metrics.response(out);
                metrics.took(By::Zones, since.elapsed(), 1);
            }
            Disposition::Forward(limit, signer) => {
                let Ok(place) = self.waiting.clone().acquire_owned().await else { return Ok(false) };
                let (shared, writer, client, draft) =
                    (self.shared.clone(), self.writer.clone(), self.client, out.clone());
                let work = Work::begin(&self.share);
                tokio::spawn(async move {
                    if let Some(reply) = shared.forward(&draft, limit, client, signer, since).await {
                        let _ = writer.send(&reply).await;
                    }
                    drop((work, place));
                });
            }
            Disposition::Update(request, signed) => {
                let _work = Work::begin(&self.share);
                let (sender, reply) = oneshot::channel();
                self.shared.update(*request, signed, self.client, out.clone(), since, |reply| {
                    let _ = sender.send(reply);
                });
                // In order: the next question on this connection sees what this update did.
                let Ok(reply) = reply.await else { return Ok(false) };
                self.writer.send(&reply).await?;
            }
            Disposition::Transfer(transfer) => {
                let _work = Work::begin(&self.share);
                let Ok(_place) = self.transfers.acquire().await else { return Ok(false) };
                metrics.transfer();
                send_parts(&self.writer, &self.shared, *transfer).await?;
            }
        }
        Ok(true)
    }
}

/// Reads the next message, whole within `idle`.
async fn next(reader: &mut OwnedReadHalf, question: &mut Vec<u8>, idle: Duration) -> io::Result<()> {
    let length = timeout(idle, reader.read_u16()).await??;
    question.resize(usize::from(length), 0);
    timeout(idle, reader.read_exact(question)).await??;
    Ok(())
}

/// As long as it is there, the connection is not closed for another one.
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

/// The way back, for one reply at a time.
struct Writer {
    half: Mutex<OwnedWriteHalf>,
    /// The client takes nothing any more, or took a part of a reply.
    broken: AtomicBool,
    idle: Duration,
}

impl Writer {
    /// Length and message in one write, so that they share a packet (RFC 7766, section 8).
    async fn send(&self, reply: &[u8]) -> io::Result<()> {
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes(), reply].concat();
        let mut half = self.half.lock().await;
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // Also where the connection is closed in the middle of it: nothing may follow a part of a reply.
        self.broken.store(true, Ordering::Relaxed);
        timeout(self.idle, half.write_all(&framed)).await??;
        self.broken.store(false, Ordering::Relaxed);
        Ok(())
    }
}
