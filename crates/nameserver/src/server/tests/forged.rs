//! Tests with upstream servers that send records they were not asked for, and with forged replies.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_server::proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use super::{
    Running, office,
    upstream::{code, fake},
};
use crate::client::query::query;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn a(owner: &str, address: [u8; 4]) -> Record {
    Record::from_rdata(name(owner), 300, RData::A(rdata::A(Ipv4Addr::from(address))))
}

fn cname(owner: &str, alias: &str) -> Record {
    Record::from_rdata(name(owner), 300, RData::CNAME(rdata::CNAME(name(alias))))
}

fn says(records: Vec<Record>) -> Option<Message> {
    let mut message = code(ResponseCode::NoError);
    message.add_answers(records);
    Some(message)
}

/// Returns every record of the answer, in one line.
async fn ask(server: &Running, name: &str) -> String {
    let dig = server.dig(&["+noall", "+answer", name, "A"]).await;
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        format!("{} {} {}", words[0], words[3], words[4])
    };
    dig.lines().filter(|text| !text.is_empty()).map(line).collect::<Vec<_>>().join(", ")
}

async fn with(upstream: SocketAddr, corp: Option<SocketAddr>) -> Running {
    let mut names = office();
    names.upstreams = vec![upstream];
    names.forward.extend(corp.map(|corp| ("corp.example.".into(), vec![corp])));
    Running::start(&names).await
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_other_names_are_neither_sent_nor_cached() {
    let upstream = fake(|question| {
        let asked = question.queries[0].name().to_lowercase();
        let mut message = says(vec![
            a("www.bank.example.", [6, 6, 6, 6]),
            a(&asked.to_string(), [192, 0, 2, 1]),
            a("git.internal.", [6, 6, 6, 6]),
        ])?;
        message.add_additionals([a("www.bank.example.", [6, 6, 6, 6])]);
        message.add_authorities([Record::from_rdata(
            name("bank.example."),
            300,
            RData::NS(rdata::NS(name("ns.evil.example."))),
        )]);
        Some(message)
    })
    .await;
    let server = with(upstream.address, None).await;
    for _ in 0..2 {
        assert_eq!(ask(&server, "www.shop.example").await, "www.shop.example. A 192.0.2.1");
    }
    assert_eq!(ask(&server, "www.bank.example").await, "www.bank.example. A 6.6.6.6, www.bank.example. A 192.0.2.1");
    assert_eq!(ask(&server, "git.internal").await, "git.internal. A 192.168.0.10");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_into_another_domain_is_asked_at_its_upstream() {
    let corp = fake(|question| {
        let asked = question.queries[0].name().to_lowercase().to_string();
        match asked.as_str() {
            "away.corp.example." => {
                says(vec![cname(&asked, "www.bank.example."), a("www.bank.example.", [6, 6, 6, 6])])
            }
            _ => says(vec![a(&asked, [10, 9, 9, 9])]),
        }
    })
    .await;
    let rest = fake(|question| {
        let asked = question.queries[0].name().to_lowercase().to_string();
        match asked.as_str() {
            "www.example.com." => says(vec![cname(&asked, "x.corp.example."), a("x.corp.example.", [6, 6, 6, 6])]),
            "ours.example.com." => says(vec![cname(&asked, "git.internal."), a("git.internal.", [6, 6, 6, 6])]),
            _ => says(vec![a(&asked, [192, 0, 2, 1])]),
        }
    })
    .await;
    let server = with(rest.address, Some(corp.address)).await;
    // The second round is answered from the cache.
    for _ in 0..2 {
        assert_eq!(
            ask(&server, "www.example.com").await,
            "www.example.com. CNAME x.corp.example., x.corp.example. A 10.9.9.9"
        );
        assert_eq!(
            ask(&server, "away.corp.example").await,
            "away.corp.example. CNAME www.bank.example., www.bank.example. A 192.0.2.1"
        );
        assert_eq!(ask(&server, "ours.example.com").await, "ours.example.com. CNAME git.internal.");
    }
    server.stop().await;
}

/// Starts a name server over UDP and TCP on one port, which stores the UDP questions. `udp` makes the UDP replies, each
/// with a flag that says whether it is sent from the correct address.
async fn raw(
    udp: impl Fn(&[u8]) -> Vec<(bool, Vec<u8>)> + Send + 'static,
    tcp: Option<[u8; 4]>,
) -> (SocketAddr, Arc<Mutex<Vec<(SocketAddr, Vec<u8>)>>>) {
    let address = SocketAddr::from((lap_base::testing::loopback::own_address(), 5300));
    let (socket, other) = (UdpSocket::bind(address).await.unwrap(), UdpSocket::bind((address.ip(), 0)).await.unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = seen.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            all.lock().unwrap().push((client, buffer[..length].to_vec()));
            for (right, packet) in udp(&buffer[..length]) {
                let _ = if right { &socket } else { &other }.send_to(&packet, client).await;
            }
        }
    });
    if let Some(says) = tcp {
        let listener = TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut asked = vec![0; usize::from(length)];
                        stream.read_exact(&mut asked).await.unwrap();
                        let reply = answer(&asked, says, |_| {});
                        stream.write_all(&[&(reply.len() as u16).to_be_bytes(), &reply[..]].concat()).await.unwrap();
                    }
                });
            }
        });
    }
    (address, seen)
}

