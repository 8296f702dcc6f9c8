//! Tests of forwarding: names outside the zones are sent to an upstream, answers are cached, and every question gets a
//! reply.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hickory_server::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use lap_base::testing::loopback::{own_address, own_place};
use tokio::net::UdpSocket;

use super::{
    DEADLINE, Running, handle_unsigned,
    local::{awkward, question},
    office, put,
};
use crate::{
    client::query::query,
    server::{forward::Forwarder, handle::Disposition, reply::Transport, wire::rtype},
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A fake name server.
pub struct Fake {
    pub address: SocketAddr,
    pub asked: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a fake name server. If `reply` returns `None`, it sends no reply.
pub async fn fake(reply: impl Fn(&Message) -> Option<Message> + Send + 'static) -> Fake {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counter = asked.clone();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            let question = Message::from_vec(&buffer[..length]).unwrap();
            if let Some(mut answer) = reply(&question) {
                answer.metadata.id = question.metadata.id;
                answer.metadata.message_type = MessageType::Response;
                answer.add_queries(question.queries.clone());
                let _ = socket.send_to(&answer.to_vec().unwrap(), client).await;
            }
        }
    });
    Fake { address, asked, task }
}

pub fn code(code: ResponseCode) -> Message {
    let mut message = Message::query();
    message.metadata.response_code = code;
    message
}

/// Answers every name with an address, and names that start with `missing` with NXDOMAIN and an SOA.
pub fn example(question: &Message) -> Option<Message> {
    let name = question.queries[0].name().clone();
    let zone = Name::from_ascii("example.com.").unwrap();
    // The name arrives in random case.
    let says = |start: &str| name.to_lowercase().to_string().starts_with(start);
    if says("missing") {
        let mut message = code(ResponseCode::NXDomain);
        let soa = rdata::SOA::new(zone.clone(), zone.clone(), 1, 2, 3, 4, 77);
        message.add_authority(Record::from_rdata(zone, 77, RData::SOA(soa)));
        return Some(message);
    }
    let mut message = code(ResponseCode::NoError);
    let count = if says("many") { 60 } else { 1 };
    if question.queries[0].query_type() == RecordType::A {
        message.add_answers(
            (0..count).map(|i| Record::from_rdata(name.clone(), 300, RData::A(rdata::A::new(93, 184, 215, 14 + i)))),
        );
    }
    Some(message)
}

async fn with_upstreams(upstreams: &[SocketAddr]) -> Running {
    let mut names = office();
    names.upstreams = upstreams.to_vec();
    Running::start(&names).await
}

