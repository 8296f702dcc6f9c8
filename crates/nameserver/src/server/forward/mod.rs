//! What is not ours is asked at the upstreams, through hickory, and remembered in its cache as long as the TTL says.
//!
//! One pool of connections per upstream, and the fail-over is ours: hickory's pool ends at the first SERVFAIL or REFUSED, and spends
//! its whole time on a first server that is silent (hickory-resolver 0.26, `name_server_pool.rs`). Aliases are followed here, too: each
//! name of a chain is asked of its own upstreams, and [`believed()`] decides which records of an answer count.

mod believed;
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
    believed::{Believed, believed},
    limits::{BUDGET, MAX_UNDER_WAY, TRY},
    upstream::Upstream,
};
use super::{
    metrics::Metrics,
    shares::{Evicted, Limits, Share, Shares},
};

/// What is under way when the budget is used up may end; then it is over.
const ALL: Duration = Duration::from_millis(4500);
// With half a second for the way to the client.
const _: () = assert!(BUDGET.as_millis() < ALL.as_millis() && ALL.as_millis() + 500 <= 5000);
/// For how long an upstream that was silent is asked last.
const REST: Duration = Duration::from_secs(10);
/// Answers that are remembered, as long as their TTL says.
const CACHE_SIZE: u64 = 16_384;

/// Of one client: enough for an office behind one address, whose questions take some 20 ms each.
const MAX_OF_CLIENT: usize = 256;
/// A question that waits longer than this may be given up for another one: most answers come within it.
const PROMPT: Duration = Duration::from_secs(1);
/// Names of one chain of aliases that are asked for.
const MAX_HOPS: usize = 8;

/// Who is asked for what, and what they said.
pub struct Forwarder {
    /// The most special domain first; the root, where there are upstreams for everything, last.
    routes: Vec<Route>,
    cache: ResponseCache,
    started: Instant,
    under_way: Arc<Shares>,
    metrics: Arc<Metrics>,
}

/// The upstreams of a domain, in the order of the workspace.
struct Route {
    domain: Name,
    upstreams: Vec<Upstream>,
}

/// One client's question, with its place among those under way as soon as an upstream is asked.
struct Asked<'a> {
    client: IpAddr,
    /// Whether a name is in a zone of ours: nobody else says anything about it.
    ours: &'a (dyn Fn(&Name) -> bool + Sync),
    place: Option<(Share, Evicted)>,
    over_quota: bool,
}

/// A reply, and whether it is SERVFAIL because the client has too many questions under way.
pub struct Completed {
    pub reply: Vec<u8>,
    pub over_quota: bool,
}

/// What the upstreams say.
struct Outcome {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
}

impl Forwarder {
    /// A forwarder to `upstreams`, and for some domains to others.
    ///
    /// # Errors
    /// A domain is not a name.
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

    /// Has what the cache knew and did not know counted there.
    pub fn counting_in(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Completes a draft of [`super::answer`] for `client`: appends what the upstreams say about its question, or about the alias it ends
    /// in; cut to `limit` bytes. `ours`: whether a name is in a zone of ours. Always gives a reply, within 5 s.
    pub async fn complete(
        &self,
        draft: &[u8],
        limit: usize,
        client: IpAddr,
        ours: &(dyn Fn(&Name) -> bool + Sync),
    ) -> Completed {
        let mut asked = Asked { client, ours, place: None, over_quota: false };
        let reply = self.reply(draft, limit, &mut asked).await;
        Completed { reply, over_quota: asked.over_quota }
    }

    async fn reply(&self, draft: &[u8], limit: usize, asked: &mut Asked<'_>) -> Vec<u8> {
        // We wrote the draft: the only way it is unreadable to hickory is a type it will not carry.
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

    async fn resolve(&self, name: Name, rtype: RecordType, asked: &mut Asked<'_>) -> Outcome {
        if let Some(outcome) = special(&name, rtype) {
            return outcome;
        }
        if self.route(&name).is_none() {
            // Only some domains are forwarded, and this is none of them.
            return Outcome { code: ResponseCode::Refused, ..Outcome::servfail() };
        }
        let outcome = timeout(ALL, self.chase(name, rtype, asked)).await;
        outcome.ok().flatten().unwrap_or_else(Outcome::servfail)
    }

    /// Follows a chain of aliases to its end, as far as others are asked for it. `None`: no upstream says anything.
    async fn chase(&self, mut name: Name, rtype: RecordType, asked: &mut Asked<'_>) -> Option<Outcome> {
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
        if asked.place.is_none() {
            self.metrics.common().cache_hits.add(1);
        }
        Some(all)
    }

    /// What is known of one name, or said of it.
    async fn one(&self, query: &Query, asked: &mut Asked<'_>) -> Option<(ResponseCode, Believed)> {
        let route = self.route(query.name())?;
        let may_say = |at: &Name| !(asked.ours)(at) && self.route(at).is_some_and(|other| std::ptr::eq(other, route));
        if let Some(known) = self.cache.get(query, Instant::now()) {
            return judge(query, known, may_say);
        }
        if asked.place.is_none() {
            self.metrics.common().cache_misses.add(1);
            asked.place = self.under_way.take(asked.client, Instant::now());
        }
        let Some((_, gone)) = asked.place.as_mut() else {
            asked.over_quota = true;
            return None;
        };
        let tries = async {
            for upstream in self.order(&route.upstreams) {
                if let Some(said) = self.ask(upstream, query).await {
                    return Some(said);
                }
            }
            None
        };
        let said = tokio::select! {
            said = tries => said?,
            _ = gone => {
                asked.over_quota = true;
                return None;
            }
        };
        // Only what is believed is remembered.
        let (code, part) = judge(query, said, may_say)?;
        self.cache.insert(query.clone(), remembered(query, code, &part), Instant::now());
        Some((code, part))
    }

    /// Whose upstreams are asked for a name.
    fn route(&self, name: &Name) -> Option<&Route> {
        self.routes.iter().find(|route| route.domain.zone_of(name))
    }

    /// Those that answer first, each group in the given order. A rested one gets one question to show itself with: its
    /// next rest begins at once and ends with its answer.
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

    /// `None`: it does not say, ask another.
    async fn ask(&self, upstream: &Upstream, query: &Query) -> Option<UpstreamReply> {
        let said = upstream.lookup(query, self.now()).await;
        let silent = matches!(said, Err(NetError::Timeout | NetError::Io(_) | NetError::NoConnections));
        upstream.rests_until.store(if silent { self.now() + REST.as_millis() as u64 } else { 0 }, Ordering::Relaxed);
        matches!(said, Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_)))).then_some(said)
    }
}

