//! Tests of reloads: no question is lost, and invalid names change nothing. Tests of sockets that are in use.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use lap_base::{Kind, testing::loopback::own_address};

use super::{DEADLINE, Running, office, put};
use crate::{
    client::query::query,
    server::service::{ServeOptions, Server},
};

async fn wait_for(server: &Running, name: &str, expected: &str) {
    let start = Instant::now();
    loop {
        let answer = query(server.address, name, "A", DEADLINE).await.unwrap();
        if answer.to_string().trim() == expected {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "`{name}` is `{answer}` and not `{expected}`");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_loses_no_question() {
    let server = Running::start(&office()).await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (stop, asked, address) = (stop.clone(), asked.clone(), server.address);
            std::thread::spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(DEADLINE)).unwrap();
                socket.connect(address).unwrap();
                let question =
                    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03git\x08internal\x00\x00\x01\x00\x01";
                let mut buffer = [0; 512];
                while !stop.load(Ordering::Relaxed) {
                    socket.send(question).unwrap();
                    let length = socket.recv(&mut buffer).expect("a question got no answer");
                    assert_eq!((buffer[3] & 15, buffer[7]), (0, 1), "{:02x?}", &buffer[..length]);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let serial = |s: &str| s.split(' ').nth(2).unwrap().parse::<u32>().unwrap();
    let soa = async || serial(&query(server.address, "internal", "SOA", DEADLINE).await.unwrap().records[0]);
    let mut last = soa().await;
    for round in 1..=4u8 {
        let mut names = office();
        names.hosts.push(("new.internal.".into(), [10, 0, 0, round].into()));
        put(&server.dir, &serde_json::to_string(&names).unwrap());
        wait_for(&server, "new.internal", &format!("10.0.0.{round}")).await;
        let next = soa().await;
        assert!(next > last, "the serial went from {last} to {next}");
        last = next;
        // Questions are answered before, during and after each reload.
        let before = asked.load(Ordering::Relaxed);
        while asked.load(Ordering::Relaxed) < before + 100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_list_of_names_changes_nothing() {
    let server = Running::start(&office()).await;
    for bad in ["", "{", "{}", "[1,2]", r#"{"zone":"","server":"","server_address":null,"hosts":[],"upstreams":[]}"#] {
        put(&server.dir, bad);
        tokio::time::sleep(Duration::from_millis(400)).await;
        wait_for(&server, "git.internal", "192.168.0.10").await;
    }
    std::fs::remove_file(server.dir.path().join("names.json")).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    wait_for(&server, "git.internal", "192.168.0.10").await;
    let mut names = office();
    names.hosts.push(("new.internal.".into(), [10, 0, 0, 1].into()));
    put(&server.dir, &serde_json::to_string(&names).unwrap());
    wait_for(&server, "new.internal", "10.0.0.1").await;
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_gives_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let options = |listen: &str| ServeOptions {
        listen: vec![listen.parse().unwrap()],
        names_dir: dir.path().into(),
        keys: None,
        data_dir: None,
        state_dir: None,
        metrics: None,
        build: String::new(),
    };
    let failure = async |listen: &str| Server::bind(&options(listen)).await.err().expect("it must not start");
    let missing = failure("127.0.0.1:0").await;
    assert_eq!(missing.kind, Kind::Config);
    assert!(missing.message.starts_with("cannot read `/") && missing.message.contains("names.json`: No such file"));
    put(&dir, "nonsense");
    assert!(failure("127.0.0.1:0").await.message.contains("names.json` is not a list of names: "));

    put(&dir, &serde_json::to_string(&office()).unwrap());
    let first = Server::bind(&options("127.0.0.1:0")).await.unwrap();
    let taken = failure(&first.addresses()[0].to_string()).await;
    assert_eq!(taken.kind, Kind::Host);
    assert!(taken.message.contains("(TCP): Address already in use") && taken.hints[0].contains("ss -lnutp"));

    // This UDP port is in use, while its TCP port is free.
    let alone = UdpSocket::bind((own_address(), 0)).unwrap();
    let taken = failure(&alone.local_addr().unwrap().to_string()).await;
    assert!(taken.message.contains("(UDP): Address already in use"), "{taken}");
    assert_eq!(failure("0.0.0.0:0").await.kind, Kind::Usage);
}
