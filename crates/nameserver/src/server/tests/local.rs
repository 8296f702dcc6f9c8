//! Pure tests of the answers from a zone with many special cases. hickory parses every reply.

use hickory_server::proto::{
    op::{Edns, Message, Query},
    rr::{Name, RecordType},
};

use super::handle_unsigned;
use crate::server::{
    handle::Disposition,
    load,
    reply::Transport,
    wire::{self, rcode, rtype},
    zones::Zones,
};

const TXT: u16 = 16;
const AAAA: u16 = 28;

/// The zones of the office, with wildcards, aliases, and a name with more records than a packet can contain.
pub fn awkward() -> Zones {
    let mut zones = load::zones(&super::office(), 7).unwrap();
    let mut add = |name: &str, rtype: u16, data: &[u8]| zones.add(&wire::name(name).unwrap(), rtype, 60, data).unwrap();
    let name = |text: &str| wire::name(text).unwrap();
    add("*.wild.internal", rtype::A, &[10, 0, 0, 1]);
    add("exact.wild.internal", TXT, b"\x02hi");
    add("deep.under.wild.internal", rtype::A, &[10, 0, 0, 2]);
    add("alias.internal", rtype::CNAME, &name("git.internal"));
    add("alias2.internal", rtype::CNAME, &name("alias.internal"));
    add("dangling.internal", rtype::CNAME, &name("nothing.internal"));
    add("out.internal", rtype::CNAME, &name("www.example.com"));
    add("loop.internal", rtype::CNAME, &name("loop.internal"));
    add("*.starred.internal", rtype::CNAME, &name("git.internal"));
    for i in 0..100 {
        add("many.internal", rtype::A, &[10, 1, 0, i]);
    }
    zones
}

pub fn question(name: &str, rtype: u16) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::from(rtype)));
    message
}

fn send(zones: &Zones, message: &Message, transport: Transport) -> (Message, usize) {
    let (asked, mut out) = (message.to_vec().unwrap(), Vec::new());
    let action = handle_unsigned(zones, false, &asked, transport, &mut out);
    assert!(matches!(action, Disposition::Reply), "{action:?}");
    (Message::from_vec(&out).unwrap(), out.len())
}

/// Returns the reply in one line: "CODE aa | owner TYPE data; … | owner SOA".
fn ask(zones: &Zones, name: &str, rtype: u16) -> String {
    let (reply, _) = send(zones, &question(name, rtype), Transport::Tcp);
    assert_eq!(reply.metadata.id, 4711);
    assert_eq!(reply.queries[0].name().to_string(), name, "the question is repeated with the same case");
    let answers: Vec<_> =
        reply.answers.iter().map(|r| format!("{} {} {}", r.name.to_lowercase(), r.record_type(), r.data)).collect();
    let negative: Vec<_> =
        reply.authorities.iter().map(|r| format!("{} {} {}", r.name.to_lowercase(), r.record_type(), r.ttl)).collect();
    let aa = if reply.metadata.authoritative { " aa" } else { "" };
    format!("{:?}{aa} | {} | {}", reply.metadata.response_code, answers.join("; "), negative.join("; "))
}

