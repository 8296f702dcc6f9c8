//! Addresses and ports on loopback for tests. A port that the kernel chooses for port 0 is free only until the test
//! closes its socket: then any process can take it. A program under test that needs a fixed address gets one from this
//! module.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
};

/// The number of addresses that this process has given away.
static NEXT: AtomicU32 = AtomicU32::new(1);

fn next() -> u32 {
    std::process::id() << 8 | NEXT.fetch_add(1, Ordering::Relaxed) & 255
}

/// Returns an address that no other process on this machine uses, so ports cannot collide there.
pub fn own_address() -> Ipv4Addr {
    let [_, a, b, c] = next().to_be_bytes();
    // Other programs use 127.0.x.x.
    Ipv4Addr::new(127, 1 + a % 200, b, c)
}

/// Returns a port of 127.0.0.1 that is free for TCP and UDP, for a program that can listen nowhere else. It lies below
/// the ports that the kernel chooses itself (ip(7), `ip_local_port_range`).
pub fn own_port() -> u16 {
    loop {
        let port = 10_000 + (next() % 20_000) as u16;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return port;
        }
    }
}

/// Returns an address from [`own_address`], with a port that is also free on 127.0.0.1.
pub fn own_place() -> SocketAddr {
    (own_address(), own_port()).into()
}
