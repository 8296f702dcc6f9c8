//! Tests of TSIG (RFC 8945). hickory verifies the signatures.

use hickory_server::proto::{
    op::{Edns, Message, OpCode, Query},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::A as Address},
};

use super::{
    office::{Office, key},
    packet::{A, ANY, Key, Update, exchange, question, record, tsig, unix, wire},
};

const NOERROR: u8 = 0;
const FORMERR: u8 = 1;
const REFUSED: u8 = 5;
const NOTAUTH: u8 = 9;
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;

fn update() -> Vec<u8> {
    Update::of("internal").add("a.pc.internal", A, 60, &[10, 0, 0, 1]).bytes()
}

/// Returns the error, the length of the signature and the other data of a reply's signature record. Returns `None` if
/// there is no such record.
fn signature(reply: &[u8]) -> Option<(u16, usize, Vec<u8>)> {
    let message = Message::from_vec(reply).unwrap();
    let data = &message.signature()?.data;
    // hickory does not expose the error, which follows the signature and the id.
    let tail = data.other.len() + 2;
    let at = reply.len() - tail - 2;
    Some((u16::from_be_bytes([reply[at], reply[at + 1]]), data.mac.len(), data.other.clone()))
}

#[test]
fn both_algorithms_are_accepted() {
    let office = Office::start();
    for (by, tcp) in [("pc", false), ("pc", true), ("long", false), ("long", true)] {
        let question = question(&wire("git.internal"), A);
        for message in [update(), question] {
            assert_eq!(key(by).send(office.address, tcp, &message), NOERROR, "{by}, TCP: {tcp}");
        }
    }
    assert_eq!(office.ask("a.pc.internal", A).0, NOERROR);
}

/// An update built with hickory's own types.
#[test]
fn an_update_built_by_hickory_is_accepted() {
    let office = Office::start();
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    let mut zone = Query::query(Name::from_ascii("internal.").unwrap(), RecordType::SOA);
    zone.set_query_class(DNSClass::IN);
    message.add_query(zone);
    let name = Name::from_ascii("h.pc.internal.").unwrap();
    message.add_authority(Record::from_rdata(name, 60, RData::A(Address::new(10, 0, 0, 9))));
    let bytes = message.to_vec().unwrap();
    assert_eq!(key("pc").send(office.address, false, &bytes), NOERROR);
    assert_eq!(office.ask("h.pc.internal", A).1, ["60 10.0.0.9"]);
}

