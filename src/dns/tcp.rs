//! TCP (RFC 7766): many questions on one connection, answered as they are ready, idle connections closed.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::{Mutex, Semaphore},
    time::timeout,
};

use super::{
    answer::{Verdict, answer},
    reply::Transport,
    server::{Shared, draft_limit},
};

/// A connection that asks nothing, or takes no answer, for this long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// Connections at a time on one address; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// Questions of one connection that wait for upstreams.
const MAX_PIPELINED: usize = 64;

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
pub async fn serve(listener: TcpListener, serving: Shared) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let _ = connection(stream, serving).await;
                    drop(place);
                });
            }
            // Out of file descriptors, or a client that left already: it passes, and must not spin until then.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, serving: Shared) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let (mut reader, writer) = stream.into_split();
    let writer = Arc::new(Mutex::new(writer));
    let waiting = Arc::new(Semaphore::new(MAX_PIPELINED));
    let (mut question, mut out) = (Vec::new(), Vec::new());
    loop {
        let Ok(length) = timeout(IDLE, reader.read_u16()).await? else { return Ok(()) };
        question.resize(usize::from(length), 0);
        timeout(IDLE, reader.read_exact(&mut question)).await??;
        let now = serving.load_full();
        match answer(&now.zones, now.forward.is_some(), &question, Transport::Tcp, &mut out) {
            // Whoever talks nonsense on a connection is not worth keeping it open for.
            Verdict::Drop => return Ok(()),
            Verdict::Reply => send(&writer, &out).await?,
            Verdict::Forward => {
                let Some(forward) = now.forward.clone() else { return Ok(()) };
                let Ok(place) = waiting.clone().acquire_owned().await else { return Ok(()) };
                let (writer, draft) = (writer.clone(), out.clone());
                let limit = draft_limit(&question, Transport::Tcp);
                tokio::spawn(async move {
                    let reply = forward.complete(&draft, limit).await;
                    let _ = send(&writer, &reply).await;
                    drop(place);
                });
            }
        }
    }
}

/// Length and message in one write, so that they share a packet (RFC 7766, section 8).
async fn send(writer: &Mutex<OwnedWriteHalf>, reply: &[u8]) -> io::Result<()> {
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), reply].concat();
    let mut writer = writer.lock().await;
    timeout(IDLE, writer.write_all(&framed)).await?
}