#[test]
fn each_question_has_the_expected_answer() {
    let zones = awkward();
    let soa = "internal. SOA ns.internal. hostmaster.internal. 7 300 60 604800 30";
    let table: &[(&str, u16, &str)] = &[
        ("git.internal.", rtype::A, "NoError aa | git.internal. A 192.168.0.10 | "),
        ("GiT.InTeRnAl.", rtype::A, "NoError aa | git.internal. A 192.168.0.10 | "),
        ("internal.", rtype::SOA, &format!("NoError aa | {soa} | ")),
        ("internal.", rtype::NS, "NoError aa | internal. NS ns.internal. | "),
        // NODATA: the name exists, but has no record of this type.
        ("git.internal.", AAAA, "NoError aa |  | internal. SOA 30"),
        ("internal.", rtype::A, "NoError aa |  | internal. SOA 30"),
        // Empty non-terminals
        ("node.internal.", rtype::A, "NoError aa |  | internal. SOA 30"),
        ("cache.internal.", rtype::A, "NoError aa |  | internal. SOA 30"),
        ("0.168.192.in-addr.arpa.", rtype::A, "NoError aa |  | 0.168.192.in-addr.arpa. SOA 30"),
        ("nothing.internal.", rtype::A, "NXDomain aa |  | internal. SOA 30"),
        ("a.git.internal.", rtype::A, "NXDomain aa |  | internal. SOA 30"),
        // Reverse zones: the name of the machine, the network of the office, a single public address.
        (
            "10.0.168.192.in-addr.arpa.",
            rtype::PTR,
            "NoError aa | 10.0.168.192.in-addr.arpa. PTR master.node.internal. | ",
        ),
        ("77.0.168.192.in-addr.arpa.", rtype::PTR, "NXDomain aa |  | 0.168.192.in-addr.arpa. SOA 30"),
        (
            "5.113.0.203.in-addr.arpa.",
            rtype::PTR,
            "NoError aa | 5.113.0.203.in-addr.arpa. PTR hosted.host.internal. | ",
        ),
        ("6.113.0.203.in-addr.arpa.", rtype::PTR, "Refused |  | "),
        // Wildcards (RFC 4592) do not match an existing name, and no name below another existing name.
        ("x.wild.internal.", rtype::A, "NoError aa | x.wild.internal. A 10.0.0.1 | "),
        ("x.y.wild.internal.", rtype::A, "NoError aa | x.y.wild.internal. A 10.0.0.1 | "),
        ("x.wild.internal.", TXT, "NoError aa |  | internal. SOA 30"),
        ("exact.wild.internal.", rtype::A, "NoError aa |  | internal. SOA 30"),
        ("x.exact.wild.internal.", rtype::A, "NXDomain aa |  | internal. SOA 30"),
        ("under.wild.internal.", rtype::A, "NoError aa |  | internal. SOA 30"),
        ("x.under.wild.internal.", rtype::A, "NXDomain aa |  | internal. SOA 30"),
        ("*.wild.internal.", rtype::A, "NoError aa | *.wild.internal. A 10.0.0.1 | "),
        ("wild.internal.", rtype::A, "NoError aa |  | internal. SOA 30"),
        // Aliases
        (
            "alias2.internal.",
            rtype::A,
            "NoError aa | alias2.internal. CNAME alias.internal.; alias.internal. CNAME git.internal.; \
             git.internal. A 192.168.0.10 | ",
        ),
        ("alias.internal.", rtype::CNAME, "NoError aa | alias.internal. CNAME git.internal. | "),
        ("alias.internal.", AAAA, "NoError aa | alias.internal. CNAME git.internal. | internal. SOA 30"),
        ("dangling.internal.", rtype::A, "NXDomain aa | dangling.internal. CNAME nothing.internal. | internal. SOA 30"),
        ("out.internal.", rtype::A, "NoError aa | out.internal. CNAME www.example.com. | "),
        (
            "x.starred.internal.",
            rtype::A,
            "NoError aa | x.starred.internal. CNAME git.internal.; git.internal. A 192.168.0.10 | ",
        ),
        // RFC 8482
        ("git.internal.", rtype::ANY, "NoError aa | git.internal. A 192.168.0.10 | "),
        ("internal.", rtype::ANY, &format!("NoError aa | {soa} | ")),
        ("node.internal.", rtype::ANY, "NoError aa |  | internal. SOA 30"),
        ("example.com.", rtype::ANY, "NoError | example.com. HINFO RFC8482  | "),
        // Names outside the zones, without upstream servers.
        ("example.com.", rtype::A, "Refused |  | "),
        ("notinternal.", rtype::A, "Refused |  | "),
        (".", rtype::NS, "Refused |  | "),
        // A transfer needs a key, and this server has none.
        ("internal.", rtype::AXFR, "Refused |  | "),
        ("internal.", rtype::MAILA, "NotImp |  | "),
        ("internal.", rtype::TKEY, "NotImp |  | "),
    ];
    for (name, rtype, expected) in table {
        assert_eq!(ask(&zones, name, *rtype).trim_end(), expected.trim_end(), "{name} type {rtype}");
    }
    assert!(ask(&zones, "loop.internal.", rtype::A).starts_with("ServFail"));
}

