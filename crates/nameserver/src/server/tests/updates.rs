//! Tests of updates (RFC 2136) with raw packets, over UDP and TCP.

use super::{
    office::{Office, key},
    packet::{A, AAAA, ANY, CNAME, IN, MX, NONE, NS, PTR, SOA, SRV, TXT, Update, exchange, record, wire},
};

const NOERROR: u8 = 0;
const FORMERR: u8 = 1;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
const YXDOMAIN: u8 = 6;
const YXRRSET: u8 = 7;
const NXRRSET: u8 = 8;
const NOTAUTH: u8 = 9;
const NOTZONE: u8 = 10;

const ONE: [u8; 4] = [10, 0, 0, 1];
const TWO: [u8; 4] = [10, 0, 0, 2];

fn internal() -> Update {
    Update::of("internal")
}

/// Each prerequisite, met and failed. If one fails, the update changes nothing.
#[test]
fn prerequisites_have_their_codes() {
    let office = Office::start();
    let set = internal().add("a.pc.internal", A, 60, &ONE).add("a.pc.internal", A, 60, &TWO);
    assert_eq!(office.update("all", &set.add("x.y.pc.internal", TXT, 60, b"\x01x")), NOERROR);
    type Prerequisites<'a> = &'a [(&'a str, u16, u16, &'a [u8])];
    let table: &[(&str, Prerequisites, u8)] = &[
        ("a name in use is", &[("a.pc.internal", ANY, ANY, &[])], NOERROR),
        ("a name in use is not", &[("b.pc.internal", ANY, ANY, &[])], NXDOMAIN),
        ("an empty non-terminal is not in use", &[("y.pc.internal", ANY, ANY, &[])], NXDOMAIN),
        ("a name of the workspace is in use", &[("git.internal", ANY, ANY, &[])], NOERROR),
        ("a name not in use is not", &[("b.pc.internal", ANY, NONE, &[])], NOERROR),
        ("a name not in use is", &[("a.pc.internal", ANY, NONE, &[])], YXDOMAIN),
        ("a free empty non-terminal", &[("y.pc.internal", ANY, NONE, &[])], NOERROR),
        ("a set exists", &[("a.pc.internal", A, ANY, &[])], NOERROR),
        ("a set does not exist", &[("a.pc.internal", AAAA, ANY, &[])], NXRRSET),
        ("no set, and there is none", &[("a.pc.internal", AAAA, NONE, &[])], NOERROR),
        ("no set, and there is one", &[("a.pc.internal", A, NONE, &[])], YXRRSET),
        ("this very set", &[("a.pc.internal", A, IN, &TWO), ("a.pc.internal", A, IN, &ONE)], NOERROR),
        ("one of two is another set", &[("a.pc.internal", A, IN, &ONE)], NXRRSET),
        ("a set with one too many", &[("a.pc.internal", A, IN, &ONE), ("a.pc.internal", A, IN, &[9; 4])], NXRRSET),
        ("this set of a name without records", &[("b.pc.internal", A, IN, &ONE)], NXRRSET),
        ("the case does not matter", &[("A.pC.InterNal", A, ANY, &[])], NOERROR),
        ("a name outside the zone", &[("a.example.com", A, ANY, &[])], NOTZONE),
        ("ANY with data", &[("a.pc.internal", A, ANY, &ONE)], FORMERR),
        ("NONE with data", &[("a.pc.internal", A, NONE, &ONE)], FORMERR),
        ("another class", &[("a.pc.internal", A, 3, &[])], FORMERR),
        ("data that is none of A", &[("a.pc.internal", A, IN, &[1])], FORMERR),
        ("the second fails", &[("a.pc.internal", A, ANY, &[]), ("b.pc.internal", ANY, ANY, &[])], NXDOMAIN),
    ];
    for tcp in [false, true] {
        for (what, prerequisites, code) in table {
            let before = office.serial();
            let mut update = internal();
            for (name, rtype, class, data) in *prerequisites {
                update = update.needs(name, *rtype, *class, data);
            }
            let update = update.add("new.pc.internal", A, 60, &ONE);
            assert_eq!(key("all").send(office.address, tcp, &update.bytes()), *code, "{what}, TCP: {tcp}");
            assert_eq!(office.ask("new.pc.internal", A).0 == NOERROR, *code == NOERROR, "{what}");
            assert_eq!(office.serial(), before + u32::from(*code == NOERROR), "{what}");
            office.update("all", &internal().remove_all("new.pc.internal", ANY));
        }
        let mut with_ttl = internal();
        with_ttl.prerequisites.push(record(&wire("a.pc.internal"), A, ANY, 60, &[]));
        assert_eq!(key("all").send(office.address, tcp, &with_ttl.bytes()), FORMERR, "a prerequisite has no TTL");
    }
}

