//! Asks services all the time while something is done to them: what their users feel. The operator's machine asks through names, the agent
//! by address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lap_nameserver::client::query::query;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::release::Outage;

/// Longer is no answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A connection that takes longer than this, and than a few times what it took before, is none: the kernel would ask again after a
/// whole second only (RFC 6298, section 2), and hide when the service came back.
const HURRY: Duration = Duration::from_millis(100);
/// Longer is slow.
const SLOW: Duration = Duration::from_millis(250);
/// Whoever accepts and says nothing for so long waits to be told more: that is an answer.
const SILENCE: Duration = Duration::from_millis(200);

/// A port that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `git.internal`; `None`: it has no name, or there is no server that knows it.
    pub name: Option<String>,
    pub address: IpAddr,
    pub port: u16,
}

impl Service {
    /// As it is called in the ledger.
    pub fn title(&self) -> String {
        format!("{}:{}", self.name.clone().unwrap_or_else(|| self.address.to_string()), self.port)
    }
}

/// Asks until it is told to stop.
pub struct Prober {
    tasks: JoinSet<()>,
    felt: Vec<Arc<Mutex<Felt>>>,
}

#[derive(Default)]
struct Felt {
    outage: Outage,
    last: Option<Instant>,
    /// Something failed since the last answer.
    down: bool,
}

impl Prober {
    /// Begins to ask each service, `every` so often. A service that does not answer now is not asked: it cannot be away.
    pub async fn begin(services: Vec<Service>, server: IpAddr, every: Duration) -> Self {
        let mut prober = Self { tasks: JoinSet::new(), felt: Vec::new() };
        for service in services {
            let Ok((usual, connected)) = ask(&service, server, PATIENCE).await else { continue };
            let hurry = HURRY.max(connected.saturating_mul(4));
            let outage = Outage { service: service.title(), ..Outage::default() };
            let felt = Arc::new(Mutex::new(Felt { outage, last: Some(Instant::now()), down: false }));
            prober.felt.push(felt.clone());
            prober.tasks.spawn(async move {
                loop {
                    let begun = Instant::now();
                    // Somebody in front of it may accept, and close again when there is nobody behind.
                    let answered = ask(&service, server, hurry).await.is_ok_and(|(said, _)| said >= usual);
                    felt.lock().unwrap_or_else(PoisonError::into_inner).learn(answered, begun.elapsed());
                    tokio::time::sleep(every.saturating_sub(begun.elapsed())).await;
                }
            });
        }
        prober
    }

    /// What was felt so far; who is away now has been since the last answer.
    pub fn felt(&self) -> Vec<Outage> {
        let one = |felt: &Arc<Mutex<Felt>>| felt.lock().unwrap_or_else(PoisonError::into_inner).now();
        self.felt.iter().map(one).collect()
    }
}

impl Felt {
    fn learn(&mut self, answered: bool, took: Duration) {
        self.outage.requests += 1;
        if !answered {
            self.outage.failed += 1;
            self.down = true;
            return;
        }
        self.outage.slow += u64::from(took > SLOW);
        if self.down || took > SLOW {
            self.outage.gap = self.outage.gap.max(self.since());
        }
        (self.last, self.down) = (Some(Instant::now()), false);
    }

    fn since(&self) -> u64 {
        self.last.map_or(0, |last| last.elapsed().as_millis() as u64)
    }

    fn now(&self) -> Outage {
        let gap = if self.down { self.outage.gap.max(self.since()) } else { self.outage.gap };
        Outage { gap, ..self.outage.clone() }
    }
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ProbeResult {
    /// It was closed without a word.
    Nothing,
    /// It waits to be told more.
    Silence,
    Something,
}

/// One request: the name, a connection within `hurry`, and whatever comes back. Gives, too, how long the connection took.
async fn ask(service: &Service, server: IpAddr, hurry: Duration) -> std::io::Result<(ProbeResult, Duration)> {
    let asked = async {
        let address = match &service.name {
            None => service.address,
            Some(name) => {
                let found = query(SocketAddr::from((server, 53)), name, "A", PATIENCE).await;
                let found = found.map_err(std::io::Error::other)?;
                // Whatever address it has: that one is asked.
                let data = found.records.iter().find_map(|data| data.parse().ok());
                data.ok_or_else(|| std::io::Error::other("no such name"))?
            }
        };
        let begun = Instant::now();
        let mut stream = tokio::time::timeout(hurry, TcpStream::connect((address, service.port))).await??;
        let connected = begun.elapsed();
        // Web servers answer, others speak first, the rest wait for more.
        stream.write_all(b"HEAD / HTTP/1.0\r\n\r\n").await?;
        let mut some = [0; 1];
        let said = match tokio::time::timeout(SILENCE, stream.read(&mut some)).await {
            Ok(read) => {
                if read? > 0 {
                    ProbeResult::Something
                } else {
                    ProbeResult::Nothing
                }
            }
            Err(_) => ProbeResult::Silence,
        };
        Ok((said, connected))
    };
    tokio::time::timeout(PATIENCE, asked).await?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use lap_base::testing::loopback::own_place;

    const EVERY: Duration = Duration::from_millis(20);

    /// What was felt of the only service, as soon as it is so.
    async fn until(prober: &Prober, is: impl Fn(&Outage) -> bool) -> Outage {
        let begun = Instant::now();
        loop {
            let felt = prober.felt().remove(0);
            if is(&felt) {
                return felt;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{felt:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn answered(outage: &Outage) -> u64 {
        outage.requests - outage.failed
    }

    #[tokio::test]
    async fn a_gap_is_felt_from_the_last_answer_to_the_next() {
        // Nobody else gets it while nobody listens there.
        let address = own_place();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let serve = |listener: tokio::net::TcpListener| async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"x").await;
            }
        };
        let serving = tokio::spawn(serve(listener));
        let service = Service { name: None, address: address.ip(), port: address.port() };
        let silent = Service { port: 1, ..service.clone() };
        let prober = Prober::begin(vec![service, silent], address.ip(), EVERY).await;
        assert_eq!(prober.felt().len(), 1, "who does not answer before is not asked");
        until(&prober, |felt| answered(felt) > 2).await;
        serving.abort();
        let _ = serving.await;
        let away = until(&prober, |felt| felt.failed > 2 && felt.gap >= 250).await;
        let again = tokio::spawn(serve(tokio::net::TcpListener::bind(address).await.unwrap()));
        let felt = until(&prober, |felt| answered(felt) > answered(&away) + 2).await;
        assert!(felt.gap >= away.gap, "{felt:?} after {away:?}");
        again.abort();
    }

    #[tokio::test]
    async fn who_spoke_before_and_only_closes_now_is_away() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let speaks = Arc::new(AtomicBool::new(true));
        let says = speaks.clone();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if says.load(Ordering::Relaxed) {
                    let _ = stream.write_all(b"x").await;
                }
            }
        });
        let service = Service { name: None, address: address.ip(), port: address.port() };
        let prober = Prober::begin(vec![service], address.ip(), EVERY).await;
        let before = until(&prober, |felt| answered(felt) > 2).await;
        speaks.store(false, Ordering::Relaxed);
        let after = until(&prober, |felt| felt.failed > before.failed + 2).await;
        assert!(answered(&after) <= answered(&before) + 1, "one may have been under way: {after:?} after {before:?}");
        serving.abort();
    }
}
