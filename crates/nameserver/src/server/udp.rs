//! UDP. Each thread has its own socket, and SO_REUSEPORT lets the kernel distribute the clients. A thread receives up
//! to [`BATCH`] messages with one system call and answers them together. Under load, they share system calls and locks.
//! A single message is answered at once. Forwarded questions go to the async runtime.

use std::{
    io::{ErrorKind, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use tokio::runtime::Handle;

use super::{
    handle::{Disposition, RequestContext, handle},
    limit::LimitVerdict,
    metrics::{By, Shard},
    reply::{Transport, truncate},
    shared::Shared,
    store::unix,
    transfer,
};

/// The interval at which an idle thread checks whether the server stops.
const IDLE_TIMEOUT: Duration = Duration::from_millis(200);
/// The maximum size of a question. A longer message is cut off, and therefore malformed.
const MAX_QUESTION: usize = 4096;
/// The distance between two questions in the buffer. It is not a power of two, because then all questions would begin
/// in the same few lines of the processor's cache.
const STRIDE: usize = MAX_QUESTION + 192;
/// The number of messages in a batch. A larger one would save nothing more, and the first messages would wait for the
/// last.
const BATCH: usize = 16;

/// Opens one socket of a group on `address`.
pub fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    // A large buffer keeps a burst while the threads wait for a processor. The kernel may grant less.
    let _ = socket.set_recv_buffer_size(4 << 20);
    let _ = socket.set_send_buffer_size(4 << 20);
    socket.set_read_timeout(Some(IDLE_TIMEOUT))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Answers until `stop` is set. `thread` selects the shard of the metrics. If a bug causes a panic, one question is
/// lost, but the socket stays open.
pub fn serve(socket: UdpSocket, shared: &Arc<Shared>, runtime: &Handle, stop: &AtomicBool, thread: usize) {
    let server = Server { socket: Arc::new(socket), shared, runtime, thread };
    while !stop.load(Ordering::Relaxed) {
        let _ = catch_unwind(AssertUnwindSafe(|| server.answer_all(stop)));
    }
}

struct Server<'a> {
    socket: Arc<UdpSocket>,
    shared: &'a Arc<Shared>,
    runtime: &'a Handle,
    thread: usize,
}

/// The sender of a message, or the receiver of a reply.
type Peer = Option<SockaddrStorage>;

/// The finished replies to one batch.
struct Replies {
    bytes: Vec<Vec<u8>>,
    to: [Peer; BATCH],
    count: usize,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Server<'_> {
    fn answer_all(&self, stop: &AtomicBool) {
        let metrics = self.shared.metrics.shard(self.thread);
        let mut questions = vec![0; BATCH * STRIDE];
        let mut headers = MultiHeaders::preallocate(BATCH, None);
        let mut arrived: Vec<(usize, Peer)> = Vec::with_capacity(BATCH);
        let mut replies = Replies::new();
        // Messages that need more than a reply.
        let mut later: Vec<(Disposition, SocketAddr, Vec<u8>)> = Vec::new();
        // The flag is read in each round, because under load there is no pause.
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = receive(&self.socket, &mut headers, &mut questions, &mut arrived) {
                if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) {
                    // There is no memory, or the interface has disappeared. The pause avoids a busy loop.
                    std::thread::sleep(Duration::from_millis(10));
                }
                continue;
            }
            let since = Instant::now();
            metrics.queries(Transport::Udp, arrived.len());
            self.shared.with_rules(|rules| {
                for (message, (length, peer)) in questions.chunks(STRIDE).zip(&arrived) {
                    let Some(client) = peer.as_ref().and_then(address) else { continue };
                    let out = &mut replies.bytes[replies.count];
                    let decide = || handle(rules, &message[..*length], client.ip(), Transport::Udp, out);
                    match catch_unwind(AssertUnwindSafe(decide)) {
                        Ok(Disposition::Reply) if self.may_send(rules, metrics, client.ip(), since, out) => {
                            metrics.response(out);
                            replies.to[replies.count] = *peer;
                            replies.count += 1;
                        }
                        Ok(Disposition::Reply | Disposition::Drop) | Err(_) => {}
                        Ok(action) => later.push((action, client, out.clone())),
                    }
                }
            });
            let count = replies.count;
            replies.send(&self.socket);
            if count > 0 {
                metrics.took(By::Zones, since.elapsed(), count);
            }
            later.drain(..).for_each(|(action, client, draft)| self.act(action, client, draft, since));
        }
    }

    /// Returns whether a reply may be sent. Above the rate for clients outside, a reply is sent without its records, or
    /// not at all.
    fn may_send(
        &self,
        rules: RequestContext,
        metrics: &Shard,
        client: IpAddr,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        if rules.clients.contains(client) {
            return true;
        }
        match self.shared.limit.check(client, now.duration_since(self.shared.started)) {
            LimitVerdict::Send => return true,
            LimitVerdict::Slip if truncate(out) => {
                metrics.slipped.add(1);
                return true;
            }
            LimitVerdict::Slip | LimitVerdict::Drop => metrics.dropped.add(1),
        }
        false
    }

    fn act(&self, action: Disposition, client: SocketAddr, draft: Vec<u8>, since: Instant) {
        let (socket, shared) = (self.socket.clone(), self.shared.clone());
        match action {
            Disposition::Drop | Disposition::Reply => {}
            Disposition::Forward(limit, signer) => {
                self.runtime.spawn(async move {
                    if let Some(reply) = shared.forward(&draft, limit, client.ip(), signer, since).await {
                        let _ = socket.send_to(&reply, client);
                    }
                });
            }
            Disposition::Update(request, signed) => {
                self.shared.update(*request, signed, client.ip(), draft, since, move |reply| {
                    let _ = socket.send_to(&reply, client);
                });
            }
            Disposition::Transfer(mut transfer) => {
                let parts = transfer::parts(&shared.zones(), &transfer);
                if let Some(mut part) = parts.and_then(|parts| parts.into_iter().next()) {
                    transfer.signer.sign(&mut part, unix());
                    let _ = socket.send_to(&part, client);
                    shared.metrics.shard(self.thread).transfer();
                }
            }
        }
    }
}

