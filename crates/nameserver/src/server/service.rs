//! The server as a whole: its sockets, its threads, its start and its end.

use std::{
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use lap_base::{Error, Kind, OrError, Result};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::Notify,
    task::{JoinSet, spawn_blocking},
};

use super::{
    audit::Audit,
    keyring::Keyring,
    limit::Limit,
    load,
    metrics::Metrics,
    notify, scrape,
    shared::{AnswerPolicy, Shared, summary},
    store::{Store, StoreDirectories, StoreJob},
    tcp, udp,
    watch::FileWatch,
};

/// The maximum number of updates that wait for the disk. Further updates get SERVFAIL.
const MAX_WAITING: usize = 8192;

/// The settings of a server.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// The addresses for UDP and TCP. They must be specific addresses, because a reply must have the source address
    /// that the question was sent to.
    pub listen: Vec<SocketAddr>,
    /// The directory of `names.json`. A new version replaces the file by a rename.
    pub names_dir: PathBuf,
    /// The file of keys ([`crate::keys::KeyFile`]). A new version replaces the file by a rename. `None` means that no
    /// client may update or transfer a zone.
    pub keys: Option<PathBuf>,
    /// The directory of the dynamic names. It is part of a snapshot. `None` means that every update
    /// is refused.
    pub data_dir: Option<PathBuf>,
    /// The directory of the mark below which no serial may fall. It must not be part of a snapshot.
    pub state_dir: Option<PathBuf>,
    /// The address on which metrics are served over HTTP.
    pub metrics: Option<SocketAddr>,
    /// The value of the label that the metric `build_info` shows for this program.
    pub build: String,
}

/// A server with bound sockets that does not answer yet.
pub struct Server {
    addresses: Vec<SocketAddr>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    metrics: Option<TcpListener>,
    shared: Arc<Shared>,
    store: Store,
    jobs: Receiver<StoreJob>,
    changed: Arc<Notify>,
    watches: Vec<FileWatch>,
    summary: String,
    times: tcp::Times,
}

impl Server {
    /// Reads the names, restores the dynamic names, and binds every address. Port 0 selects a free port.
    ///
    /// # Errors
    /// - [`Kind::Config`]: `names.json` is not valid.
    /// - [`Kind::Host`]: an address cannot be bound.
    /// - [`Kind::Usage`]: an address is unspecified (`0.0.0.0`).
    /// - The journal of the dynamic names cannot be opened.
    pub async fn bind(options: &ServeOptions) -> Result<Self> {
        let audit = Arc::new(Audit::default());
        let file = options.names_dir.join("names.json");
        let mut watches = vec![FileWatch::names(file.clone())];
        let names = load::read(&file)?;
        let zones = load::zones(&names, 1)?;
        let keys = match &options.keys {
            None => Keyring::default(),
            Some(file) => {
                watches.push(FileWatch::keys(file.clone()));
                Keyring::read(file).unwrap_or_else(|e| {
                    // The server answers for its names even if the keys cannot be read.
                    audit.say(&format!("{e}; the server refuses updates and transfers until it can read the file"));
                    Keyring::default()
                })
            }
        };
        // The sockets are bound before the journal is opened, so a second server on the same address fails without
        // touching the journal.
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let (mut addresses, mut udp, mut tcp) = (vec![], vec![], vec![]);
        for address in &options.listen {
            bind_one(*address, threads, &mut addresses, &mut udp, &mut tcp)?;
        }
        let metrics = Arc::new(Metrics::new(udp.len()));
        let cannot = |address: SocketAddr| format!("cannot listen on `{address}` (metrics)");
        let metrics_listener = match options.metrics {
            Some(address) => Some(scrape::bind(address).or_error(Kind::Host, || cannot(address))?),
            None => None,
        };
        let policy = AnswerPolicy::new(&names, &options.listen, None, &audit, &metrics)?;
        let changed = Arc::new(Notify::new());
        let directories = StoreDirectories { data: options.data_dir.clone(), state: options.state_dir.clone() };
        let store = Store::open(&directories, zones, audit.clone(), changed.clone())?;
        let (sender, jobs) = sync_channel(MAX_WAITING);
        let zones = store.zones();
        let summary = summary(&names, &zones.read().unwrap_or_else(std::sync::PoisonError::into_inner));
        let shared = Arc::new(Shared {
            zones,
            policy: ArcSwap::from_pointee(policy),
            keys: ArcSwap::from_pointee(keys),
            audit,
            metrics,
            build: options.build.clone(),
            limit: Limit::default(),
            started: Instant::now(),
            jobs: sender,
            names: file,
            own: options.listen.clone(),
        });
        Ok(Self {
            addresses,
            udp,
            tcp,
            metrics: metrics_listener,
            shared,
            store,
            jobs,
            changed,
            watches,
            summary,
            times: tcp::Times::default(),
        })
    }

