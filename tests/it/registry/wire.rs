//! The wire to a registry: counts what passes, and can break.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use lap::wire::client::Dial;
use lap_base::{Error, Kind};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
};

const NEVER: u64 = u64::MAX;

/// What happens when so many bytes have passed.
#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    /// That connection breaks; others go on. [`Wire::stopped`] returns.
    Breaks,
    /// Nothing passes any more, on none of them, as for a process that is killed. [`Wire::stopped`] returns.
    Stops,
}

/// All connections to one registry.
#[derive(Default)]
pub struct Wire {
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// Bytes to the registry, and from it, after which something happens.
    at: [AtomicU64; 2],
    breaks: AtomicBool,
    is_stopped: AtomicBool,
    stopped: Notify,
}

impl Wire {
    pub fn new() -> Arc<Self> {
        let wire = Self::default();
        wire.at.iter().for_each(|at| at.store(NEVER, Ordering::Relaxed));
        Arc::new(wire)
    }

    /// After `bytes` more to the registry.
    pub fn on_sent(&self, bytes: u64, then: Then) {
        self.at[0].store(self.sent.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
        self.breaks.store(then == Then::Breaks, Ordering::Relaxed);
    }

    /// After `bytes` more from it.
    pub fn on_received(&self, bytes: u64, then: Then) {
        self.at[1].store(self.received.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
        self.breaks.store(then == Then::Breaks, Ordering::Relaxed);
    }

    /// Returns when it happened.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// Streams to this place, over this wire.
    pub fn dial(self: &Arc<Self>, environment: &'static str, at: SocketAddr) -> Dial {
        let wire = self.clone();
        Arc::new(move || {
            let wire = wire.clone();
            Box::pin(async move {
                let stream = TcpStream::connect(at).await;
                let stream = stream.map_err(|error| {
                    Error::new(Kind::Node, format!("{environment}: the registry does not answer: {error}"))
                })?;
                Ok(Box::new(Counted { stream, wire }) as Box<_>)
            })
        })
    }

    fn passed(&self, way: usize, bytes: u64) -> io::Result<()> {
        let count = if way == 0 { &self.sent } else { &self.received };
        if count.fetch_add(bytes, Ordering::Relaxed) + bytes < self.at[way].load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.at[way].swap(NEVER, Ordering::Relaxed) == NEVER {
            return Ok(());
        }
        self.stopped.notify_one();
        if self.breaks.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.is_stopped.store(true, Ordering::Relaxed);
        Ok(())
    }
}

struct Counted {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.wire.is_stopped.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.wire.passed(1, (buf.filled().len() - before) as u64))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.wire.is_stopped.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let wrote = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        Poll::Ready(self.wire.passed(0, wrote as u64).map(|()| wrote))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
