//! UDP: plain threads, each with its own socket (SO_REUSEPORT lets the kernel spread the clients), so that a local answer
//! costs two system calls and no scheduling. What has to be asked elsewhere goes to the async runtime.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    answer::{Verdict, answer},
    reply::Transport,
    server::{Shared, draft_limit},
};

/// How often a thread that hears nothing looks whether it should end.
const NAP: Duration = Duration::from_millis(200);
/// More than any question needs; what is longer is cut off, hence malformed.
const MAX_QUESTION: usize = 4096;

/// One socket of a group on `address`.
pub fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    // A burst while the threads wait for a processor should wait, not be lost; less than asked for is fine.
    let _ = socket.set_recv_buffer_size(4 << 20);
    let _ = socket.set_send_buffer_size(4 << 20);
    socket.set_read_timeout(Some(NAP))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Answers until `stop`. A bug that panics costs its one question, never the socket.
pub fn serve(socket: UdpSocket, serving: &Shared, runtime: &Handle, stop: &AtomicBool) {
    let socket = Arc::new(socket);
    while !stop.load(Ordering::Relaxed) {
        let _ = catch_unwind(AssertUnwindSafe(|| answer_all(&socket, serving, runtime, stop)));
    }
}

fn answer_all(socket: &Arc<UdpSocket>, serving: &Shared, runtime: &Handle, stop: &AtomicBool) {
    let mut question = [0; MAX_QUESTION];
    let mut out = Vec::with_capacity(usize::from(u16::MAX));
    loop {
        let (length, client) = match socket.recv_from(&mut question) {
            Ok(received) => received,
            Err(e) => {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) {
                    // Out of memory, an interface that went away: it passes, and must not spin until then.
                    std::thread::sleep(Duration::from_millis(10));
                }
                continue;
            }
        };
        let question = &question[..length];
        let now = serving.load();
        match answer(&now.zones, now.forward.is_some(), question, Transport::Udp, &mut out) {
            Verdict::Drop => {}
            Verdict::Reply => {
                let _ = socket.send_to(&out, client);
            }
            Verdict::Forward => {
                let Some(forward) = now.forward.clone() else { continue };
                let (socket, draft) = (socket.clone(), out.clone());
                let limit = draft_limit(question, Transport::Udp);
                runtime.spawn(async move {
                    let reply = forward.complete(&draft, limit).await;
                    let _ = socket.send_to(&reply, client);
                });
            }
        }
        // Looked at here too: under load there is never a pause.
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}
