//! TCP (RFC 7766): many questions on one connection, answered as they are ready, idle connections closed.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::{Mutex, Semaphore, oneshot},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    handle::Action,
    metrics::By,
    reply::Transport,
    shared::Shared,
    store::unix,
    transfer::{self, Transfer},
};

/// A connection that asks nothing, or takes no answer, for this long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// Connections at a time on one address; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// Questions of one connection that wait for upstreams.
const MAX_PIPELINED: usize = 64;
/// Transfers at a time on one address: each holds a copy of its zone.
const MAX_TRANSFERS: usize = 4;

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
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let transfers = Arc::new(Semaphore::new(MAX_TRANSFERS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                let (shared, transfers) = (shared.clone(), transfers.clone());
                tokio::spawn(async move {
                    let _ = connection(stream, client.ip(), &shared, &transfers).await;
                    drop(place);
                });
            }
            // Out of file descriptors, or a client that left already: it passes, and must not spin until then.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, client: IpAddr, shared: &Arc<Shared>, transfers: &Semaphore) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let (mut reader, writer) = stream.into_split();
    let writer = Arc::new(Mutex::new(writer));
    let waiting = Arc::new(Semaphore::new(MAX_PIPELINED));
    let (mut question, mut out) = (Vec::new(), Vec::new());
    loop {
        let Ok(length) = timeout(IDLE, reader.read_u16()).await? else { return Ok(()) };
        question.resize(usize::from(length), 0);
        timeout(IDLE, reader.read_exact(&mut question)).await??;
        let since = Instant::now();
        let metrics = shared.metrics.common();
        metrics.queries(Transport::Tcp, 1);
        match shared.handle(&question, client, Transport::Tcp, &mut out) {
            // Whoever talks nonsense on a connection is not worth keeping it open for.
            Action::Drop => return Ok(()),
            Action::Reply => {
                send(&writer, &out).await?;
                metrics.response(&out);
                metrics.took(By::Zones, since.elapsed(), 1);
            }
            Action::Forward(limit, signer) => {
                let Ok(place) = waiting.clone().acquire_owned().await else { return Ok(()) };
                let (shared, writer, draft) = (shared.clone(), writer.clone(), out.clone());
                tokio::spawn(async move {
                    if let Some(reply) = shared.forward(&draft, limit, signer, since).await {
                        let _ = send(&writer, &reply).await;
                    }
                    drop(place);
                });
            }
            Action::Update(request, signed) => {
                let (sender, reply) = oneshot::channel();
                shared.update(*request, signed, client, out.clone(), since, |reply| {
                    let _ = sender.send(reply);
                });
                // In order: the next question on this connection sees what this update did.
                let Ok(reply) = reply.await else { return Ok(()) };
                send(&writer, &reply).await?;
            }
            Action::Transfer(transfer) => {
                let Ok(_place) = transfers.acquire().await else { return Ok(()) };
                metrics.transfer();
                send_parts(&writer, shared, *transfer).await?;
            }
        }
    }
}

async fn send_parts(writer: &Mutex<OwnedWriteHalf>, shared: &Arc<Shared>, mut transfer: Transfer) -> io::Result<()> {
    let shared = shared.clone();
    let collected = spawn_blocking(move || (transfer::parts(&shared.zones(), &transfer), transfer)).await;
    let Ok((Some(parts), collected)) = collected else { return Err(io::ErrorKind::NotFound.into()) };
    transfer = collected;
    for mut part in parts {
        transfer.signer.sign(&mut part, unix());
        send(writer, &part).await?;
    }
    Ok(())
}

/// Length and message in one write, so that they share a packet (RFC 7766, section 8).
async fn send(writer: &Mutex<OwnedWriteHalf>, reply: &[u8]) -> io::Result<()> {
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), reply].concat();
    let mut writer = writer.lock().await;
    timeout(IDLE, writer.write_all(&framed)).await?
}