#[test]
fn a_long_answer_is_truncated_over_udp_and_complete_over_tcp() {
    let zones = awkward();
    // The columns: the EDNS payload, whether the records are in the UDP reply, and its maximum size.
    for (payload, whole, most) in
        [(None, false, 512), (Some(0), false, 512), (Some(1000), false, 1000), (Some(4096), false, 1232)]
    {
        let mut message = question("many.internal.", rtype::A);
        if let Some(payload) = payload {
            message.set_edns({
                let mut edns = Edns::new();
                edns.set_max_payload(payload);
                edns
            });
        }
        let (reply, length) = send(&zones, &message, Transport::Udp);
        assert_eq!((reply.metadata.truncation, reply.answers.is_empty()), (!whole, !whole), "{payload:?}");
        assert!(length <= most, "{payload:?}: {length}");
        assert_eq!(reply.edns.is_some(), payload.is_some());
        let (reply, _) = send(&zones, &message, Transport::Tcp);
        assert_eq!((reply.metadata.truncation, reply.answers.len()), (false, 100), "{payload:?}");
    }
}

#[test]
fn a_question_with_edns_gets_a_reply_with_edns() {
    let zones = awkward();
    let mut message = question("git.internal.", rtype::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    message.set_edns(edns.clone());
    let (reply, _) = send(&zones, &message, Transport::Udp);
    let ours = reply.edns.unwrap();
    assert_eq!((ours.max_payload(), ours.version(), ours.flags().dnssec_ok), (1232, 0, true));

    message.set_edns({
        edns.set_version(1);
        edns
    });
    let (reply, _) = send(&zones, &message, Transport::Udp);
    // hickory uses one name for code 16, which is BADVERS or BADSIG.
    assert_eq!((u16::from(reply.metadata.response_code), reply.answers.len()), (rcode::BADVERS, 0));
    assert_eq!(reply.edns.unwrap().version(), 0, "the reply has the supported version");
}

#[test]
fn the_flags_of_a_reply_are_correct() {
    let zones = awkward();
    for (recursion, expected) in [(true, 0x80), (false, 0)] {
        let mut message = question("git.internal.", rtype::A);
        message.metadata.checking_disabled = true;
        message.metadata.authentic_data = true;
        let mut out = Vec::new();
        handle_unsigned(&zones, recursion, &message.to_vec().unwrap(), Transport::Udp, &mut out);
        assert_eq!(out[2..4], [0x85, expected | 0x10], "QR AA RD, RA if there are upstreams, CD copied, no AD");
    }
}

#[test]
fn names_in_the_zones_are_never_forwarded() {
    let zones = awkward();
    let mut out = Vec::new();
    let mut forwarded = |name: &str, desired: bool| {
        let mut message = question(name, rtype::A);
        message.metadata.recursion_desired = desired;
        matches!(
            handle_unsigned(&zones, true, &message.to_vec().unwrap(), Transport::Udp, &mut out),
            Disposition::Forward(..)
        )
    };
    for ours in ["internal.", "nothing.internal.", "x.node.internal.", "99.0.168.192.in-addr.arpa.", "loop.internal."] {
        assert!(!forwarded(ours, true), "{ours}");
    }
    for other in ["example.com.", "xinternal.", "internal.com.", "1.1.168.192.in-addr.arpa.", "out.internal.", "."] {
        assert!(forwarded(other, true), "{other}");
        assert!(!forwarded(other, false), "{other} without RD");
    }
}

#[test]
fn an_invalid_list_of_names_is_refused_with_one_sentence() {
    let with = |change: fn(&mut crate::names::Names)| {
        let mut names = super::office();
        change(&mut names);
        load::zones(&names, 1).unwrap_err().message
    };
    assert_eq!(with(|n| n.zone.clear()), "names.json: zone: missing");
    assert_eq!(
        with(|n| n.hosts.push(("www.example.com.".into(), [10, 0, 0, 1].into()))),
        "names.json: hosts: `www.example.com.` is not in the zone `internal.`"
    );
    assert_eq!(
        with(|n| n.hosts.push(("a b.internal.".into(), [10, 0, 0, 1].into()))),
        "names.json: hosts: `a b.internal.` is not a domain name: `a b` is not a label"
    );
    assert!(with(|n| n.server = "x".repeat(64)).starts_with("names.json: server: `xxx"));
}
