//! A TCP stream that acknowledges at once.
//!
//! sshd does not turn Nagle's algorithm (RFC 896) off before a session is interactive: its second small packet waits
//! for our acknowledgement of the first, which the kernel holds back for 40 ms in the hope of data to send along. A
//! handshake has two such places. `TCP_QUICKACK` (tcp(7)) is not permanent, so it is set again after each read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The stream.
pub struct QuickAck(TcpStream);

impl QuickAck {
    /// Takes a connected stream over.
    pub fn new(stream: TcpStream) -> Self {
        let this = Self(stream);
        this.at_once();
        this
    }

    fn at_once(&self) {
        // Only slower without.
        let _ = SockRef::from(&self.0).set_tcp_quickack(true);
    }
}

impl AsyncRead for QuickAck {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        if read.is_ready() {
            self.at_once();
        }
        read
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
