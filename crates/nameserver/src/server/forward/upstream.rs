//! One upstream server, asked through hickory: over UDP from a random port, with a random id and with random case in
//! the name (0x20, draft-vixie-dnsext-dns0x20-00); over TCP if the answer is truncated or has another case. hickory
//! drops a reply with another address, id or question.

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

/// The time for which an upstream that changes the case is asked without random case.
const PLAIN: Duration = Duration::from_secs(3600);
/// The number of consecutive replies with another case after which this is treated as the upstream's normal behaviour.
/// An attacker would have to guess the id and the port this many times.
const STRIKES: u32 = 3;

type Pool = NameServerPool<TokioRuntimeProvider>;

/// An upstream server. Times are in milliseconds since the start of the forwarder.
pub struct Upstream {
    mixed: Pool,
    plain: Pool,
    tcp: Pool,
    each: Duration,
    /// The upstream is asked last until this time. 0 means that it answers.
    pub rests_until: AtomicU64,
    strikes: AtomicU32,
    plain_until: AtomicU64,
}

impl Upstream {
    /// Makes the upstream servers of one domain. They share [`BUDGET`].
    ///
    /// # Errors
    /// A resolver cannot be created.
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

    /// Sends a query to this upstream and returns its reply.
    pub async fn lookup(&self, query: &Query, now: u64) -> std::result::Result<Message, NetError> {
        timeout(self.each, self.tries(query, now)).await.unwrap_or(Err(NetError::Timeout))
    }

    async fn tries(&self, query: &Query, now: u64) -> std::result::Result<Message, NetError> {
        let plain = self.plain_until.load(Ordering::Relaxed) > now;
        let reply = ask(if plain { &self.plain } else { &self.mixed }, query).await;
        match reply {
            Err(NetError::Truncated) => ask(&self.tcp, query).await,
            // hickory reports a reply with another case as this error if it has no TCP connection to use.
            Err(NetError::NoConnections) if !plain => self.case_was_lost(query, now).await,
            reply => {
                if !plain && is_answer(&reply) {
                    self.strikes.store(0, Ordering::Relaxed);
                }
                reply
            }
        }
    }

    /// Handles a reply with another case, which may be forged and is ignored. Repeats the query over TCP, where an
    /// attacker cannot inject a reply. If the upstream has no TCP, or always changes the case, the query is repeated
    /// over UDP without random case, with a new port and id.
    async fn case_was_lost(&self, query: &Query, now: u64) -> std::result::Result<Message, NetError> {
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed) + 1;
        let until = now + PLAIN.as_millis() as u64;
        if let Ok(reply) = timeout(self.each / 2, ask(&self.tcp, query)).await
            && is_answer(&reply)
        {
            if strikes >= STRIKES {
                self.plain_until.store(until, Ordering::Relaxed);
            }
            return reply;
        }
        let reply = ask(&self.plain, query).await;
        if is_answer(&reply) {
            self.plain_until.store(until, Ordering::Relaxed);
        }
        reply
    }
}

/// Returns whether the upstream answered. A negative answer is an answer too.
fn is_answer(reply: &std::result::Result<Message, NetError>) -> bool {
    matches!(reply, Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_) | DnsError::ResponseCode(_))))
}

async fn ask(pool: &Pool, query: &Query) -> std::result::Result<Message, NetError> {
    let reply = pool.lookup(query.clone(), DnsRequestOptions::default()).next().await;
    reply.unwrap_or(Err(NetError::Timeout)).map(|response| response.into_message())
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

/// Returns hickory's settings for upstream servers and for the cache.
pub fn options(each: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = each;
    options.num_concurrent_reqs = 1;
    options.max_active_requests = MAX_UNDER_WAY;
    options
}
