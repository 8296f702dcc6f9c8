//! Tests of forwarding with upstream servers on plain sockets: which upstream is asked, which clients may ask, and what
//! is cached.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{
    office,
    office::{Office, key},
    packet::{A, exchange, question, wire},
};
use crate::names::Names;

/// An upstream that answers every question with `192.0.2.N` and a TTL of 100, and a question for `many…` with sixty
/// addresses. It counts the questions.
struct Upstream {
    address: SocketAddr,
    asked: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    fn new(n: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let (asked, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (asked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                counter.fetch_add(1, Ordering::Relaxed);
                let _ = socket.send_to(&reply(&buffer[..length], n), client);
            }
        });
        Self { address, asked, stop, thread: Some(thread) }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn reply(asked: &[u8], n: u8) -> Vec<u8> {
    let end = 12 + asked[12..].iter().position(|b| *b == 0).unwrap() + 5;
    let mut out = asked[..end].to_vec();
    let count = if out[13..].to_ascii_lowercase().starts_with(b"many") { 60 } else { 1 };
    (out[2], out[3]) = (0x81, 0x80);
    out[6..12].copy_from_slice(&[0, count, 0, 0, 0, 0]);
    for i in 0..count {
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 100, 0, 4, 192, 0, 2, n + i]);
    }
    out
}

fn with(change: impl FnOnce(&mut Names)) -> Office {
    let mut names = office();
    change(&mut names);
    Office::with(&names)
}

#[test]
fn the_longest_forwarded_domain_applies() {
    let (rest, example, deeper) = (Upstream::new(1), Upstream::new(2), Upstream::new(3));
    let office = with(|names| {
        names.upstreams = vec![rest.address];
        names.forward.insert("example.com.".into(), vec![example.address]);
        names.forward.insert("Deep.Example.com".into(), vec![deeper.address]);
    });
    for (name, n) in [
        ("www.example.org", 1),
        ("example.com", 2),
        ("www.example.com", 2),
        ("xexample.com", 1),
        ("deep.example.com", 3),
        ("A.DEEP.EXAMPLE.COM", 3),
        ("xdeep.example.com", 2),
        ("com", 1),
    ] {
        assert_eq!(office.ask(name, A), (0, vec![format!("100 192.0.2.{n}")]), "{name}");
    }
    assert_eq!((rest.asked(), example.asked(), deeper.asked()), (3, 3, 2));
}

#[test]
fn without_upstreams_only_listed_domains_are_forwarded() {
    let example = Upstream::new(2);
    let office = with(|names| {
        names.forward.insert("example.com.".into(), vec![example.address]);
    });
    assert_eq!(office.ask("www.example.com", A).0, 0);
    assert_eq!(office.ask("www.example.org", A).0, 5, "REFUSED: no upstream");
    assert_eq!(example.asked(), 1);
}

#[test]
fn the_ttl_of_a_cached_answer_decreases() {
    let upstream = Upstream::new(7);
    let office = with(|names| names.upstreams = vec![upstream.address]);
    let ttl = || office.ask("www.example.com", A).1[0].split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(ttl(), 100);
    office.wait("the TTL counts down", || ttl() < 100);
    assert!(ttl() > 0);
    assert_eq!(upstream.asked(), 1);
}

#[test]
fn a_client_outside_gets_answers_from_the_zones_only() {
    let upstream = Upstream::new(7);
    let office = with(|names| {
        names.upstreams = vec![upstream.address];
        names.clients = Some(vec!["10.0.0.0/8".into()]);
    });
    for tcp in [false, true] {
        let reply = |name: &str| exchange(office.address, tcp, &question(&wire(name), A));
        let (other, ours) = (reply("www.example.com"), reply("git.internal"));
        assert_eq!((other[3], ours[3], ours[7]), (5, 0, 1), "REFUSED and NOERROR, both without RA; TCP: {tcp}");
        let signed = key("reader").send(office.address, tcp, &question(&wire("www.example.com"), A));
        assert_eq!(signed, 5, "a key for transfers does not make a client");
    }
    assert_eq!(upstream.asked(), 0);
}

/// RFC 8945, section 5.3. Forwarded answers are signed too, complete or truncated.
#[test]
fn forwarded_answers_to_signed_questions_are_signed() {
    let upstream = Upstream::new(7);
    let office = with(|names| names.upstreams = vec![upstream.address]);
    for (name, cut) in [("www.example.com", false), ("many.example.com", true)] {
        let (bytes, mac) = key("reader").sign(&question(&wire(name), A));
        let reply = exchange(office.address, false, &bytes);
        assert_eq!((reply[3], reply[2] & 2 != 0, reply[7] == 0), (0x80, cut, cut), "{name}");
        assert!(reply.len() <= 512 && key("reader").verify(&reply, &mac).is_ok(), "{name}");
        assert_eq!(key("reader").send(office.address, true, &question(&wire(name), A)), 0);
    }
}

/// The upstream servers do not answer, and the client gets SERVFAIL. `forward::TIME_LIMIT` makes sure that it arrives
/// before the client gives up.
#[test]
fn silent_upstreams_give_servfail_over_both_transports() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let office = with(|names| names.upstreams = vec![silent.local_addr().unwrap(); 2]);
    std::thread::scope(|scope| {
        for tcp in [false, true] {
            let (name, office) = (format!("tcp-{tcp}.example.com"), &office);
            scope.spawn(move || {
                let reply = exchange(office.address, tcp, &question(&wire(&name), A));
                assert_eq!(reply[3] & 15, 2);
            });
        }
    });
}
