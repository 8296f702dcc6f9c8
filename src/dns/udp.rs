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

use super::{handle::Action, reply::Transport, shared::Shared, store::unix, transfer};

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
pub fn serve(socket: UdpSocket, shared: &Arc<Shared>, runtime: &Handle, stop: &AtomicBool) {
    let socket = Arc::new(socket);
    while !stop.load(Ordering::Relaxed) {
        let _ = catch_unwind(AssertUnwindSafe(|| answer_all(&socket, shared, runtime, stop)));
    }
}

fn answer_all(socket: &Arc<UdpSocket>, shared: &Arc<Shared>, runtime: &Handle, stop: &AtomicBool) {
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
        let action = shared.handle(&shared.zones(), &question[..length], client.ip(), Transport::Udp, &mut out);
        act(action, socket, shared, runtime, client, &mut out);
        // Looked at here too: under load there is never a pause.
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn act(
    action: Action,
    socket: &Arc<UdpSocket>,
    shared: &Arc<Shared>,
    runtime: &Handle,
    client: SocketAddr,
    out: &mut Vec<u8>,
) {
    match action {
        Action::Drop => {}
        Action::Reply => {
            let _ = socket.send_to(out, client);
        }
        Action::Forward(limit, signer) => {
            let Some(forward) = shared.policy.load().forward.clone() else { return };
            let (socket, draft) = (socket.clone(), out.clone());
            runtime.spawn(async move {
                let mut reply = forward.complete(&draft, limit).await;
                if let Some(mut signer) = signer {
                    signer.sign(&mut reply, unix());
                }
                let _ = socket.send_to(&reply, client);
            });
        }
        Action::Update(request, signed) => {
            let socket = socket.clone();
            shared.update(*request, signed, client.ip(), out.clone(), move |reply| {
                let _ = socket.send_to(&reply, client);
            });
        }
        Action::Transfer(mut transfer) => {
            let parts = transfer::parts(&shared.zones(), &transfer);
            if let Some(mut part) = parts.and_then(|parts| parts.into_iter().next()) {
                transfer.signer.sign(&mut part, unix());
                let _ = socket.send_to(&part, client);
            }
        }
    }
}