fn address(peer: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = |a: &nix::sys::socket::SockaddrIn| SocketAddr::new(a.ip().into(), a.port());
    let v6 = |a: &nix::sys::socket::SockaddrIn6| SocketAddr::V6((*a).into());
    peer.as_sockaddr_in().map(v4).or_else(|| peer.as_sockaddr_in6().map(v6))
}

/// Waits for a message, and receives all messages that have arrived with it. Stores their lengths and senders in
/// `arrived`.
fn receive(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    questions: &mut [u8],
    arrived: &mut Vec<(usize, Peer)>,
) -> std::io::Result<()> {
    arrived.clear();
    let mut places = questions.chunks_mut(STRIDE).map(|chunk| [IoSliceMut::new(&mut chunk[..MAX_QUESTION])]);
    let mut slices: [_; BATCH] = std::array::from_fn(|_| places.next().unwrap_or([IoSliceMut::new(&mut [])]));
    // The flag makes the call wait for one message, and not for all.
    let received = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
    arrived.extend(received.map(|message| (message.bytes, message.address)));
    Ok(())
}

impl Replies {
    fn new() -> Self {
        Self {
            bytes: (0..BATCH).map(|_| Vec::with_capacity(MAX_QUESTION)).collect(),
            to: [None; BATCH],
            count: 0,
            headers: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Sends all replies. A reply that cannot be sent is skipped, like a packet that is lost in the network.
    fn send(&mut self, socket: &UdpSocket) {
        let slices: [_; BATCH] = std::array::from_fn(|i| [IoSlice::new(&self.bytes[i])]);
        let mut next = 0;
        while next < self.count {
            let (rest, to) = (slices[next..self.count].iter(), &self.to[next..self.count]);
            next += match sendmmsg(socket.as_raw_fd(), &mut self.headers, rest, to, [], MsgFlags::empty()) {
                // `sendmmsg` stops before a reply that fails. The next call then returns the error.
                Ok(sent) => sent.count().max(1),
                Err(_) => 1,
            };
        }
        self.count = 0;
    }
}