/// The table contains the response code and the error in the signature record for each fault, on an update and on a
/// question, over UDP and TCP. It also shows whether the reply is signed.
#[test]
fn each_faulty_signature_has_its_code_and_error() {
    let office = Office::start();
    let stranger = |name: &str, algorithm: &str| Key::new(name, algorithm, &[7; 32]);
    let (now, all) = (unix(), key("all"));
    type Forge<'a> = Box<dyn Fn(&[u8]) -> (Vec<u8>, Vec<u8>) + 'a>;
    let with_mac = |change: fn(&mut Vec<u8>)| -> Forge {
        let all = all.clone();
        Box::new(move |message| {
            let (_, mut mac) = all.sign_at(message, now);
            change(&mut mac);
            let (name, algorithm) = (wire("all"), wire("hmac-sha256"));
            (tsig(message, &name, &algorithm, &now.to_be_bytes()[2..], &mac), mac)
        })
    };
    let table: Vec<(&str, Forge, u8, Option<u16>)> = vec![
        ("wrong secret", Box::new(|m| stranger("all", "hmac-sha256").sign(m)), NOTAUTH, Some(BADSIG)),
        ("unknown key", Box::new(|m| stranger("nobody", "hmac-sha256").sign(m)), NOTAUTH, Some(BADKEY)),
        ("wrong algorithm", Box::new(|m| stranger("all", "hmac-sha512").sign(m)), NOTAUTH, Some(BADKEY)),
        ("an unsupported algorithm", Box::new(|m| stranger("all", "hmac-md5").sign(m)), NOTAUTH, Some(BADKEY)),
        ("an hour ago", Box::new(|m| all.sign_at(m, now - 3600)), NOTAUTH, Some(BADTIME)),
        ("in an hour", Box::new(|m| all.sign_at(m, now + 3600)), NOTAUTH, Some(BADTIME)),
        ("cut to a half", with_mac(|mac| mac.truncate(16)), NOTAUTH, Some(BADTRUNC)),
        ("cut shorter", with_mac(|mac| mac.truncate(15)), FORMERR, None),
        ("no signature in it", with_mac(Vec::clear), FORMERR, None),
        ("too long", with_mac(|mac| mac.push(0)), FORMERR, None),
        ("one bit flipped", with_mac(|mac| mac[31] ^= 1), NOTAUTH, Some(BADSIG)),
    ];
    for message in [update(), question(&wire("git.internal"), A)] {
        for tcp in [false, true] {
            for (what, forge, code, error) in &table {
                let (bytes, mac) = forge(&message);
                let reply = exchange(office.address, tcp, &bytes);
                assert_eq!(reply[3] & 15, *code, "{what}, TCP: {tcp}");
                let said = signature(&reply);
                assert_eq!(said.as_ref().map(|s| s.0), *error, "{what}, TCP: {tcp}");
                let Some((_, length, other)) = said else { continue };
                if *error == Some(BADTIME) {
                    let mut server = [0; 8];
                    server[2..].copy_from_slice(&other);
                    assert!(u64::from_be_bytes(server).abs_diff(unix()) < 60, "the reply contains the server's time");
                    assert!(all.verify(&reply, &mac).is_ok(), "{what}: a client with a valid key gets a signed reply");
                } else {
                    assert_eq!((length, other.len()), (0, 0), "{what}: the reply is not signed");
                }
            }
        }
    }
    assert_eq!(office.ask("a.pc.internal", A).0, 3, "none of them changed anything");
}

#[test]
fn a_signature_must_be_the_only_one_and_the_last_record() {
    let office = Office::start();
    for message in [update(), question(&wire("git.internal"), A)] {
        let (signed, _) = key("all").sign(&message);
        let twice = key("all").sign(&signed).0;
        let mut not_last = [&signed[..], &record(b"\0", 41, 1232, 0, &[])].concat();
        not_last[11] += 1;
        let mut among_answers = signed.clone();
        (among_answers[7], among_answers[11]) = (1, 0);
        let mut with_ttl = signed.clone();
        let ttl = message.len() + wire("all").len() + 4;
        with_ttl[ttl + 3] = 1;
        let mut of_class_in = signed.clone();
        of_class_in[ttl - 1] = 1;
        let cases = [
            ("two", twice),
            ("not last", not_last),
            ("with a TTL", with_ttl),
            ("of class IN", of_class_in),
            ("cut", signed[..signed.len() - 1].to_vec()),
        ];
        for (what, bytes) in cases {
            for tcp in [false, true] {
                assert_eq!(exchange(office.address, tcp, &bytes)[3] & 15, FORMERR, "{what}, TCP: {tcp}");
            }
        }
    }
    assert_eq!(office.ask("a.pc.internal", A).0, 3);
}

/// A proxy has replaced the id of the message. The signature covers the original id, and the reply has the new one.
#[test]
fn a_message_with_another_id_than_signed_is_accepted() {
    let office = Office::start();
    let (mut bytes, mac) = key("all").sign(&question(&wire("git.internal"), A));
    bytes[..2].copy_from_slice(&[0xab, 0xcd]);
    let reply = exchange(office.address, false, &bytes);
    assert_eq!((reply[3] & 15, &reply[..2]), (NOERROR, &[0xab, 0xcd][..]));
    assert!(key("all").verify(&reply, &mac).is_ok());
}

