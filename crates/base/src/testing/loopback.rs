//! Places on loopback that nobody else takes, for tests. What the kernel chooses for port 0 is free when it is asked for, and anybody's as
//! soon as it is given back: a program that is told where to listen is given one of these.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
};

/// Of this process: so many were given away.
static NEXT: AtomicU32 = AtomicU32::new(1);

fn next() -> u32 {
    std::process::id() << 8 | NEXT.fetch_add(1, Ordering::Relaxed) & 255
}

/// An address that nobody else on this machine uses: ports cannot collide there.
pub fn own_address() -> Ipv4Addr {
    let [_, a, b, c] = next().to_be_bytes();
    // Not 127.0.x.x, where everybody else is.
    Ipv4Addr::new(127, 1 + a % 200, b, c)
}

/// A port of 127.0.0.1, TCP and UDP, for what can listen nowhere else; below those that the kernel gives away by itself (ip(7),
/// `ip_local_port_range`).
pub fn own_port() -> u16 {
    loop {
        let port = 10_000 + (next() % 20_000) as u16;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return port;
        }
    }
}

/// An address of one's own, and a port that nobody has on all addresses either.
pub fn own_place() -> SocketAddr {
    (own_address(), own_port()).into()
}
