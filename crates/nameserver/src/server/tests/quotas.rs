//! Tests of quotas: one client uses as much as it can, and another one is still served.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use super::{
    DEADLINE, Running, office,
    packet::{A, question, read, wire},
};
use crate::server::tcp::Times;

/// The address of the client that uses too much. The other client is 127.0.0.1.
const GREEDY: &str = "127.0.0.3";

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// Sends a question over UDP from 127.0.0.1 and returns the reply.
fn ask(server: SocketAddr, name: &str) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.send_to(&question(&wire(name), A), server).unwrap();
    let mut reply = [0; 2048];
    let length = socket.recv(&mut reply).unwrap();
    reply[..length].to_vec()
}

/// One client sends more questions than there are slots, to an upstream that does not answer. At the same time, another
/// client's questions go to an upstream that answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forwarded_questions_of_one_client_do_not_block_another() {
    lap_base::descriptors::raise().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let quick = super::upstream::fake(super::upstream::example).await;
    let mut names = office();
    names.upstreams = vec![silent.local_addr().unwrap()];
    names.forward.insert("example.com.".into(), vec![quick.address]);
    let server = Running::start(&names).await;
    let address = server.address;
    let served = tokio::task::spawn_blocking(move || {
        let greedy = UdpSocket::bind((GREEDY, 0)).unwrap();
        greedy.connect(address).unwrap();
        greedy.set_nonblocking(true).unwrap();
        let (mut refused, mut reply, begun) = (0, [0; 2048], Instant::now());
        for n in 0..4000 {
            while greedy.send(&question(&wire(&format!("n{n}.silent.org")), A)).is_err() {
                assert!(begun.elapsed() < DEADLINE);
            }
            while let Ok(length) = greedy.recv(&mut reply) {
                assert_eq!(reply[..length][3] & 15, 2);
                refused += 1;
            }
        }
        while refused == 0 {
            refused += usize::from(greedy.recv(&mut reply).is_ok());
            assert!(begun.elapsed() < DEADLINE, "the greedy client has no quota");
        }
        // All slots of the greedy client are in use while the server waits for the silent upstream.
        let at = Instant::now();
        let codes: Vec<_> = (0..50).map(|n| ask(address, &format!("w{n}.example.com"))[3] & 15).collect();
        (codes, at.elapsed())
    });
    let (codes, _) = served.await.unwrap();
    assert_eq!(codes, [0; 50], "every question of the other client is answered");
    server.stop().await;
}

fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
    socket.connect_timeout(&to.into(), DEADLINE).unwrap();
    socket.into()
}

fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Of ten thousand idle connections of one client, few stay open. At the same time, another client is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_of_one_client_do_not_block_another() {
    lap_base::descriptors::raise().unwrap();
    // The idle limit is so long that only the quota closes connections.
    let never = Times { idle: Duration::from_secs(3600), life: Duration::from_secs(3600) };
    let server = Running::made("127.0.0.1:0", &office(), |server| server.with_times(never)).await;
    let address = server.address;
    let connects = tokio::task::spawn_blocking(move || {
        let mut greedy = Vec::new();
        for n in 0..10_000 {
            greedy.push(connect(GREEDY, address));
            if n % 1000 == 999 {
                let mut stream = connect("127.0.0.1", address);
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.write_all(&framed(&question(&wire("git.internal"), A))).unwrap();
                assert_eq!(read(&mut stream).expect("an answer")[3] & 15, 0);
            }
        }
        let begun = Instant::now();
        loop {
            let open = greedy.iter().filter(|stream| is_open(stream)).count();
            if open <= 64 {
                return open;
            }
            assert!(begun.elapsed() < DEADLINE, "{open} connections of one client stay open");
        }
    });
    assert!(connects.await.unwrap() > 0, "the client keeps its share");
    server.stop().await;
}

/// The quota closes the oldest idle connection of the client, and not an active one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_active_connection_stays_open() {
    let never = Times { idle: Duration::from_secs(3600), life: Duration::from_secs(3600) };
    let server = Running::made("127.0.0.1:0", &office(), |server| server.with_times(never)).await;
    let address = server.address;
    let work = tokio::task::spawn_blocking(move || {
        let mut used = connect(GREEDY, address);
        used.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut others = Vec::new();
        let begun = Instant::now();
        // The server closes connections as soon as they are no longer young, so it must close some in the end.
        loop {
            used.write_all(&framed(&question(&wire("git.internal"), A))).unwrap();
            assert_eq!(read(&mut used).expect("the used one stays")[3] & 15, 0);
            others.push(connect(GREEDY, address));
            // The first of the other connections is older than all except the active one.
            if begun.elapsed() > Duration::from_secs(2) && !is_open(&others[0]) {
                break;
            }
            assert!(begun.elapsed() < DEADLINE);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    work.await.unwrap();
    server.stop().await;
}

/// A busy connection ends too, between two replies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_connection_ends_after_its_lifetime() {
    let short = Times { idle: Duration::from_secs(60), life: Duration::from_millis(500) };
    let server = Running::made("127.0.0.1:0", &office(), |server| server.with_times(short)).await;
    let address = server.address;
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = connect("127.0.0.1", address);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let (message, begun, mut answers) = (framed(&question(&wire("git.internal"), A)), Instant::now(), 0);
        while begun.elapsed() < DEADLINE {
            let mut length = [0; 2];
            if stream.write_all(&message).is_err() || stream.read_exact(&mut length).is_err() {
                return answers;
            }
            let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut reply).expect("a started reply is complete");
            answers += 1;
        }
        panic!("the connection is still open");
    });
    assert!(asked.await.unwrap() > 0);
    server.stop().await;
}
