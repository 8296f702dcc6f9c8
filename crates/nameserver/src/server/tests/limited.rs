//! Tests of the rate limit, with a flood of packets from outside.

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use super::{DEADLINE, Running, local::question, office};
use crate::server::wire::rtype;

/// Sends messages, and returns the number of replies with records, of empty replies with TC, and of lost replies, with
/// the time. At least `answered` of two consecutive messages must be answered. Waiting for them keeps the number of
/// messages in progress so small that no buffer overflows.
fn flood(from: &str, to: SocketAddr, message: &[u8], times: usize, answered: usize) -> (usize, usize, usize, Duration) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.connect(to).unwrap();
    let (mut full, mut slipped, mut reply) = (0, 0, [0; 2048]);
    let mut receive = |time_limit: Duration| {
        socket.set_read_timeout(Some(time_limit)).unwrap();
        let Ok(length) = socket.recv(&mut reply) else { return false };
        let truncated = reply[2] & 2 != 0;
        assert_eq!(truncated, reply[6..12] == [0; 6], "without records exactly where TC is set");
        if truncated {
            assert!(length <= message.len(), "{length} bytes for {}", message.len());
            assert_eq!(reply[12..length], message[12..length], "the question is repeated");
            slipped += 1;
        } else {
            full += 1;
        }
        true
    };
    let start = Instant::now();
    for _ in 0..times / 2 {
        socket.send(message).unwrap();
        socket.send(message).unwrap();
        for _ in 0..answered {
            assert!(receive(DEADLINE), "no reply");
        }
    }
    // The other replies have been sent, or are about to be sent.
    while receive(Duration::from_secs(1)) {}
    (full, slipped, times - full - slipped, start.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_outside_get_a_limited_number_of_replies() {
    let mut names = office();
    names.clients = Some(vec!["127.0.0.1/32".into()]);
    let server = Running::start(&names).await;
    let any = question("internal.", rtype::ANY).to_vec().unwrap();

    let (full, slipped, lost, time) = flood("127.0.0.2", server.address, &any, 1000, 1);
    let most = 201 + (time.as_secs_f64() * 100.0) as usize;
    assert!((200..=most).contains(&full), "{full} of at most {most} in {time:?}");
    assert!(slipped.abs_diff(lost) <= 1, "half of the replies above the rate slip: {slipped} and {lost}");

    assert_eq!(flood("127.0.0.1", server.address, &any, 1000, 2).0, 1000, "a client inside has no limit");

    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    for _ in 0..300 {
        stream.write_all(&[&(any.len() as u16).to_be_bytes(), &any[..]].concat()).await.unwrap();
        let mut reply = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[2] & 2, 0, "a TCP client has no limit");
    }
    server.stop().await;
}
