//! Tests with `dig`, over real sockets.

use std::time::Duration;

use super::{Running, office};
use crate::client::query::query;

#[tokio::test(flavor = "multi_thread")]
async fn dig_gets_the_expected_answers() {
    let mut names = office();
    names.hosts.extend((0..100).map(|i| ("many.internal.".to_owned(), [10, 1, 0, i].into())));
    let server = Running::start(&names).await;
    let table: &[(&[&str], &[&str])] = &[
        (&["git.internal"], &["NOERROR", "qr aa rd;", "git.internal.\t\t60\tIN\tA\t192.168.0.10"]),
        (&["gIT.inTERnal"], &["NOERROR", ";gIT.inTERnal.", "gIT.inTERnal.\t\t60\tIN\tA\t192.168.0.10"]),
        (
            &["git.internal", "AAAA"],
            &["NOERROR", "ANSWER: 0", "AUTHORITY: 1", "SOA\tns.internal. hostmaster.internal."],
        ),
        (&["no.internal"], &["NXDOMAIN", "internal.\t\t30\tIN\tSOA"]),
        (&["node.internal"], &["NOERROR", "ANSWER: 0", "AUTHORITY: 1"]),
        (&["internal", "SOA"], &["NOERROR", "ANSWER: 1", "300 60 604800 30"]),
        (&["internal", "NS"], &["IN\tNS\tns.internal."]),
        (&["-x", "192.168.0.10"], &["NOERROR", "PTR\tmaster.node.internal."]),
        (&["-x", "192.168.0.99"], &["NXDOMAIN"]),
        (&["+tcp", "git.internal"], &["NOERROR", "192.168.0.10", "(TCP)"]),
        (&["+noedns", "git.internal"], &["NOERROR", "ADDITIONAL: 0"]),
        (&["+edns=1", "+noednsneg", "git.internal"], &["BADVERS"]),
        (&["+ignore", "many.internal"], &["NOERROR", "qr aa tc rd;", "ANSWER: 0"]),
        (&["many.internal"], &["Truncated, retrying in TCP mode", "ANSWER: 100"]),
        (&["git.internal", "ANY", "+notcp"], &["NOERROR", "ANSWER: 1"]),
        (&["CH", "TXT", "version.bind"], &["REFUSED"]),
        (&["+opcode=notify", "internal", "SOA"], &["NOTIMP"]),
        (&["+opcode=9", "internal", "SOA"], &["NOTIMP"]),
        (&["internal", "AXFR"], &["Transfer failed"]),
        (&["www.example.com"], &["REFUSED", "recursion requested but not available"]),
    ];
    for (arguments, expected) in table {
        let output = server.dig(arguments).await;
        for words in *expected {
            assert!(output.contains(words), "dig {arguments:?}: no `{words}` in\n{output}");
        }
        assert!(!output.contains("WARNING: Message has"), "dig {arguments:?} complains:\n{output}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_listens_on_ipv6() {
    let server = Running::on("[::1]:0", &office()).await;
    assert!(server.dig(&["+short", "git.internal"]).await.contains("192.168.0.10"));
    assert!(server.dig(&["+short", "+tcp", "git.internal"]).await.contains("192.168.0.10"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_gets_the_same_answers_as_dig() {
    let mut names = office();
    names.hosts.extend((0..100).map(|i| ("many.internal.".to_owned(), [10, 1, 0, i].into())));
    let server = Running::start(&names).await;
    let ask = |name: &'static str, rtype: &'static str| query(server.address, name, rtype, Duration::from_secs(2));
    let soa = ask("internal.", "SOA").await.unwrap();
    assert!(soa.found() && soa.authoritative && soa.to_string().starts_with("ns.internal. hostmaster.internal. "));
    let a = ask("git.internal", "a").await.unwrap();
    assert_eq!((a.found(), a.to_string().as_str()), (true, "192.168.0.10\n"));
    assert_eq!(ask("many.internal", "A").await.unwrap().records.len(), 100);
    let none = ask("git.internal", "TYPE28").await.unwrap();
    assert_eq!((none.found(), none.code.as_str()), (false, "NOERROR"));
    assert_eq!(ask("no.internal", "A").await.unwrap().code, "NXDOMAIN");
    assert_eq!(
        ask("git.internal", "NONE_SUCH").await.unwrap_err().message.split(':').next(),
        Some("`NONE_SUCH` is not a record type")
    );
    let address = server.address;
    server.stop().await;
    let error = query(address, "internal.", "SOA", Duration::from_millis(500)).await.unwrap_err();
    assert!(error.message.contains("`internal.` SOA at"), "{error}");
}