/// The changes run one after the other, with a check after each.
#[test]
fn each_change_has_its_effect() {
    let office = Office::start();
    let name = "a.pc.internal";
    let all = |rtype| office.ask(name, rtype);
    let none: Vec<String> = vec![];
    for tcp in [false, true] {
        let update = |update: Update| assert_eq!(key("pc").send(office.address, tcp, &update.bytes()), NOERROR);
        update(internal().add(name, A, 60, &ONE));
        assert_eq!(all(A), (NOERROR, vec!["60 10.0.0.1".into()]));
        update(internal().add(name, A, 90, &TWO));
        assert_eq!(all(A).1, ["90 10.0.0.1", "90 10.0.0.2"], "one TTL for the whole set (RFC 2181, section 5.2)");
        update(internal().add(name, A, 90, &TWO));
        assert_eq!(all(A).1.len(), 2, "the same twice is one");
        update(internal().add(name, TXT, 5, b"\x02hi").add(name, AAAA, 5, &[0; 16]));
        assert_eq!((all(TXT).1.len(), all(AAAA).1.len(), all(A).1.len()), (1, 1, 2));
        update(internal().remove(name, A, &ONE));
        assert_eq!(all(A).1, ["90 10.0.0.2"]);
        update(internal().remove(name, A, &[9; 4]).remove_all("other.pc.internal", A));
        assert_eq!(all(A).1.len(), 1, "removing a missing record is not an error");
        update(internal().remove_all(name, TXT));
        assert_eq!(all(TXT), (NOERROR, none.clone()));
        update(internal().remove_all(name, ANY));
        assert_eq!((all(A), all(AAAA).0), ((NXDOMAIN, none.clone()), NXDOMAIN));
        // Changes apply in their order (RFC 2136, section 3.4.2).
        update(internal().add(name, A, 1, &ONE).remove_all(name, A).add(name, A, 2, &TWO));
        assert_eq!(all(A).1, ["2 10.0.0.2"]);
        update(internal().add(name, A, 1, &ONE).remove_all(name, ANY));
        assert_eq!(all(A).0, NXDOMAIN);
        update(internal().add(name, A, 0x8000_0001, &ONE));
        assert_eq!(all(A).1, ["0 10.0.0.1"], "a TTL with the highest bit is 0 (RFC 2181, section 8)");
        update(internal().remove(name, A, &ONE));
        assert_eq!(all(A).0, NXDOMAIN, "no empty set, no empty name");
    }
}

#[test]
fn an_alias_has_no_other_records() {
    let office = Office::start();
    let (one, two) = ("one.pc.internal", "two.pc.internal");
    let target = wire("git.internal");
    let update = |update: Update| assert_eq!(office.update("pc", &update), NOERROR);
    update(internal().add(one, A, 60, &ONE).add(two, CNAME, 60, &target));
    update(internal().add(one, CNAME, 60, &target).add(two, A, 60, &ONE));
    assert_eq!(
        office.ask(one, A).1,
        ["60 10.0.0.1"],
        "the existing record remains, without an error (RFC 2136, section 3.4.2.2)"
    );
    assert_eq!(office.ask(two, CNAME).1, ["60 git.internal."]);
    update(internal().add(two, CNAME, 30, &wire("ns.internal")));
    assert_eq!(office.ask(two, CNAME).1, ["30 ns.internal."], "a new alias replaces the old one");
    update(internal().remove_all(two, ANY).add(two, A, 60, &TWO));
    assert_eq!(office.ask(two, A).1, ["60 10.0.0.2"]);
}