/// Every signed question gets a signed reply, whatever its response code is, also if it is truncated.
#[test]
fn signed_questions_get_signed_answers() {
    let mut names = super::office();
    names.hosts.extend((0..100).map(|i| ("many.internal.".to_owned(), [10, 1, 0, i].into())));
    let office = Office::with(&names);
    let table = [
        ("git.internal", A, NOERROR, false),
        ("no.internal", A, 3, false),
        ("git.internal", 28, NOERROR, false),
        ("www.example.com", A, REFUSED, false),
        ("many.internal", A, NOERROR, true),
        ("internal", 249, 4, false),
    ];
    for (name, rtype, code, cut) in table {
        for edns in [false, true] {
            let mut message = Message::from_vec(&question(&wire(name), rtype)).unwrap();
            if edns {
                let mut edns = Edns::new();
                edns.set_max_payload(1232);
                message.set_edns(edns);
            }
            for by in ["reader", "long"] {
                let (bytes, mac) = key(by).sign(&message.to_vec().unwrap());
                let reply = exchange(office.address, false, &bytes);
                assert_eq!((reply[3] & 15, reply[2] & 2 != 0), (code, cut), "{name} {rtype}");
                assert!(reply.len() <= if edns { 1232 } else { 512 }, "{name}: {} bytes", reply.len());
                assert!(key(by).verify(&reply, &mac).is_ok(), "{name} {rtype}: {reply:02x?}");
            }
        }
        assert_eq!(key("reader").send(office.address, true, &question(&wire(name), rtype)), code);
    }
}

/// An update that is sent again gets the same reply and changes nothing, whatever happened in between.
#[test]
fn a_repeated_update_changes_nothing() {
    let mut office = Office::start();
    let name = "r.pc.internal";
    let add = |n: u8| Update::of("internal").add(name, A, 60, &[10, 0, 0, n]);
    let (adding, mac) = key("pc").sign(&add(1).bytes());
    let refused = Update::of("internal").needs(name, A, ANY, &[]).add(name, A, 60, &[10, 0, 0, 3]);
    let (refusing, refusing_mac) = key("pc").sign(&refused.bytes());
    let again = |office: &Office, bytes: &[u8], mac: &[u8], code: u8| {
        for tcp in [false, true] {
            let reply = exchange(office.address, tcp, bytes);
            assert_eq!(reply[3] & 15, code, "TCP: {tcp}");
            assert!(key("pc").verify(&reply, mac).is_ok());
        }
    };
    again(&office, &refusing, &refusing_mac, 8);
    again(&office, &adding, &mac, NOERROR);
    let serial = office.serial();
    again(&office, &adding, &mac, NOERROR);
    again(&office, &refusing, &refusing_mac, 8);
    assert_eq!((office.ask(name, A).1, office.serial()), (vec!["60 10.0.0.1".into()], serial));
    // Another update has removed the record. The old update does not add it again.
    assert_eq!(office.update("pc", &Update::of("internal").remove_all(name, ANY)), NOERROR);
    let serial = office.serial();
    again(&office, &adding, &mac, NOERROR);
    assert_eq!((office.ask(name, A).0, office.serial()), (3, serial));
    office.restart();
    again(&office, &adding, &mac, NOERROR);
    again(&office, &refusing, &refusing_mac, 8);
    assert_eq!((office.ask(name, A).0, office.serial()), (3, serial), "also after a restart");
    assert_eq!(office.update("pc", &add(1)), NOERROR);
    assert_eq!(office.ask(name, A).1, ["60 10.0.0.1"], "a new update with the same content is not a repetition");
}

/// New keys are used at once. An invalid file of keys changes nothing.
#[test]
fn new_keys_are_used_at_once() {
    let office = Office::start();
    let file = office.path("keys.json");
    let old = std::fs::read_to_string(&file).unwrap();
    let put = |text: &str| {
        std::fs::write(office.path("keys.new"), text).unwrap();
        std::fs::rename(office.path("keys.new"), &file).unwrap();
    };
    let until = |code: u8| {
        let asked = question(&wire("git.internal"), A);
        let start = std::time::Instant::now();
        loop {
            let reply = exchange(office.address, false, &key("reader").sign(&asked).0);
            if reply[3] & 15 == code {
                return;
            }
            assert!(start.elapsed() < super::DEADLINE, "still {}", reply[3] & 15);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    until(NOERROR);
    put(&old.replace("\"reader\"", "\"other\""));
    until(NOTAUTH);
    put(&old);
    until(NOERROR);
    put("{\"keys\": [");
    std::thread::sleep(std::time::Duration::from_millis(600));
    until(NOERROR);
}