/// Returns the response code and the records.
async fn ask(server: &Running, name: &str) -> (String, String) {
    let answer = query(server.address, name, "A", DEADLINE).await.unwrap();
    assert!(!answer.authoritative, "{name} is outside the zones");
    (answer.code.clone(), answer.to_string().trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_answers_are_sent_and_cached() {
    let upstream = fake(example).await;
    let server = with_upstreams(&[upstream.address]).await;
    for _ in 0..3 {
        let (code, address) = ask(&server, "www.example.com").await;
        assert_eq!((code.as_str(), address.as_str()), ("NOERROR", "93.184.215.14"));
        assert_eq!(ask(&server, "missing.example.com").await.0, "NXDOMAIN");
    }
    assert_eq!(upstream.asked.load(Ordering::Relaxed), 2, "the cache answers the rest");

    let dig = server.dig(&["wWw.eXample.com"]).await;
    assert!(dig.contains(";wWw.eXample.com.") && dig.contains("flags: qr rd ra;"), "{dig}");
    let missing = server.dig(&["missing.example.com"]).await;
    let soa = missing.lines().find(|line| line.contains("\tIN\tSOA\t")).unwrap_or_else(|| panic!("{missing}"));
    // The answer has been in the cache for a short time.
    let ttl = soa.strip_prefix("example.com.").and_then(|rest| rest.split_whitespace().next()?.parse::<u32>().ok());
    assert!(ttl.is_some_and(|ttl| (1..=77).contains(&ttl)), "{soa}");
    assert!(server.dig(&["+tcp", "+short", "www.example.com"]).await.contains("93.184.215.14"));
    let cut = server.dig(&["+noedns", "+ignore", "many.example.com"]).await;
    assert!(cut.contains("flags: qr tc rd ra;") && cut.contains("ANSWER: 0"), "{cut}");
    assert!(server.dig(&["+noedns", "many.example.com"]).await.contains("ANSWER: 60"));
    assert!(server.dig(&["git.internal"]).await.contains("flags: qr aa rd ra;"));
    assert!(server.dig(&["+norecurse", "www.example.com"]).await.contains("REFUSED"));

    // A reload with the same upstream servers keeps the cache, even if no upstream answers any more.
    drop(upstream);
    let mut names = office();
    names.upstreams =
        serde_json::from_slice::<crate::names::Names>(&std::fs::read(server.dir.path().join("names.json")).unwrap())
            .unwrap()
            .upstreams;
    names.hosts.push(("new.internal.".into(), [10, 0, 0, 1].into()));
    put(&server.dir, &serde_json::to_string(&names).unwrap());
    while !query(server.address, "new.internal", "A", DEADLINE).await.unwrap().found() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&server, "www.example.com").await.1, "93.184.215.14");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_zones_are_never_sent_to_an_upstream() {
    let upstream = fake(example).await;
    let server = with_upstreams(&[upstream.address]).await;
    for name in ["nothing.internal", "internal", "a.node.internal"] {
        let _ = server.dig(&[name]).await;
    }
    let _ = server.dig(&["-x", "192.168.0.200"]).await;
    assert_eq!(upstream.asked.load(Ordering::Relaxed), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_upstream_the_next_one_is_asked() {
    let silent = fake(|_| None).await;
    let failing = fake(|_| Some(code(ResponseCode::ServFail))).await;
    let refusing = fake(|_| Some(code(ResponseCode::Refused))).await;
    let good = fake(example).await;
    let closed = own_place();
    for first in [silent.address, failing.address, refusing.address, closed] {
        let server = with_upstreams(&[first, good.address]).await;
        assert_eq!(ask(&server, "www.example.com").await.1, "93.184.215.14");
        let asked = silent.asked.load(Ordering::Relaxed);
        assert_eq!(ask(&server, "other.example.com").await.1, "93.184.215.14");
        assert_eq!(silent.asked.load(Ordering::Relaxed), asked, "the silent upstream rests and delays no answer");
        server.stop().await;
    }
    assert!(silent.asked.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_that_are_down_give_servfail() {
    let (silent, other) = (fake(|_| None).await, fake(|_| None).await);
    let closed = own_place();
    let cases = [vec![silent.address], vec![silent.address, other.address], vec![closed]];
    let cases = cases.iter().map(async |upstreams| {
        let server = with_upstreams(upstreams).await;
        let dig = server.dig(&["www.example.com"]).await;
        assert!(dig.contains("SERVFAIL"), "{upstreams:?}: {dig}");
        // The names of the zones are still answered.
        assert!(query(server.address, "git.internal", "A", DEADLINE).await.unwrap().found());
        server.stop().await;
    });
    futures_util::future::join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_out_of_the_zones_is_followed() {
    let upstream = fake(example).await;
    let forwarder = Forwarder::new(&[upstream.address], &[]).unwrap();
    let (zones, mut draft) = (awkward(), Vec::new());
    let asked = question("OUT.internal.", rtype::A).to_vec().unwrap();
    assert!(matches!(handle_unsigned(&zones, true, &asked, Transport::Udp, &mut draft), Disposition::Forward(..)));
    let reply = Message::from_vec(&forwarder.complete(&draft, 512, LOCAL, &|_| false).await.reply).unwrap();
    let records: Vec<_> = reply.answers.iter().map(ToString::to_string).collect();
    assert_eq!(records, ["OUT.internal. 60 IN CNAME www.example.com.", "www.example.com. 300 IN A 93.184.215.14"]);
    assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
    assert_eq!(reply.queries[0].name().to_string(), "OUT.internal.");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_not_its_own_upstream() {
    // This address belongs to this test alone. On 127.0.0.1, another test could take the TCP port.
    let free = std::net::TcpListener::bind((own_address(), 0)).unwrap().local_addr().unwrap();
    let mut names = office();
    names.upstreams = vec![free];
    let server = Running::on(&free.to_string(), &names).await;
    assert_eq!(ask(&server, "www.example.com").await.0, "REFUSED");
    server.stop().await;
}