#[test]
fn empty_non_terminals_are_created_and_removed() {
    let office = Office::start();
    let code = |name: &str| office.ask(name, A).0;
    assert_eq!(office.update("pc", &internal().add("a.b.c.pc.internal", A, 60, &ONE)), NOERROR);
    assert_eq!((code("b.c.pc.internal"), code("c.pc.internal"), code("x.c.pc.internal")), (NOERROR, NOERROR, NXDOMAIN));
    assert_eq!(office.update("pc", &internal().add("d.c.pc.internal", A, 60, &ONE)), NOERROR);
    assert_eq!(office.update("pc", &internal().remove_all("a.b.c.pc.internal", ANY)), NOERROR);
    assert_eq!((code("b.c.pc.internal"), code("c.pc.internal")), (NXDOMAIN, NOERROR));
    assert_eq!(office.update("pc", &internal().remove("d.c.pc.internal", A, &ONE)), NOERROR);
    assert_eq!((code("c.pc.internal"), code("pc.internal")), (NXDOMAIN, NXDOMAIN));
}

/// A valid change in the same update is not applied either.
#[test]
fn an_update_with_a_forbidden_change_is_refused_completely() {
    let office = Office::start();
    assert_eq!(office.update("all", &internal().add("kept.pc.internal", A, 60, &ONE)), NOERROR);
    let (soa, ns) = ([wire("a"), wire("b"), vec![0; 20]].concat(), wire("ns.internal"));
    let add = |name: &str, rtype, data: &[u8]| internal().add(name, rtype, 60, data);
    let table: &[(&str, &str, Update, u8)] = &[
        ("outside the key's names", "pc", add("x.internal", A, &ONE), REFUSED),
        ("the name above the key's", "pc", add("pc.internal", A, &ONE), REFUSED),
        ("below the key's one name", "pc", add("x.one.internal", A, &ONE), REFUSED),
        ("removing outside the key's names", "pc", internal().remove_all("x.internal", ANY), REFUSED),
        ("a key without names", "reader", add("x.pc.internal", A, &ONE), REFUSED),
        ("a name of the workspace", "all", add("git.internal", A, &ONE), REFUSED),
        ("its removal", "all", internal().remove_all("git.internal", ANY), REFUSED),
        ("another type of it", "all", add("git.internal", TXT, b"\x01x"), REFUSED),
        ("the apex", "all", add("internal", A, &ONE), REFUSED),
        ("the apex's removal", "all", internal().remove_all("internal", ANY), REFUSED),
        ("SOA", "all", add("x.internal", SOA, &soa), REFUSED),
        ("NS", "all", add("sub.pc.internal", NS, &ns), REFUSED),
        ("DNAME", "all", add("sub.pc.internal", 39, &ns), REFUSED),
        ("outside the zone", "all", add("a.example.com", A, &ONE), NOTZONE),
        ("a name of another zone of this server", "all", add("9.0.168.192.in-addr.arpa", PTR, &ns), NOTZONE),
        ("more than a reply holds", "all", many(), REFUSED),
        ("data cut short", "all", add("x.pc.internal", A, &[1, 2, 3]), FORMERR),
        ("data too long", "all", add("x.pc.internal", AAAA, &[0; 17]), FORMERR),
        ("a name and more", "all", add("x.pc.internal", CNAME, b"\x01a\x00\x00"), FORMERR),
        ("a cut name", "all", add("x.pc.internal", CNAME, b"\x05abc"), FORMERR),
        ("a text longer than it is", "all", add("x.pc.internal", TXT, b"\x05abc"), FORMERR),
        ("type ANY added", "all", add("x.pc.internal", ANY, &[]), FORMERR),
        ("type AXFR added", "all", add("x.pc.internal", 252, &[]), FORMERR),
        ("type AXFR removed", "all", internal().change("x.pc.internal", 252, ANY, 0, &[]), FORMERR),
        ("type 0", "all", add("x.pc.internal", 0, &[]), FORMERR),
        ("a signature as data", "all", add("x.pc.internal", 41, &[]), FORMERR),
        ("removed with a TTL", "all", internal().change("x.pc.internal", A, NONE, 1, &ONE), FORMERR),
        ("all removed with a TTL", "all", internal().change("x.pc.internal", A, ANY, 1, &[]), FORMERR),
        ("all removed with data", "all", internal().change("x.pc.internal", A, ANY, 0, &ONE), FORMERR),
        ("ANY removed by data", "all", internal().change("x.pc.internal", ANY, NONE, 0, &[]), FORMERR),
        ("another class", "all", internal().change("x.pc.internal", A, 3, 60, &ONE), FORMERR),
    ];
    for tcp in [false, true] {
        for (what, by, wrong, code) in table {
            let before = office.serial();
            for first in [true, false] {
                let mut update = internal().add("good.pc.internal", A, 60, &ONE);
                let at = if first { 0 } else { 1 };
                update.changes.splice(at..at, wrong.changes.iter().cloned());
                let tcp = tcp || update.bytes().len() > 4000;
                assert_eq!(key(by).send(office.address, tcp, &update.bytes()), *code, "{what}, TCP: {tcp}");
            }
            assert_eq!((office.ask("good.pc.internal", A).0, office.serial()), (NXDOMAIN, before), "{what}");
        }
    }
    assert_eq!(office.ask("kept.pc.internal", A).1, ["60 10.0.0.1"]);
    assert_eq!(office.ask("git.internal", A).1, ["60 192.168.0.10"]);
}

