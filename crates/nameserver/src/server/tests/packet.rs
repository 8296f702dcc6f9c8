//! DNS messages made without the server's code: hickory signs and verifies them, and plain sockets send them. The tests
//! of the whole program use this file too.

#![allow(dead_code, reason = "each of the two test modules uses a different part")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hickory_server::proto::{
    op::Message,
    rr::{Name, TSigner, rdata::tsig::TsigAlgorithm},
};

pub const IN: u16 = 1;
pub const NONE: u16 = 254;
pub const ANY: u16 = 255;
pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const PTR: u16 = 12;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;

/// The id of the next update.
static NEXT: AtomicU16 = AtomicU16::new(0x4242);

/// The deadline for a reply. It is long, because other tests run at the same time.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns a name in wire format, with the case as written.
pub fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.trim_end_matches('.').split('.').filter(|l| !l.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// Returns a complete record.
pub fn record(name: &[u8], rtype: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut out = name.to_vec();
    out.extend_from_slice(&rtype.to_be_bytes());
    out.extend_from_slice(&class.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
    out
}

/// Returns a question with recursion desired.
pub fn question(name: &[u8], rtype: u16) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    out.extend_from_slice(name);
    out.extend_from_slice(&rtype.to_be_bytes());
    out.extend_from_slice(&IN.to_be_bytes());
    out
}

/// An update (RFC 2136) made of raw bytes, so that tests can make wrong ones.
#[derive(Clone)]
pub struct Update {
    pub zone: Vec<u8>,
    pub zone_type: u16,
    pub zone_class: u16,
    pub prerequisites: Vec<Vec<u8>>,
    pub changes: Vec<Vec<u8>>,
}

impl Update {
    pub fn of(zone: &str) -> Self {
        let (prerequisites, changes) = (vec![], vec![]);
        Self { zone: wire(zone), zone_type: SOA, zone_class: IN, prerequisites, changes }
    }

    pub fn needs(mut self, name: &str, rtype: u16, class: u16, data: &[u8]) -> Self {
        self.prerequisites.push(record(&wire(name), rtype, class, 0, data));
        self
    }

    pub fn add(self, name: &str, rtype: u16, ttl: u32, data: &[u8]) -> Self {
        self.change(name, rtype, IN, ttl, data)
    }

    pub fn remove(self, name: &str, rtype: u16, data: &[u8]) -> Self {
        self.change(name, rtype, NONE, 0, data)
    }

    /// Removes all records of one type. With `ANY` it removes all records.
    pub fn remove_all(self, name: &str, rtype: u16) -> Self {
        self.change(name, rtype, ANY, 0, &[])
    }

    pub fn change(mut self, name: &str, rtype: u16, class: u16, ttl: u32, data: &[u8]) -> Self {
        self.changes.push(record(&wire(name), rtype, class, ttl, data));
        self
    }

    /// Returns the message with a new id, because the server treats a second message with the same signature as a
    /// repetition.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
        out.extend_from_slice(&[0x28, 0, 0, 1]);
        for count in [self.prerequisites.len(), self.changes.len(), 0] {
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        out.extend_from_slice(&self.zone);
        out.extend_from_slice(&self.zone_type.to_be_bytes());
        out.extend_from_slice(&self.zone_class.to_be_bytes());
        self.prerequisites.iter().chain(&self.changes).for_each(|r| out.extend_from_slice(r));
        out
    }
}

/// The client's side of a key.
#[derive(Clone)]
pub struct Key {
    pub name: String,
    pub algorithm: String,
    signer: TSigner,
}

impl Key {
    pub fn new(name: &str, algorithm: &str, secret: &[u8]) -> Self {
        let of = match algorithm {
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            _ => TsigAlgorithm::HmacSha256,
        };
        let signer = TSigner::new(secret.into(), of, Name::from_ascii(name).unwrap(), 300).unwrap();
        Self { name: name.into(), algorithm: algorithm.into(), signer }
    }

    /// Returns the signed message and its signature.
    pub fn sign(&self, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        self.sign_at(message, unix())
    }

    /// Signs with the given time, in seconds since 1970.
    pub fn sign_at(&self, message: &[u8], time: u64) -> (Vec<u8>, Vec<u8>) {
        let (name, algorithm) = (wire(&self.name), wire(&self.algorithm));
        let time = &time.to_be_bytes()[2..];
        let variables = [&name[..], &[0, 255, 0, 0, 0, 0], &algorithm, time, &[1, 44, 0, 0, 0, 0]].concat();
        let mac = self.signer.sign(&[message, &variables].concat()).unwrap();
        (tsig(message, &name, &algorithm, time, &mac), mac)
    }

    /// Verifies the signature of a reply with hickory, and returns it.
    pub fn verify(&self, reply: &[u8], mac: &[u8]) -> Result<Vec<u8>, String> {
        self.verify_part(reply, mac, true)
    }

    /// Verifies the signature of one message of a transfer. `mac` is the previous signature.
    pub fn verify_part(&self, reply: &[u8], mac: &[u8], first: bool) -> Result<Vec<u8>, String> {
        self.signer.verify_message_byte(reply, Some(mac), first).map(|(mac, ..)| mac).map_err(|e| e.to_string())
    }

    /// Signs and sends a message, verifies the reply, and returns its response code.
    pub fn send(&self, server: SocketAddr, tcp: bool, message: &[u8]) -> u8 {
        let (bytes, mac) = self.sign(message);
        let reply = exchange(server, tcp, &bytes);
        if let Err(why) = self.verify(&reply, &mac) {
            panic!("{why}: {reply:02x?}");
        }
        assert_eq!((&reply[..2], reply[2] & 0xf8), (&message[..2], 0x80 | message[2] & 0x78));
        reply[3] & 15
    }
}

/// Returns `message` followed by a signature record.
pub fn tsig(message: &[u8], key: &[u8], algorithm: &[u8], time: &[u8], mac: &[u8]) -> Vec<u8> {
    let mut data = [algorithm, time, &[1, 44], &(mac.len() as u16).to_be_bytes(), mac].concat();
    data.extend_from_slice(&message[..2]);
    data.extend_from_slice(&[0; 4]);
    let mut out = [message, &record(key, 250, ANY, 0, &data)].concat();
    let additionals = u16::from_be_bytes([out[10], out[11]]) + 1;
    out[10..12].copy_from_slice(&additionals.to_be_bytes());
    out
}

/// Returns the current time in seconds since 1970.
pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Sends a message and returns the reply.
pub fn exchange(server: SocketAddr, tcp: bool, message: &[u8]) -> Vec<u8> {
    if tcp {
        let mut stream = connect(server);
        write(&mut stream, message);
        return read(&mut stream).expect("a reply over TCP");
    }
    let socket = UdpSocket::bind(if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(server).unwrap();
    socket.send(message).unwrap();
    let mut reply = vec![0; 65535];
    let length = socket.recv(&mut reply).expect("a reply over UDP");
    reply.truncate(length);
    reply
}

pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

pub fn write(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&[&(message.len() as u16).to_be_bytes(), message].concat()).unwrap();
}

/// Reads the next message. Returns `None` if the connection has ended.
pub fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

/// Returns the response code, and the data of the records in sorted order.
pub fn ask(server: SocketAddr, name: &str, rtype: u16) -> (u8, Vec<String>) {
    let reply = exchange(server, true, &question(&wire(name), rtype));
    let message = Message::from_vec(&reply).unwrap();
    let mut data: Vec<String> = message.answers.iter().map(|r| format!("{} {}", r.ttl, r.data)).collect();
    data.sort();
    (reply[3] & 15, data)
}

/// Returns the serial of a zone.
pub fn serial(server: SocketAddr, zone: &str) -> u32 {
    let (_, data) = ask(server, zone, SOA);
    data[0].split(' ').nth(3).unwrap().parse().unwrap()
}

/// Returns the messages of a transfer, each with a verified signature. With `serial`, the transfer contains only the
/// changes since it (IXFR).
pub fn transfer(server: SocketAddr, key: &Key, zone: &str, serial: Option<u32>) -> Vec<Message> {
    let mut asked = question(&wire(zone), if serial.is_some() { 251 } else { 252 });
    if let Some(serial) = serial {
        let soa = [&[0, 0][..], &serial.to_be_bytes(), &[0; 16]].concat();
        asked[9] = 1;
        asked.extend(record(&wire(zone), SOA, IN, 0, &soa));
    }
    let (bytes, mut mac) = key.sign(&asked);
    let mut stream = connect(server);
    write(&mut stream, &bytes);
    let mut parts: Vec<Message> = Vec::new();
    loop {
        let part = read(&mut stream).expect("a part");
        mac = key.verify_part(&part, &mac, parts.is_empty()).unwrap();
        let message = Message::from_vec(&part).unwrap();
        assert_eq!(part[3] & 15, 0, "the transfer is refused");
        parts.push(message);
        let records: Vec<_> = parts.iter().flat_map(|p| &p.answers).collect();
        // A transfer ends with the SOA with which it began. A single SOA means that there are no changes.
        let closed = records.last() == records.first() && records.len() > 1;
        if closed || serial.is_some() && records.len() == 1 {
            return parts;
        }
    }
}
