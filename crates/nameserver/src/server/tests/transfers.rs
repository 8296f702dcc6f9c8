//! Tests of zone transfers (AXFR, RFC 5936) and incremental transfers (IXFR, RFC 1995), with `dig` and hickory.

use std::{collections::BTreeMap, process::Command, thread};

use super::{
    office,
    office::{Office, SECRET_BASE64, key},
    packet::{A, ANY, Update, exchange, question, record, transfer, wire},
};

/// Returns the output of `dig` with these arguments and the key `reader`.
fn dig(office: &Office, arguments: &[&str]) -> String {
    let output = Command::new("dig")
        .args([&format!("@{}", office.address.ip()), "-p", &office.address.port().to_string()])
        .args(["-y", &format!("hmac-sha256:reader:{}", SECRET_BASE64.as_str()), "+tries=1", "+time=20"])
        .args(arguments)
        .output()
        .expect("these tests ask with `dig`: apt-get install bind9-dnsutils");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn zones_of_any_size_are_transferred() {
    for size in [1, 1_000, 100_000u32] {
        let mut names = office();
        names.hosts.clear();
        names.hosts.extend((0..size).map(|i| (format!("n{i}.internal."), (0x0a00_0000 + i).into())));
        let office = Office::with(&names);
        let shown = dig(&office, &["internal", "AXFR", "+onesoa"]);
        let addresses = shown.lines().filter(|l| l.contains("\tIN\tA\t")).count();
        // The zone also contains `ns.internal.`
        assert_eq!(addresses, size as usize + 1, "{}", shown.lines().rev().take(20).collect::<Vec<_>>().join("\n"));
        assert_eq!(shown.lines().filter(|l| l.contains("\tIN\tSOA\t")).count(), 1);
        assert!(!shown.contains("Couldn't verify") && !shown.contains("Transfer failed"), "dig verifies each message");
        if size == 1000 {
            let parts = transfer(office.address, &key("reader"), "internal", None);
            assert!(parts.len() > 1, "more than one message");
            let records: usize = parts.iter().map(|p| p.answers.len()).sum();
            assert_eq!(records, 1000 + 1 + 1 + 2, "the hosts, ns, NS, and the SOA at both ends");
            assert!(parts.iter().all(|p| p.metadata.authoritative), "AA (RFC 5936, section 2.2.1)");
        }
    }
}

#[test]
fn a_transfer_without_the_right_is_refused() {
    let office = Office::start();
    let asked = question(&wire("internal"), 252);
    let code = |message: &[u8], tcp| exchange(office.address, tcp, message)[3] & 15;
    for tcp in [false, true] {
        assert_eq!(code(&asked, tcp), 5, "without a key");
        assert_eq!(key("pc").send(office.address, tcp, &asked), 5, "a key that may not");
        assert_eq!(key("reader").send(office.address, tcp, &question(&wire("example.com"), 252)), 9, "not ours");
        assert_eq!(key("reader").send(office.address, tcp, &question(&wire("pc.internal"), 252)), 9, "not an apex");
        assert_eq!(
            key("reader").send(office.address, tcp, &question(&wire("internal"), 251)),
            1,
            "IXFR without a serial"
        );
    }
    assert_eq!(key("reader").send(office.address, false, &asked), 5, "a whole zone goes over TCP");
    assert!(dig(&office, &["+notcp", "internal", "AXFR"]).contains("SOA"), "dig asks for AXFR over TCP");
}

/// Applies a transfer to `zone` as a secondary does. Returns the number of changes.
fn applied(zone: &mut BTreeMap<String, ()>, parts: &[hickory_server::proto::op::Message], incremental: bool) -> usize {
    let all: Vec<_> = parts.iter().flat_map(|p| &p.answers).collect();
    let is_soa = |i: usize| all[i].record_type().to_string() == "SOA";
    if !incremental || !is_soa(1) {
        zone.clear();
        zone.extend(all[1..all.len() - 1].iter().map(|r| (r.to_string(), ())));
        return 0;
    }
    let (mut adding, mut changes) = (true, 0);
    for (i, record) in all.iter().enumerate().take(all.len() - 1).skip(1) {
        if is_soa(i) {
            adding = !adding;
            changes += usize::from(!adding);
        } else if adding {
            assert!(zone.insert(record.to_string(), ()).is_none(), "{record} is added and exists already");
        } else {
            assert!(zone.remove(&record.to_string()).is_some(), "{record} is removed and does not exist");
        }
    }
    changes
}

#[test]
fn an_incremental_transfer_contains_only_the_changes() {
    let office = Office::start();
    let reader = key("reader");
    let mut zone = BTreeMap::new();
    applied(&mut zone, &transfer(office.address, &reader, "internal", None), false);
    let start = office.serial();
    let a = |n: u8, ttl| Update::of("internal").add("a.pc.internal", A, ttl, &[10, 0, 0, n]);
    for update in [a(1, 60), a(2, 60), a(2, 90), Update::of("internal").remove("a.pc.internal", A, &[10, 0, 0, 1])] {
        assert_eq!(office.update("all", &update), 0);
    }
    let parts = transfer(office.address, &reader, "internal", Some(start));
    assert_eq!(applied(&mut zone, &parts, true), 4, "four changes, one after the other");
    let mut whole = BTreeMap::new();
    applied(&mut whole, &transfer(office.address, &reader, "internal", None), false);
    assert_eq!(zone, whole);
    let shown = dig(&office, &["internal", &format!("IXFR={start}")]);
    assert_eq!(shown.lines().filter(|l| l.contains("\tIN\tSOA\t")).count(), 2 + 2 * 4, "{shown}");
    // The serials: the present one, a later one, and one that is too old.
    let count =
        |serial| transfer(office.address, &reader, "internal", Some(serial)).iter().map(|p| p.answers.len()).sum();
    let (level, ahead, old): (usize, usize, usize) = (count(start + 4), count(start + 5), count(start - 1));
    assert_eq!((level, ahead, old), (1, 1, zone.len() + 2));
    // Over UDP the reply contains only the SOA, so that the client uses TCP (RFC 1995, section 2).
    let mut asked = question(&wire("internal"), 251);
    asked[9] = 1;
    asked.extend(record(&wire("internal"), 6, 1, 0, &[&[0, 0][..], &start.to_be_bytes(), &[0; 16]].concat()));
    let (bytes, mac) = reader.sign(&asked);
    let reply = exchange(office.address, false, &bytes);
    assert!(reader.verify(&reply, &mac).is_ok());
    assert_eq!((reply[3] & 15, reply[7]), (0, 1));
}

/// A name of the workspace hides a registered one. A secondary must not notice the end of the hidden lease.
#[test]
fn hidden_records_are_not_transferred() {
    let office = Office::start();
    let name = "hidden.internal";
    assert_eq!(office.update("lease", &Update::of("internal").add(name, A, 60, &[10, 0, 0, 1])), 0);
    let mut names = super::office();
    // The address is the same. A secondary that removes the registered record would lose this one too.
    names.hosts.push(("hidden.internal.".into(), [10, 0, 0, 1].into()));
    let registered = office.serial();
    office.names(&names);
    office.wait("names.json is taken over", || office.serial() != registered);
    let start = office.serial();
    let mut zone = BTreeMap::new();
    applied(&mut zone, &transfer(office.address, &key("reader"), "internal", None), false);
    office.wait("the lease ends", || office.serial() != start);
    let parts = transfer(office.address, &key("reader"), "internal", Some(start));
    applied(&mut zone, &parts, true);
    assert!(zone.keys().any(|r| r.starts_with(name) && r.ends_with("10.0.0.1")), "{zone:?}");
}

/// Each update changes two names together. A transfer must never contain half of an update.
#[test]
fn each_of_twenty_parallel_transfers_shows_one_state() {
    let mut names = office();
    names.hosts.extend((0..2_000u32).map(|i| (format!("n{i}.internal."), (0x0a00_0000 + i).into())));
    let office = Office::with(&names);
    let set = |n: u8| {
        let update = Update::of("internal").remove_all("left.pc.internal", ANY).remove_all("right.pc.internal", ANY);
        let address = [10, 9, 9, n];
        office.update("all", &update.add("left.pc.internal", A, 60, &address).add("right.pc.internal", A, 60, &address))
    };
    assert_eq!(set(0), 0);
    thread::scope(|scope| {
        let transfers: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let parts = transfer(office.address, &key("reader"), "internal", None);
                    let of = |name: &str| -> Vec<String> {
                        let all = parts.iter().flat_map(|p| &p.answers).filter(|r| r.name.to_string() == name);
                        all.map(|r| r.data.to_string()).collect()
                    };
                    (of("left.pc.internal."), of("right.pc.internal."))
                })
            })
            .collect();
        for n in 1..100 {
            assert_eq!(set(n), 0);
        }
        for transfer in transfers {
            let (left, right) = transfer.join().unwrap();
            assert_eq!((left.len(), &left), (1, &right));
        }
    });
}
