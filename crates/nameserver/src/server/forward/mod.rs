//! Forwards questions for names outside the zones to the upstream servers, and caches the answers for their TTL. It
//! uses hickory.
//!
//! Each upstream has its own pool of connections, and this module does the fail-over: hickory's pool stops at the first
//! SERVFAIL or REFUSED, and spends all its time on a first server that does not answer (hickory-resolver 0.26,
//! `name_server_pool.rs`). This module also follows aliases: each name of a chain is sent to its own upstream servers,
//! and [`accepted()`] selects the accepted records of an answer.

mod accepted;
mod limits;
mod upstream;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock, atomic::Ordering},
    time::{Duration, Instant},
};

use hickory_server::{
    net::{DnsError, NetError, NoRecords},
    proto::{
        op::{Message, Query, ResponseCode},
        rr::{Name, RData, Record, RecordType, rdata},
    },
    resolver::{ResponseCache, TtlConfig},
};
use lap_base::{Kind, OrError, Result};
use tokio::time::timeout;

use self::{
    accepted::{AcceptedRecords, accepted},
    limits::{BUDGET, MAX_UNDER_WAY, TRY},
    upstream::Upstream,
};
use super::{
    metrics::Metrics,
    shares::{Evicted, Limits, Share, Shares},
};

/// The time for a question with all its tries. A try that starts just before the end of [`BUDGET`] may run until then.
const TIME_LIMIT: Duration = Duration::from_millis(4500);
// The reply must reach the client within 5 s. Half a second remains for the network.
const _: () = assert!(BUDGET.as_millis() < TIME_LIMIT.as_millis() && TIME_LIMIT.as_millis() + 500 <= 5000);
/// The time for which an upstream that did not answer is asked last.
const REST: Duration = Duration::from_secs(10);
/// The maximum number of cached answers.
const CACHE_SIZE: u64 = 16_384;

/// The maximum number of forwarded questions of one client in progress. It is enough for an office behind one address,
/// because a question takes about 20 ms.
const MAX_OF_CLIENT: usize = 256;
/// The minimum age at which a question may be cancelled in favour of another client. Most answers arrive earlier.
const PROMPT: Duration = Duration::from_secs(1);
/// The maximum number of names in a chain of aliases that are asked for.
const MAX_HOPS: usize = 8;

/// The routes to the upstream servers, and the cache of their answers.
pub struct Forwarder {
    /// The routes, with the longest domain first. The route of the root, for all other names, is the last one.
    routes: Vec<Route>,
    cache: ResponseCache,
    started: Instant,
    under_way: Arc<Shares>,
    metrics: Arc<Metrics>,
}

/// The upstream servers of a domain, in the order of the workspace.
struct Route {
    domain: Name,
    upstreams: Vec<Upstream>,
}

/// A client's question. It takes a slot when the first upstream is asked.
struct ForwardedQuestion<'a> {
    client: IpAddr,
    /// Returns whether a name is in one of the server's zones. No upstream may answer for such a name.
    ours: &'a (dyn Fn(&Name) -> bool + Sync),
    slot: Option<(Share, Evicted)>,
    over_quota: bool,
}

/// The reply to a forwarded question. `over_quota` says that it is SERVFAIL because the client has too many questions
/// in progress.
pub struct Completed {
    pub reply: Vec<u8>,
    pub over_quota: bool,
}

/// The result of a forwarded question.
struct Outcome {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
}

