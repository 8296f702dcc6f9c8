//! The verbs against a server that others wrote (BIND's `named`, where this machine has it).

use hickory_server::proto::rr::RecordType;
use lap_base::error::Kind;
use lap_nameserver::names::Names;

use super::{
    add::add,
    list::rows,
    rm::remove,
    target::{DnsTarget, data},
};
use crate::{config::model::Environment, keys::dns::DnsKey};

#[path = "../../../crates/nameserver/src/client/tests/named.rs"]
mod bind;

use self::bind::{Named, named};

fn target(server: &Named) -> DnsTarget {
    let environment = Environment {
        name: "test".into(),
        description: String::new(),
        promote_from: None,
        upstreams: vec![],
        on_failure: crate::config::model::OnFailure::Keep,
        master: "m".into(),
        builder: None,
    };
    let names = Names {
        zone: "internal.".into(),
        server: "ns.internal.".into(),
        hosts: vec![("git.internal.".into(), [10, 0, 0, 1].into())],
        ..Names::default()
    };
    DnsTarget { environment, server: server.address, key: DnsKey::from_file(&server.key_file).unwrap(), names }
}

fn record(rtype: &str, words: &[&str]) -> hickory_server::proto::rr::RData {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    data(rtype, &words, "internal").unwrap()
}

async fn all(target: &DnsTarget) -> Vec<String> {
    let rows = rows(target).await.unwrap().into_iter();
    rows.filter(|row| row.rtype != "SOA" && row.rtype != "NS")
        .map(|r| format!("{} {} {}", r.name, r.rtype, r.data))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_is_listed_and_removed() {
    let Some(server) = named("hmac-sha256").await else { return };
    let target = target(&server);
    let before = all(&target).await;
    let name = "printer.pc.internal.";
    assert_eq!(
        add(&target, name, 300, &record("A", &["10.0.0.40"])).await.unwrap(),
        [format!("{name} 300 A 10.0.0.40"), format!("40.0.0.10.in-addr.arpa. 300 PTR {name}")]
    );
    // An address whose reverse zone is somebody else's.
    assert_eq!(add(&target, name, 60, &record("A", &["192.0.2.1"])).await.unwrap(), [format!("{name} 60 A 192.0.2.1")]);
    add(&target, name, 60, &record("TXT", &["second floor", "left"])).await.unwrap();
    let list = all(&target).await;
    for row in [
        "printer.pc.internal. A 10.0.0.40",
        "printer.pc.internal. TXT \"second floor\" \"left\"",
        "40.0.0.10.in-addr.arpa. PTR printer.pc.internal.",
    ] {
        assert!(list.iter().any(|have| have == row), "no {row} in {list:?}");
    }
    // A CNAME beside them is passed over by the server, which is told.
    let error = add(&target, name, 60, &record("CNAME", &["git"])).await.unwrap_err();
    assert!(
        error.kind == Kind::Refused
            && error.message.ends_with("a CNAME cannot have other records beside it, and the name has some")
    );
    // The workspace's own.
    let error = add(&target, "git.internal.", 60, &record("A", &["10.0.0.9"])).await.unwrap_err();
    assert_eq!(error.message, "the workspace defines `git.internal.`: change it there");

    assert!(!remove(&target, name, Some(RecordType::A), Some(record("A", &["10.0.0.99"]))).await.unwrap());
    assert!(!remove(&target, name, Some(RecordType::MX), None).await.unwrap());
    assert!(!remove(&target, "nobody.pc.internal.", None, None).await.unwrap());
    assert!(remove(&target, name, Some(RecordType::A), Some(record("A", &["192.0.2.1"]))).await.unwrap());
    assert!(all(&target).await.iter().any(|row| row.starts_with("40.0.0.10.in-addr.arpa. PTR")));
    assert!(remove(&target, name, None, None).await.unwrap());
    assert_eq!(all(&target).await, before);
    assert!(remove(&target, "40.0.0.10.in-addr.arpa.", None, None).await.is_ok_and(|removed| !removed));
}
