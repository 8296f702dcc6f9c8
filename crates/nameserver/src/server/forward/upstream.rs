//! One upstream, asked through hickory: over UDP from a random port with a random id and with random letters' case in the name (0x20,
//! draft-vixie-dnsext-dns0x20-00), over TCP where that is too long or not what came back. hickory drops a reply from another address, with
//! another id or another question.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use hickory_server::{
    net::{DnsError, NetError, runtime::TokioRuntimeProvider, xfer::DnsHandle},
    proto::op::{DnsRequestOptions, Message, Query},
    resolver::{
        NameServerPool, PoolContext, TlsConfig,
        config::{ConnectionConfig, NameServerConfig, ResolverOpts},
    },
};
use lap_base::{Kind, OrError, Result};
use tokio::time::timeout;

use super::limits::{BUDGET, MAX_UNDER_WAY, TRY};

/// For how long an upstream that changes the case is asked without.
const PLAIN: Duration = Duration::from_secs(3600);
/// Replies in a row with another case, after which it is taken for one that changes it. A forger would have to guess id and port
/// as often.
const STRIKES: u32 = 3;

type Pool = NameServerPool<TokioRuntimeProvider>;

/// An upstream. Times are milliseconds since the forwarder's start.
pub struct Upstream {
    mixed: Pool,
    plain: Pool,
    tcp: Pool,
    each: Duration,
    /// Until then it is asked last; 0: it answers.
    pub rests_until: AtomicU64,
    strikes: AtomicU32,
    plain_until: AtomicU64,
}

impl Upstream {
    /// Those of one domain, which share the time there is.
    pub fn all(addresses: &[SocketAddr]) -> Result<Vec<Self>> {
        let count = addresses.len().max(1) as u32;
        let each = if count == 1 { BUDGET } else { TRY.min(BUDGET / count) };
        let one = |address: &SocketAddr| {
            let pool = |connection, case| pool(*address, connection, case, each);
            let all = || -> std::result::Result<Self, NetError> {
                Ok(Self {
                    mixed: pool(ConnectionConfig::udp(), true)?,
                    plain: pool(ConnectionConfig::udp(), false)?,
                    tcp: pool(ConnectionConfig::tcp(), false)?,
                    each,
                    rests_until: AtomicU64::new(0),
                    strikes: AtomicU32::new(0),
                    plain_until: AtomicU64::new(0),
                })
            };
            all().or_error(Kind::Host, || format!("cannot make a resolver for the upstream `{address}`"))
        };
        addresses.iter().map(one).collect()
    }

    /// What it says.
    pub async fn lookup(&self, query: &Query, now: u64) -> std::result::Result<Message, NetError> {
        timeout(self.each, self.tries(query, now)).await.unwrap_or(Err(NetError::Timeout))
    }

    async fn tries(&self, query: &Query, now: u64) -> std::result::Result<Message, NetError> {
        let plain = self.plain_until.load(Ordering::Relaxed) > now;
        let said = ask(if plain { &self.plain } else { &self.mixed }, query).await;
        match said {
            Err(NetError::Truncated) => ask(&self.tcp, query).await,
            // hickory's word for a reply with another case, where it has no TCP to go to.
            Err(NetError::NoConnections) if !plain => self.case_was_lost(query, now).await,
            said => {
                if !plain && is_answer(&said) {
                    self.strikes.store(0, Ordering::Relaxed);
                }
                said
            }
        }
    }

    /// The reply may be forged, so it does not count: asked over TCP, where nobody can put in another one. An upstream without TCP, or one
    /// that always changes the case, is asked once more as it likes it, with a new port and id.
    async fn case_was_lost(&self, query: &Query, now: u64) -> std::result::Result<Message, NetError> {
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed) + 1;
        let until = now + PLAIN.as_millis() as u64;
        if let Ok(said) = timeout(self.each / 2, ask(&self.tcp, query)).await
            && is_answer(&said)
        {
            if strikes >= STRIKES {
                self.plain_until.store(until, Ordering::Relaxed);
            }
            return said;
        }
        let said = ask(&self.plain, query).await;
        if is_answer(&said) {
            self.plain_until.store(until, Ordering::Relaxed);
        }
        said
    }
}

/// Whether it said something, be it that there is nothing.
fn is_answer(said: &std::result::Result<Message, NetError>) -> bool {
    matches!(said, Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_) | DnsError::ResponseCode(_))))
}

async fn ask(pool: &Pool, query: &Query) -> std::result::Result<Message, NetError> {
    let said = pool.lookup(query.clone(), DnsRequestOptions::default()).next().await;
    said.unwrap_or(Err(NetError::Timeout)).map(|response| response.into_message())
}

fn pool(
    address: SocketAddr,
    mut connection: ConnectionConfig,
    case: bool,
    each: Duration,
) -> std::result::Result<Pool, NetError> {
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let mut options = options(each);
    options.case_randomization = case;
    let context = Arc::new(PoolContext::new(options, TlsConfig::new()?));
    Ok(Pool::from_config([server], context, TokioRuntimeProvider::default()))
}

/// hickory's settings, also for the cache.
pub fn options(each: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = each;
    options.num_concurrent_reqs = 1;
    options.max_active_requests = MAX_UNDER_WAY;
    options
}