impl Forwarder {
    /// Makes a forwarder that asks `upstreams`, and for each of `domains` the upstream servers of this domain.
    ///
    /// # Errors
    /// A domain is not a valid name, or a resolver cannot be created.
    pub fn new(upstreams: &[SocketAddr], domains: &[(String, Vec<SocketAddr>)]) -> Result<Self> {
        let mut routes = Vec::new();
        for (domain, upstreams) in domains {
            let mut name = Name::from_ascii(domain)
                .or_error(Kind::Config, || format!("names.json: forward: `{domain}` is not a domain name"))?;
            name.set_fqdn(true);
            routes.push(Route { domain: name.to_lowercase(), upstreams: Upstream::all(upstreams)? });
        }
        if !upstreams.is_empty() {
            routes.push(Route { domain: Name::root(), upstreams: Upstream::all(upstreams)? });
        }
        routes.sort_by_key(|route| std::cmp::Reverse(route.domain.num_labels()));
        let cache = ResponseCache::new(CACHE_SIZE, TtlConfig::from_opts(&upstream::options(TRY)));
        let limits = Limits { all: MAX_UNDER_WAY, each: MAX_OF_CLIENT, young: PROMPT };
        Ok(Self { routes, cache, started: Instant::now(), under_way: Shares::new(limits), metrics: Arc::default() })
    }

    /// Counts hits and misses of the cache in `metrics`.
    pub fn counting_in(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Completes a draft of [`super::answer`] for `client`. Appends the records of the question's name, or of the alias
    /// at the end of the draft, in at most `limit` bytes. `ours` returns whether a name is in one of the server's
    /// zones. The call always returns a reply, within 5 s.
    pub async fn complete(
        &self,
        draft: &[u8],
        limit: usize,
        client: IpAddr,
        ours: &(dyn Fn(&Name) -> bool + Sync),
    ) -> Completed {
        let mut asked = ForwardedQuestion { client, ours, slot: None, over_quota: false };
        let reply = self.reply(draft, limit, &mut asked).await;
        Completed { reply, over_quota: asked.over_quota }
    }

    async fn reply(&self, draft: &[u8], limit: usize, asked: &mut ForwardedQuestion<'_>) -> Vec<u8> {
        // The server wrote the draft itself. hickory rejects it only if it contains a type that hickory does not
        // support.
        let Ok(mut message) = Message::from_vec(draft) else { return failed(draft) };
        let Some(query) = message.queries.first() else { return failed(draft) };
        let name = match message.answers.last().map(|r| &r.data) {
            Some(RData::CNAME(alias)) => alias.0.to_lowercase(),
            _ => query.name().to_lowercase(),
        };
        let outcome = self.resolve(name, query.query_type(), asked).await;
        message.metadata.response_code = outcome.code;
        message.add_answers(outcome.answers);
        message.add_authorities(outcome.authorities);
        match message.to_vec() {
            Ok(bytes) if bytes.len() <= limit => bytes,
            Ok(_) => truncated(&message).unwrap_or_else(|| failed(draft)),
            Err(_) => failed(draft),
        }
    }

    async fn resolve(&self, name: Name, rtype: RecordType, asked: &mut ForwardedQuestion<'_>) -> Outcome {
        if let Some(outcome) = special(&name, rtype) {
            return outcome;
        }
        if self.route(&name).is_none() {
            // There are upstream servers for some domains only, and the name is in none of them.
            return Outcome { code: ResponseCode::Refused, ..Outcome::servfail() };
        }
        let outcome = timeout(TIME_LIMIT, self.chase(name, rtype, asked)).await;
        outcome.ok().flatten().unwrap_or_else(Outcome::servfail)
    }

    /// Follows a chain of aliases to its end, or to the first name that no upstream is asked for. Returns `None` if no
    /// upstream answers.
    async fn chase(&self, mut name: Name, rtype: RecordType, asked: &mut ForwardedQuestion<'_>) -> Option<Outcome> {
        let mut all = Outcome { code: ResponseCode::NoError, answers: Vec::new(), authorities: Vec::new() };
        for _ in 0..MAX_HOPS {
            let (code, part) = self.one(&Query::query(name, rtype), asked).await?;
            all.answers.extend(part.answers);
            let Some(next) = part.next else {
                all.code = code;
                all.authorities.extend(part.soa);
                break;
            };
            if (asked.ours)(&next) || self.route(&next).is_none() || all.answers.iter().any(|r| r.name == next) {
                break;
            }
            name = next;
        }
        if asked.slot.is_none() {
            self.metrics.common().cache_hits.add(1);
        }
        Some(all)
    }

    /// Returns the records of one name, from the cache or from an upstream.
    async fn one(&self, query: &Query, asked: &mut ForwardedQuestion<'_>) -> Option<(ResponseCode, AcceptedRecords)> {
        let route = self.route(query.name())?;
        let may_say = |at: &Name| !(asked.ours)(at) && self.route(at).is_some_and(|other| std::ptr::eq(other, route));
        if let Some(known) = self.cache.get(query, Instant::now()) {
            return classify(query, known, may_say);
        }
        if asked.slot.is_none() {
            self.metrics.common().cache_misses.add(1);
            asked.slot = self.under_way.take(asked.client, Instant::now());
        }
        let Some((_, gone)) = asked.slot.as_mut() else {
            asked.over_quota = true;
            return None;
        };
        let tries = async {
            for upstream in self.order(&route.upstreams) {
                if let Some(reply) = self.ask(upstream, query).await {
                    return Some(reply);
                }
            }
            None
        };
        let reply = tokio::select! {
            reply = tries => reply?,
            _ = gone => {
                asked.over_quota = true;
                return None;
            }
        };
        // Only accepted records are cached.
        let (code, part) = classify(query, reply, may_say)?;
        self.cache.insert(query.clone(), remembered(query, code, &part), Instant::now());
        Some((code, part))
    }

    /// Returns the route for a name.
    fn route(&self, name: &Name) -> Option<&Route> {
        self.routes.iter().find(|route| route.domain.zone_of(name))
    }

    /// Returns the upstream servers in the order in which they are asked: first those that answer, then those that
    /// rest. When a rest ends, one question goes to this upstream first, and the next rest starts at once. An answer
    /// ends it.
    fn order<'a>(&self, upstreams: &'a [Upstream]) -> Vec<&'a Upstream> {
        let now = self.now();
        let rests = |u: &&Upstream| {
            let until = u.rests_until.load(Ordering::Relaxed);
            let probe = until != 0 && until <= now;
            let rest = now + REST.as_millis() as u64;
            let chosen =
                probe && u.rests_until.compare_exchange(until, rest, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            until != 0 && !chosen
        };
        let (last, mut first): (Vec<_>, Vec<_>) = upstreams.iter().partition(rests);
        first.extend(last);
        first
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }

