//! Serves `/metrics` over HTTP. The number and the time of its connections are limited, so that its clients cannot slow
//! the DNS service.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::{
    metrics::text::{self, Zone},
    shared::Shared,
    wire,
};

/// The maximum number of connections. More connections wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16;
/// The time in which a request must be complete.
const MAX_REQUEST: Duration = Duration::from_secs(5);
/// The maximum lifetime of a connection, used or not. Prometheus then opens another one.
const MAX_LIFE: Duration = Duration::from_secs(120);

/// Opens a listener on `address`.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    super::tcp::bind(address)
}

/// Accepts connections, without end.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let _ = timeout(MAX_LIFE, connection(stream, shared)).await;
                    drop(slot);
                });
            }
            // The process has no free file descriptor, or the client has closed the connection. The pause avoids a busy
            // loop.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) -> hyper::Result<()> {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(respond(&request, &shared))));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(MAX_REQUEST)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn respond(request: &Request<Incoming>, shared: &Shared) -> Response<String> {
    let mut response = Response::new(String::new());
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = "there is only /metrics\n".into();
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("it is a header's value"));
    } else {
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        response.headers_mut().insert(CONTENT_TYPE, kind.parse().expect("it is a header's value"));
        *response.body_mut() = text::write(&shared.metrics, &zones(shared), &shared.build);
    }
    response
}

fn zones(shared: &Shared) -> Vec<Zone> {
    let zones = shared.zones();
    let one =
        |zone: &super::zones::Apex| Zone { name: wire::text(&zone.name), serial: zone.serial(), names: zone.names };
    zones.apexes().iter().map(one).collect()
}