/// What an upstream says, or said.
type UpstreamReply = std::result::Result<Message, NetError>;

/// The code and what is believed of it; `None`: that is no answer.
fn judge(query: &Query, said: UpstreamReply, may_say: impl Fn(&Name) -> bool) -> Option<(ResponseCode, Believed)> {
    match said {
        Ok(message) => {
            let code = message.metadata.response_code;
            Some((code, believed(query.name(), query.query_type(), &message, may_say)))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let soa = none.soa.map(|soa| Record::from_rdata(soa.name, soa.ttl, RData::SOA(soa.data)));
            let soa = soa.filter(|soa| soa.name.zone_of(query.name()) && may_say(&soa.name));
            Some((none.response_code, Believed { soa, ..Believed::default() }))
        }
        Err(_) => None,
    }
}

/// The same record, as one that is known to be an SOA.
fn soa_record(record: &Record) -> Option<Record<rdata::SOA>> {
    record.clone().map(|data| match data {
        RData::SOA(soa) => Some(soa),
        _ => None,
    })
}

/// The form in which hickory's cache remembers it.
fn remembered(query: &Query, code: ResponseCode, part: &Believed) -> UpstreamReply {
    if part.answers.is_empty() {
        let mut none = NoRecords::new(query.clone(), code);
        none.negative_ttl = part.soa.as_ref().map(believed::negative_ttl);
        none.soa = part.soa.as_ref().and_then(soa_record).map(Box::new);
        return Err(NetError::Dns(DnsError::NoRecordsFound(none)));
    }
    let mut message = Message::query();
    message.metadata.response_code = code;
    message.add_answers(part.answers.iter().cloned());
    message.add_authorities(part.soa.iter().cloned());
    Ok(message)
}

/// Names that mean something without anybody being asked (RFC 6761, section 6; RFC 7686, section 2).
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

/// `127.0.0.0/8` and `::1`.
static LOOPBACK: LazyLock<[Name; 2]> = LazyLock::new(|| {
    let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";
    ["127.in-addr.arpa.", six].map(|zone| Name::from_ascii(zone).expect("it is a name"))
});

impl Outcome {
    fn servfail() -> Self {
        Self { code: ResponseCode::ServFail, answers: Vec::new(), authorities: Vec::new() }
    }
}

/// The draft's header and question with SERVFAIL, for what hickory cannot carry.
fn failed(draft: &[u8]) -> Vec<u8> {
    let mut out = draft.to_vec();
    if let Some(code) = out.get_mut(3) {
        *code = *code & 0xf0 | super::wire::rcode::SERVFAIL as u8;
    }
    out
}

/// Only header, question and OPT, with TC: ask over TCP.
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
    async fn a_silent_upstream_is_asked_last_and_once_in_a_while_first() {
        let forwarder = Forwarder::new(&["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()], &[]).unwrap();
        let upstreams = &forwarder.routes[0].upstreams;
        let first = || std::ptr::eq(forwarder.order(upstreams)[0], &upstreams[0]);
        let rests_until = |at: u64| upstreams[0].rests_until.store(at, Ordering::Relaxed);
        assert!(first(), "both answer: the given order");
        rests_until(forwarder.now() + 5000);
        assert!(!first() && !first(), "it rests");
        rests_until(forwarder.now());
        assert!(first(), "its rest is over: one question finds out");
        assert!(!first(), "and only one");
        rests_until(0);
        assert!(first() && first(), "it answers again");
        assert_eq!(forwarder.order(upstreams).len(), 2);
    }
}