/// Returns a reply to a question, with the fault that `change` adds.
fn answer(asked: &[u8], address: [u8; 4], change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let asked = Message::from_vec(asked).unwrap();
    let mut message = code(ResponseCode::NoError);
    message.metadata.id = asked.metadata.id;
    message.metadata.message_type = MessageType::Response;
    message.add_queries(asked.queries.clone());
    message.add_answers([a(&asked.queries[0].name().to_lowercase().to_string(), address)]);
    change(&mut message);
    message.to_vec().unwrap()
}

fn lower_case(message: &mut Message) {
    let asked = message.queries[0].clone();
    message.queries = vec![Query::query(asked.name().to_lowercase(), asked.query_type())];
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_questions_have_random_ports_ids_and_case() {
    let (upstream, seen) = raw(|asked| vec![(true, answer(asked, [192, 0, 2, 1], |_| {}))], None).await;
    let server = with(upstream, None).await;
    for n in 0..30 {
        let asked = format!("a-rather-long-name-{n}.example.com");
        assert_eq!(
            ask(&server, &asked).await,
            format!("{asked}. A 192.0.2.1"),
            "the answer has the case of the client's question"
        );
    }
    let seen = seen.lock().unwrap();
    fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> usize {
        all.collect::<BTreeSet<_>>().len()
    }
    let ports = distinct(seen.iter().map(|(client, _)| client.port()));
    let ids = distinct(seen.iter().map(|(_, asked)| &asked[..2]));
    assert!(ports >= 25 && ids >= 25, "{ports} ports and {ids} ids of {}", seen.len());
    let both = |text: &[u8]| text.iter().any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase);
    assert!(seen.iter().all(|(_, asked)| both(&asked[12..48])), "0x20");
    let cases = distinct(seen.iter().map(|(_, asked)| &asked[12..30]));
    assert!(cases >= 25, "{cases}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_to_another_question_is_ignored() {
    let udp = |asked: &[u8]| {
        let evil = [6, 6, 6, 6];
        vec![
            (true, answer(asked, evil, |message| message.metadata.id = message.metadata.id.wrapping_add(1))),
            (true, answer(asked, evil, |m| m.queries = vec![Query::query(name("x.example.com."), RecordType::A)])),
            (false, answer(asked, evil, |_| {})),
            (true, answer(asked, [192, 0, 2, 1], |_| {})),
        ]
    };
    let (upstream, _) = raw(udp, None).await;
    let server = with(upstream, None).await;
    assert_eq!(ask(&server, "www.example.com").await, "www.example.com. A 192.0.2.1");
    server.stop().await;
}

/// The forged reply has the right id, port and address, but not the right case. The server repeats the question over
/// TCP.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_in_another_case_is_ignored() {
    let (upstream, seen) =
        raw(|asked| vec![(true, answer(asked, [6, 6, 6, 6], lower_case))], Some([192, 0, 2, 1])).await;
    let server = with(upstream, None).await;
    assert_eq!(ask(&server, "a-rather-long-name.example.com").await, "a-rather-long-name.example.com. A 192.0.2.1");
    assert!(!seen.lock().unwrap().is_empty(), "it was asked over UDP first");
    server.stop().await;
}

/// An upstream that always changes the case and has no TCP is still used.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_changes_the_case_is_asked_without_random_case() {
    let (upstream, seen) = raw(|asked| vec![(true, answer(asked, [192, 0, 2, 1], lower_case))], None).await;
    let server = with(upstream, None).await;
    for n in 0..5 {
        let name = format!("a-rather-long-name-{n}.example.com");
        assert!(query(server.address, &name, "A", super::DEADLINE).await.unwrap().found(), "{name}");
    }
    let last = seen.lock().unwrap().last().unwrap().1.clone();
    assert!(!last[12..30].iter().any(u8::is_ascii_uppercase), "the server no longer uses random case");
    server.stop().await;
}