/// An update with 600 addresses of one name, 8,400 bytes in all.
fn many() -> Update {
    (0..600u16).fold(internal(), |u, i| u.add("many.pc.internal", A, 60, &[10, 1, (i >> 8) as u8, i as u8]))
}

#[test]
fn a_wrong_zone_section_is_refused() {
    let office = Office::start();
    let good = internal().add("a.pc.internal", A, 60, &ONE);
    let with = |change: fn(&mut Update)| {
        let mut update = good.clone();
        change(&mut update);
        update.bytes()
    };
    let bent = |at: usize, byte: u8| {
        let mut bytes = good.bytes();
        bytes[at] = byte;
        bytes
    };
    let with_zone = |name: &[u8]| {
        let mut update = good.clone();
        update.zone = name.to_vec();
        update.bytes()
    };
    let elsewhere = Update::of("example.com").add("a.example.com", A, 60, &ONE).bytes();
    let table: &[(&str, Vec<u8>, u8)] = &[
        ("a zone of another server", elsewhere, NOTAUTH),
        ("a name below the apex", with(|u| u.zone = wire("pc.internal")), NOTAUTH),
        ("a zone section of type A", with(|u| u.zone_type = A), FORMERR),
        ("of class CHAOS", with(|u| u.zone_class = 3), FORMERR),
        ("no zone", [&bent(5, 0)[..12], &record(&wire("a.pc.internal"), A, IN, 60, &ONE)].concat(), FORMERR),
        ("the right one", good.bytes(), NOERROR),
    ];
    for tcp in [false, true] {
        for (what, bytes, code) in table {
            assert_eq!(key("all").send(office.address, tcp, bytes), *code, "{what}, TCP: {tcp}");
        }
        // These messages are malformed before the signature, so the reply is not signed.
        for (at, byte) in [(5, 2), (7, 1), (9, 9), (9, 0), (11, 3)] {
            let (mut bytes, _) = key("all").sign(&good.bytes());
            bytes[at] = byte;
            let reply = exchange(office.address, tcp, &bytes);
            assert_eq!((reply[3] & 15, reply.len()), (FORMERR, 12), "byte {at} is {byte}");
        }
        // The name of the zone is a pointer to itself. The reply must not contain it.
        for pointer in [&b"\xc0\x0c"[..], b"\xfe\x00"] {
            let looped = exchange(office.address, tcp, &with_zone(pointer));
            assert!(hickory_server::proto::op::Message::from_vec(&looped).is_ok(), "{looped:02x?}");
        }
        let unsigned = exchange(office.address, tcp, &good.bytes());
        assert_eq!((unsigned[3] & 15, unsigned[11]), (REFUSED, 0), "without a key, TCP: {tcp}");
    }
}

