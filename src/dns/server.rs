//! The server as a whole: what it serves, its sockets, its life.

#![expect(clippy::print_stderr, reason = "a daemon's log is its stderr")]

use std::{
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::UNIX_EPOCH,
};

use arc_swap::ArcSwap;
use tokio::{net::TcpListener, runtime::Handle, task::JoinSet};

use super::{forward::Forwarder, load, reply::Transport, tcp, udp, watch::Watch, wire, zones::Zones};
use crate::{Error, Kind, OrError, Result, names::Names};

/// How the server is started.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// UDP and TCP on each. Addresses by name: an answer must leave from the address that was asked.
    pub listen: Vec<SocketAddr>,
    /// The directory of `names.json`, which whoever writes it replaces by renaming.
    pub names_dir: PathBuf,
    /// The file of keys ([`super::KeyFile`]), which whoever writes it replaces by renaming. `None`: nobody may change or
    /// transfer anything.
    pub keys: Option<PathBuf>,
    /// Where dynamic names are kept: part of a snapshot.
    pub data_dir: Option<PathBuf>,
    /// Where the mark is kept below which no serial may fall: not part of a snapshot.
    pub state_dir: Option<PathBuf>,
    /// Where metrics are served over HTTP.
    pub metrics: Option<SocketAddr>,
}

/// Everything an answer is made from, replaced as a whole.
pub(super) struct Serving {
    pub zones: Zones,
    /// `None`: there are no upstreams.
    pub forward: Option<Arc<Forwarder>>,
    names: Names,
    serial: u32,
}

/// What is served now.
pub(super) type Shared = Arc<ArcSwap<Serving>>;

impl Serving {
    /// Reads `file`. The serial is the time the file was written, and always above the one before; with the same upstreams
    /// the cache stays. `own`: where this server listens, which is not an upstream even if the file says so.
    pub fn load(file: &Path, own: &[SocketAddr], before: Option<&Self>) -> Result<Self> {
        let mut names = load::read(file)?;
        names.upstreams.retain(|upstream| {
            let other = !own.contains(upstream);
            if !other {
                say(&format!("upstream `{upstream}` is this server itself: left out"));
            }
            other
        });
        let written = std::fs::metadata(file).ok().and_then(|m| m.modified().ok());
        let written = written.and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(1, |t| t.as_secs() as u32);
        let serial = match before {
            Some(before) if before.names == names => before.serial,
            Some(before) => written.max(before.serial.wrapping_add(1)),
            None => written,
        };
        let zones = load::zones(&names, serial)?;
        let forward = match before {
            Some(before) if before.names.upstreams == names.upstreams => before.forward.clone(),
            _ if names.upstreams.is_empty() => None,
            _ => Some(Arc::new(Forwarder::new(&names.upstreams)?)),
        };
        Ok(Self { zones, forward, names, serial })
    }

    /// For the log.
    pub fn summary(&self) -> String {
        let (names, zones) = self.zones.counts();
        let Self { serial, names: Names { zone, upstreams, .. }, .. } = self;
        format!("`{zone}` serial {serial}, names: {names}, zones: {zones}, upstreams: {}", upstreams.len())
    }
}

/// How long the reply to a question that goes to the upstreams may be.
pub(super) fn draft_limit(question: &[u8], transport: Transport) -> usize {
    transport.limit(wire::parse(question).ok().and_then(|q| q.edns))
}

/// One line of talk. The server runs alone in its container: its standard error is the log.
pub(super) fn say(line: &str) {
    eprintln!("dns: {line}");
}

/// A server whose sockets are bound.
pub struct Server {
    addresses: Vec<SocketAddr>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    serving: Shared,
    watch: Watch,
}

impl Server {
    /// Reads the names and binds every address, or says which one cannot be had. Port 0 takes a free one.
    pub async fn bind(options: &ServeOptions) -> Result<Self> {
        let file = options.names_dir.join("names.json");
        let watch = Watch::new(file.clone(), options.listen.clone());
        let serving = Serving::load(&file, &options.listen, None)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let mut server = Self {
            addresses: vec![],
            udp: vec![],
            tcp: vec![],
            serving: Arc::new(ArcSwap::from_pointee(serving)),
            watch,
        };
        for address in &options.listen {
            server.bind_one(*address, threads)?;
        }
        Ok(server)
    }

    fn bind_one(&mut self, address: SocketAddr, threads: usize) -> Result<()> {
        if address.ip().is_unspecified() {
            let why = format!("cannot listen on `{address}`: answers could leave from another address than was asked");
            return Err(Error::new(Kind::Usage, why).hint("name each address to listen on"));
        }
        let hint = "another name server may run there: `ss -lnutp` shows it";
        let failed = |protocol: &str| format!("cannot listen on `{address}` ({protocol})");
        // TCP first: it is exclusive, whereas a second server of ours could share the UDP port unnoticed.
        let tcp = tcp::bind(address).or_error(Kind::Host, || failed("TCP")).map_err(|e| e.hint(hint))?;
        let address = tcp.local_addr().or_error(Kind::Host, || failed("TCP"))?;
        for _ in 0..threads {
            let socket = udp::bind(address).or_error(Kind::Host, || failed("UDP")).map_err(|e| e.hint(hint))?;
            self.udp.push(socket);
        }
        self.tcp.push(tcp);
        self.addresses.push(address);
        Ok(())
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Says that it is ready, and answers until `shutdown` is done.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Self { addresses, udp, tcp, serving, watch } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for socket in udp {
            let (serving, runtime, stop) = (serving.clone(), Handle::current(), stop.clone());
            let thread = std::thread::Builder::new().name("dns-udp".into());
            let thread = thread.spawn(move || udp::serve(socket, &serving, &runtime, &stop));
            threads.push(thread.or_error(Kind::Host, || "cannot start a thread".into())?);
        }
        let mut tasks = JoinSet::new();
        for listener in tcp {
            tasks.spawn(tcp::serve(listener, serving.clone()));
        }
        let list: Vec<_> = addresses.iter().map(|a| format!("`{a}`")).collect();
        say(&format!("ready on {}: {}", list.join(", "), serving.load().summary()));
        tasks.spawn(watch.follow(serving));

        shutdown.await;
        stop.store(true, Ordering::Relaxed);
        tasks.shutdown().await;
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(|t| t.join()));
        match joined.await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::new(Kind::Other, "a thread of the name server ended with a panic")),
        }
    }
}

/// Binds, says on one line of standard error that it is ready, and serves until `shutdown` is done.
pub async fn serve(options: ServeOptions, shutdown: impl Future<Output = ()>) -> Result<()> {
    Server::bind(&options).await?.run(shutdown).await
}
