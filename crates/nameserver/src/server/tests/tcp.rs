//! Tests of several messages on one TCP connection (RFC 7766).

use std::{
    collections::BTreeSet,
    io::Write,
    net::{Shutdown, UdpSocket},
};

use super::{
    office,
    office::{Office, key},
    packet::{A, Update, connect, question, read, wire},
};

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// All questions are in one packet, and then the client closes its side. Every question is answered, and a question for
/// a slow upstream does not delay the others.
#[test]
fn all_questions_of_one_connection_are_answered() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut names = office();
    names.upstreams = vec![silent.local_addr().unwrap()];
    let office = Office::with(&names);
    let mut stream = connect(office.address);
    let with_id = |id: u16, name: &str| {
        let mut message = question(&wire(name), A);
        message[..2].copy_from_slice(&id.to_be_bytes());
        framed(&message)
    };
    let mut all = with_id(0, "slow.example.com");
    (1..=50).for_each(|id| all.extend(with_id(id, "git.internal")));
    stream.write_all(&all).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let replies: Vec<Vec<u8>> = std::iter::from_fn(|| read(&mut stream)).collect();
    let ids: BTreeSet<u16> = replies.iter().map(|r| u16::from_be_bytes([r[0], r[1]])).collect();
    assert_eq!(ids, (0..=50).collect(), "each question is answered");
    let last = replies.last().unwrap();
    assert_eq!((&last[..2], last[3] & 15), (&[0, 0][..], 2), "a slow upstream delays no other reply");
}

/// A question after an update on the same connection sees the change, even if the client sends it before the reply.
#[test]
fn a_question_after_an_update_sees_the_change() {
    let office = Office::start();
    let mut stream = connect(office.address);
    for n in 0..20 {
        let update = Update::of("internal").add("a.pc.internal", A, 60, &[10, 0, 0, n]);
        let (update, mac) = key("pc").sign(&update.bytes());
        stream.write_all(&[framed(&update), framed(&question(&wire("a.pc.internal"), A))].concat()).unwrap();
        let first = read(&mut stream).unwrap();
        assert!(key("pc").verify(&first, &mac).is_ok());
        assert_eq!(read(&mut stream).unwrap()[7], n + 1, "the answer contains all addresses so far");
    }
}