/// Names in the data may be compressed in a message (RFC 1035, section 4.1.4; RFC 3597, section 4). The server stores
/// them uncompressed.
#[test]
fn compressed_names_in_data_are_stored_uncompressed() {
    let office = Office::start();
    // The name of the zone is at position 12, after the header.
    let host = b"\x04Host\xc0\x0c";
    let update = Update::of("internal")
        .add("c.pc.internal", CNAME, 60, host)
        .add("m.pc.internal", MX, 60, &[&[0, 10], &host[..]].concat())
        .add("s.pc.internal", SRV, 60, &[&[0, 1, 0, 2, 0, 53], &host[..]].concat());
    assert_eq!(office.update("all", &update), NOERROR);
    let owner_too = {
        let mut update = Update::of("internal");
        update.changes.push(record(b"\x01p\x02pc\xc0\x0c", A, IN, 60, &ONE));
        update
    };
    assert_eq!(office.update("all", &owner_too), NOERROR);
    assert_eq!(office.ask("c.pc.internal", CNAME).1, ["60 host.internal."]);
    assert_eq!(office.ask("m.pc.internal", MX).1, ["60 10 host.internal."]);
    assert_eq!(office.ask("s.pc.internal", SRV).1, ["60 1 2 53 host.internal."]);
    assert_eq!(office.ask("p.pc.internal", A).1, ["60 10.0.0.1"]);
    let same = Update::of("internal").remove("c.pc.internal", CNAME, &wire("HOST.internal"));
    assert_eq!(office.update("all", &same), NOERROR);
    assert_eq!(office.ask("c.pc.internal", CNAME).0, NXDOMAIN, "written differently, but the same name");
    // Names in newer types must not be compressed (RFC 3597, section 4), because the pointer would be wrong in another
    // message.
    let naptr = |to: &[u8]| [&b"\x00\x01\x00\x01\x01U\x00\x00"[..], to].concat();
    for (data, code) in [(naptr(b"\x01a\xc0\x00"), FORMERR), (naptr(&wire("a.internal")), NOERROR)] {
        assert_eq!(office.update("all", &Update::of("internal").add("n.pc.internal", 35, 60, &data)), code, "{data:?}");
    }
}

/// Data of unknown types is stored unchanged (RFC 3597).
#[test]
fn data_of_unknown_types_is_stored_unchanged() {
    let office = Office::start();
    let (name, data) = ("u.pc.internal", b"\x00any\xff".as_slice());
    assert_eq!(office.update("pc", &internal().add(name, 65_400, 60, data)), NOERROR);
    let reply = exchange(office.address, false, &super::packet::question(&wire(name), 65_400));
    assert!(reply.ends_with(data), "{reply:02x?}");
    assert_eq!(office.update("pc", &internal().remove(name, 65_400, data)), NOERROR);
    assert_eq!(office.ask(name, 65_400).0, NXDOMAIN);
}

#[test]
fn reverse_names_can_be_updated() {
    let office = Office::start();
    let update = |n: u8, code| {
        let name = format!("{n}.0.168.192.in-addr.arpa");
        let update = Update::of("0.168.192.in-addr.arpa").add(&name, PTR, 60, &wire("a.pc.internal"));
        assert_eq!(office.update("pc", &update), code, "{name}");
        office.ask(&name, PTR)
    };
    assert_eq!(update(77, NOERROR), (NOERROR, vec!["60 a.pc.internal.".into()]));
    assert_eq!(update(10, REFUSED).1, ["60 master.node.internal."], "an address of the workspace");
}