    /// Asks one upstream. Returns `None` if it has no usable answer. Then the next upstream is asked.
    async fn ask(&self, upstream: &Upstream, query: &Query) -> Option<UpstreamReply> {
        let reply = upstream.lookup(query, self.now()).await;
        let silent = matches!(reply, Err(NetError::Timeout | NetError::Io(_) | NetError::NoConnections));
        upstream.rests_until.store(if silent { self.now() + REST.as_millis() as u64 } else { 0 }, Ordering::Relaxed);
        matches!(reply, Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_)))).then_some(reply)
    }
}

/// The reply of an upstream, or a cached one.
type UpstreamReply = std::result::Result<Message, NetError>;

/// Returns the response code and the accepted records, or `None` if the reply is an error.
fn classify(
    query: &Query,
    reply: UpstreamReply,
    may_say: impl Fn(&Name) -> bool,
) -> Option<(ResponseCode, AcceptedRecords)> {
    match reply {
        Ok(message) => {
            let code = message.metadata.response_code;
            Some((code, accepted(query.name(), query.query_type(), &message, may_say)))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let soa = none.soa.map(|soa| Record::from_rdata(soa.name, soa.ttl, RData::SOA(soa.data)));
            let soa = soa.filter(|soa| soa.name.zone_of(query.name()) && may_say(&soa.name));
            Some((none.response_code, AcceptedRecords { soa, ..AcceptedRecords::default() }))
        }
        Err(_) => None,
    }
}

