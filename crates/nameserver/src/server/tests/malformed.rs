//! Tests of malformed questions: each gets the right response code or no reply, and none causes a panic.

use super::{Running, handle_unsigned, office};
use crate::server::{handle::Disposition, load, reply::Transport};

/// `git.internal. A IN`, id 0x1234, RD.
const GOOD: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03git\x08internal\x00\x00\x01\x00\x01";
const OPT: &[u8] = b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";

fn reply(packet: &[u8]) -> Option<Vec<u8>> {
    let zones = load::zones(&office(), 1).unwrap();
    let mut out = Vec::new();
    match handle_unsigned(&zones, false, packet, Transport::Udp, &mut out) {
        Disposition::Reply => Some(out),
        Disposition::Drop => None,
        other => panic!("{other:?}"),
    }
}

/// Returns the question `GOOD` with some bytes changed and more bytes after it.
fn bent(changes: &[(usize, u8)], tail: &[u8]) -> Vec<u8> {
    let mut packet = [GOOD, tail].concat();
    for (at, byte) in changes {
        packet[*at] = *byte;
    }
    packet
}

#[test]
fn each_malformed_question_has_its_response_code() {
    const FORMERR: Option<u8> = Some(1);
    const NOTIMP: Option<u8> = Some(4);
    const REFUSED: Option<u8> = Some(5);
    let class = GOOD.len() - 1;
    let table: &[(&str, Vec<u8>, Option<u8>)] = &[
        ("good", bent(&[], b""), Some(0)),
        ("good with OPT", bent(&[(11, 1)], OPT), Some(0)),
        ("nothing", vec![], None),
        ("half a header", GOOD[..11].to_vec(), None),
        ("a reply", bent(&[(2, 0x81)], b""), None),
        ("a header only, promising a question", GOOD[..12].to_vec(), FORMERR),
        ("no question", bent(&[(5, 0)], b""), FORMERR),
        ("two questions", bent(&[(5, 2)], &GOOD[12..]), FORMERR),
        ("cut in the name", GOOD[..20].to_vec(), FORMERR),
        ("cut in the type", GOOD[..GOOD.len() - 3].to_vec(), FORMERR),
        ("a compressed question", bent(&[(12, 0xc0), (13, 12)], b""), FORMERR),
        ("a label of 64", bent(&[(12, 64)], &[b'x'; 80]), FORMERR),
        ("bytes after the end", bent(&[], b"\x00"), FORMERR),
        ("a promised record is missing", bent(&[(11, 1)], b""), FORMERR),
        ("OPT cut off", bent(&[(11, 1)], &OPT[..8]), FORMERR),
        ("OPT longer than the packet", bent(&[(11, 1)], b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\xff"), FORMERR),
        ("two OPT", bent(&[(11, 2)], &[OPT, OPT].concat()), FORMERR),
        ("OPT in the answer section", bent(&[(7, 1)], OPT), FORMERR),
        ("opcode STATUS", bent(&[(2, 0x10)], b""), NOTIMP),
        ("opcode NOTIFY", bent(&[(2, 0x20)], b""), NOTIMP),
        ("opcode UPDATE", bent(&[(2, 0x28)], b""), REFUSED),
        ("opcode 15", bent(&[(2, 0x78)], b""), NOTIMP),
        ("class CHAOS", bent(&[(class, 3)], b""), REFUSED),
        ("class ANY", bent(&[(class, 255)], b""), REFUSED),
        ("type OPT", bent(&[(class - 2, 41)], b""), FORMERR),
    ];
    for (what, packet, expected) in table {
        let reply = reply(packet);
        assert_eq!(reply.as_ref().map(|r| r[3] & 15), *expected, "{what}");
        if let Some(reply) = reply {
            assert_eq!(
                (&reply[..2], reply[2] & 0xf8),
                (&packet[..2], 0x80 | packet[2] & 0x78),
                "{what}: id, QR, opcode"
            );
            let question = packet.len() >= GOOD.len() && !matches!(*expected, FORMERR | NOTIMP) || *what == "type OPT";
            assert_eq!(reply[5] == 1, question, "{what}: the reply repeats a question that could be parsed");
        }
    }
}

#[test]
fn the_longest_name_is_answered_and_a_longer_one_is_refused() {
    let mut packet = GOOD[..12].to_vec();
    for _ in 0..3 {
        packet.push(63);
        packet.extend([b'x'; 63]);
    }
    // 3 × 64 + 53 + 9 (internal) + 1 = 255
    for (last, code) in [(52, 3), (53, 1)] {
        let mut packet = packet.clone();
        packet.push(last);
        packet.extend(vec![b'y'; usize::from(last)]);
        packet.extend(b"\x08internal\x00\x00\x01\x00\x01");
        assert_eq!(reply(&packet).unwrap()[3] & 15, code, "{last}");
    }
}

#[test]
fn random_packets_cause_no_panic() {
    let zones = load::zones(&office(), 1).unwrap();
    let mut out = Vec::new();
    // The generator xorshift makes the same packets each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..200_000 {
        let mut packet = bent(&[(11, 1)], OPT);
        if round % 4 == 0 {
            packet = (0..random() % 80).map(|_| random() as u8).collect();
        }
        for _ in 0..random() % 4 {
            let at = random() as usize % packet.len().max(1);
            if let Some(byte) = packet.get_mut(at) {
                *byte = random() as u8;
            }
        }
        packet.truncate(packet.len() - random() as usize % (packet.len() + 1) / 3);
        if !matches!(handle_unsigned(&zones, true, &packet, Transport::Udp, &mut out), Disposition::Drop) {
            assert!(out.len() >= 12 && out[2] & 0x80 != 0 && out[..2] == packet[..2]);
            assert!(hickory_server::proto::op::Message::from_vec(&out).is_ok(), "{packet:02x?} → {out:02x?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_after_random_packets() {
    let server = Running::start(&office()).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in 0..600 {
        let garbage: Vec<u8> = (0..length).map(|i| (i * 31 + length) as u8).collect();
        socket.send_to(&garbage, server.address).await.unwrap();
    }
    use tokio::io::AsyncWriteExt;
    for garbage in [&b"\x00"[..], b"\x00\x00", b"\x00\x05hello", b"\xff\xffGET / HTTP/1.1\r\n\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
    }
    assert_eq!(server.packet(GOOD).await.unwrap()[3] & 15, 0);
    server.stop().await;
}