    /// Returns the addresses on which the server listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Sets the time limits of connections.
    #[cfg(test)]
    pub fn with_times(self, times: tcp::Times) -> Self {
        Self { times, ..self }
    }

    /// Returns the address of the metrics.
    #[cfg(test)]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }

    /// Writes to the log that the server is ready, and answers until `shutdown` completes.
    ///
    /// # Errors
    /// A thread cannot be started, or ended with a panic.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Self { addresses, udp, tcp, metrics, shared, store, jobs, changed, watches, summary, times } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let cannot = || "cannot start a thread".to_owned();
        threads.push(thread("dns-store").spawn(move || store.run(&jobs)).or_error(Kind::Host, cannot)?);
        for (index, socket) in udp.into_iter().enumerate() {
            let (shared, runtime, stop) = (shared.clone(), Handle::current(), stop.clone());
            let spawned = thread("dns-udp").spawn(move || udp::serve(socket, &shared, &runtime, &stop, index));
            threads.push(spawned.or_error(Kind::Host, cannot)?);
        }
        let mut tasks = JoinSet::new();
        for listener in tcp {
            tasks.spawn(tcp::serve(listener, shared.clone(), times));
        }
        if let Some(listener) = metrics {
            tasks.spawn(scrape::serve(listener, shared.clone()));
        }
        let list: Vec<_> = addresses.iter().map(|a| format!("`{a}`")).collect();
        shared.audit.say(&format!("ready on {}: {summary}", list.join(", ")));
        for watch in watches {
            tasks.spawn(watch.follow(shared.clone()));
        }
        tasks.spawn(notify::serve(shared.clone(), changed));

        shutdown.await;
        stop.store(true, Ordering::Relaxed);
        tasks.shutdown().await;
        let _ = shared.jobs.send(StoreJob::Stop);
        match spawn_blocking(move || threads.into_iter().try_for_each(|t| t.join())).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::new(Kind::Other, "a thread of the name server ended with a panic")),
        }
    }
}

fn bind_one(
    address: SocketAddr,
    threads: usize,
    addresses: &mut Vec<SocketAddr>,
    udp_sockets: &mut Vec<UdpSocket>,
    listeners: &mut Vec<TcpListener>,
) -> Result<()> {
    if address.ip().is_unspecified() {
        let why = format!("cannot listen on `{address}`: answers could have another source address");
        return Err(Error::new(Kind::Usage, why).hint("name each address for the server"));
    }
    let hint = "another name server may use it: `ss -lnutp` shows it";
    let failed = |protocol: &str| format!("cannot listen on `{address}` ({protocol})");
    // Port 0 selects a port that is free for TCP. Another process may use it for UDP. Then the server selects another
    // one.
    let mut tries = if address.port() == 0 { 20 } else { 1 };
    loop {
        tries -= 1;
        // TCP is bound first, because its port is exclusive. A second server could share the UDP port without an error.
        let tcp = tcp::bind(address).or_error(Kind::Host, || failed("TCP")).map_err(|e| e.hint(hint))?;
        let address = tcp.local_addr().or_error(Kind::Host, || failed("TCP"))?;
        match (0..threads).map(|_| udp::bind(address)).collect::<std::io::Result<Vec<_>>>() {
            Ok(sockets) => {
                udp_sockets.extend(sockets);
                listeners.push(tcp);
                addresses.push(address);
                return Ok(());
            }
            Err(error) if tries > 0 && error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error).or_error(Kind::Host, || failed("UDP")).map_err(|e| e.hint(hint)),
        }
    }
}

/// Binds the sockets, logs one line to standard error when the server is ready, and answers until `shutdown` completes.
///
/// # Errors
/// The same as [`Server::bind`] and [`Server::run`].
pub async fn serve(options: ServeOptions, shutdown: impl Future<Output = ()>) -> Result<()> {
    // Each connection and each forwarded question needs a socket. If the limit cannot be raised, the server refuses
    // clients earlier.
    let _ = lap_base::descriptors::raise();
    Server::bind(&options).await?.run(shutdown).await
}