/// Returns the record with the type of an SOA record.
fn soa_record(record: &Record) -> Option<Record<rdata::SOA>> {
    record.clone().map(|data| match data {
        RData::SOA(soa) => Some(soa),
        _ => None,
    })
}

/// Returns the accepted records in the form that hickory's cache stores.
fn remembered(query: &Query, code: ResponseCode, part: &AcceptedRecords) -> UpstreamReply {
    if part.answers.is_empty() {
        let mut none = NoRecords::new(query.clone(), code);
        none.negative_ttl = part.soa.as_ref().map(accepted::negative_ttl);
        none.soa = part.soa.as_ref().and_then(soa_record).map(Box::new);
        return Err(NetError::Dns(DnsError::NoRecordsFound(none)));
    }
    let mut message = Message::query();
    message.metadata.response_code = code;
    message.add_answers(part.answers.iter().cloned());
    message.add_authorities(part.soa.iter().cloned());
    Ok(message)
}

/// Answers special names without an upstream (RFC 6761, section 6; RFC 7686, section 2).
fn special(name: &Name, rtype: RecordType) -> Option<Outcome> {
    let label = |text: &str| name.iter().next_back().is_some_and(|last| last.eq_ignore_ascii_case(text.as_bytes()));
    if label("invalid") || label("onion") {
        return Some(Outcome { code: ResponseCode::NXDomain, ..Outcome::servfail() });
    }
    if !label("localhost") && !LOOPBACK.iter().any(|zone| zone.zone_of(name)) {
        return None;
    }
    let data = match rtype {
        RecordType::A => Some(RData::A(rdata::A::new(127, 0, 0, 1))),
        RecordType::AAAA => Some(RData::AAAA(rdata::AAAA::new(0, 0, 0, 0, 0, 0, 0, 1))),
        RecordType::PTR => Name::from_ascii("localhost.").ok().map(|name| RData::PTR(rdata::PTR(name))),
        _ => None,
    };
    let answers = data.map(|data| Record::from_rdata(name.clone(), 86_400, data)).into_iter().collect();
    Some(Outcome { code: ResponseCode::NoError, answers, ..Outcome::servfail() })
}

/// The reverse zones of `127.0.0.0/8` and `::1`.
static LOOPBACK: LazyLock<[Name; 2]> = LazyLock::new(|| {
    let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";
    ["127.in-addr.arpa.", six].map(|zone| Name::from_ascii(zone).expect("it is a name"))
});

impl Outcome {
    fn servfail() -> Self {
        Self { code: ResponseCode::ServFail, answers: Vec::new(), authorities: Vec::new() }
    }
}

/// Returns the draft with SERVFAIL, for a message that hickory does not support.
fn failed(draft: &[u8]) -> Vec<u8> {
    let mut out = draft.to_vec();
    if let Some(code) = out.get_mut(3) {
        *code = *code & 0xf0 | super::wire::rcode::SERVFAIL as u8;
    }
    out
}

/// Returns the header, the question and OPT with TC, so that the client repeats the question over TCP.
fn truncated(message: &Message) -> Option<Vec<u8>> {
    let mut short = message.truncate();
    short.metadata = message.metadata;
    short.metadata.truncation = true;
    short.to_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_upstream_without_answers_is_asked_last_and_probed_after_a_rest() {
        let forwarder = Forwarder::new(&["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()], &[]).unwrap();
        let upstreams = &forwarder.routes[0].upstreams;
        let first = || std::ptr::eq(forwarder.order(upstreams)[0], &upstreams[0]);
        let rests_until = |at: u64| upstreams[0].rests_until.store(at, Ordering::Relaxed);
        assert!(first(), "both answer: the order of the workspace");
        rests_until(forwarder.now() + 5000);
        assert!(!first() && !first(), "it rests");
        rests_until(forwarder.now());
        assert!(first(), "its rest is over: one question goes to it");
        assert!(!first(), "only one question goes to it");
        rests_until(0);
        assert!(first() && first(), "it answers again");
        assert_eq!(forwarder.order(upstreams).len(), 2);
    }
}
