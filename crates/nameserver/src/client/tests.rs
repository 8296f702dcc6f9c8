//! Tests of the client against another implementation: BIND's `named`, on loopback. They pass without a check if this
//! machine does not have it.

use hickory_server::proto::{
    op::ResponseCode,
    rr::{Name, RecordType, rdata::tsig::TsigError},
};

use self::named::{key, named};
use super::*;
use crate::records;

mod named;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn add(owner: &str, rtype: RecordType, data: &str) -> RecordChange {
    RecordChange::Add { name: name(owner), ttl: 60, data: records::data(rtype, data).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn named_accepts_updates_and_transfers_its_zone() {
    for algorithm in crate::keys::ALGORITHMS {
        let Some(server) = named(algorithm).await else { return };
        let (at, ours, zone) = (server.address, &server.key, name("internal."));
        let changes = [
            add("a.pc.internal.", RecordType::A, "10.0.0.7"),
            add("a.pc.internal.", RecordType::TXT, "\"x y\" z"),
            add("b.pc.internal.", RecordType::CNAME, "a.pc.internal."),
        ];
        assert_eq!(update(at, ours, &zone, &[], &changes).await.unwrap(), UpdateOutcome::Done);
        let all = transfer(at, ours, &zone).await.unwrap().unwrap();
        let rows: Vec<_> = all.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.rtype, r.data)).collect();
        assert!(rows[0].starts_with("internal. 60 SOA ns.internal. hostmaster.internal. "), "{rows:?}");
        assert_eq!(rows.iter().filter(|row| row.contains(" SOA ")).count(), 1);
        for row in
            ["a.pc.internal. 60 A 10.0.0.7", "a.pc.internal. 60 TXT \"x y\" \"z\"", "w.internal. 60 TXT \"a b\" \"c\""]
        {
            assert!(rows.iter().any(|have| have == row), "no {row} in {rows:?}");
        }
        let gone = [
            RecordChange::RemoveType { name: name("a.pc.internal."), rtype: RecordType::TXT },
            RecordChange::Remove {
                name: name("a.pc.internal."),
                data: records::data(RecordType::A, "10.0.0.7").unwrap(),
            },
            RecordChange::RemoveName { name: name("b.pc.internal.") },
        ];
        assert_eq!(update(at, ours, &zone, &[], &gone).await.unwrap(), UpdateOutcome::Done);
        let left = transfer(at, ours, &zone).await.unwrap().unwrap();
        assert!(left.iter().all(|row| !row.name.contains(".pc.")), "{left:?}");

        let gone = [RecordChange::RemoveName { name: name("b.pc.internal.") }];
        for (rtype, code) in [(RecordType::ANY, ResponseCode::NXDomain), (RecordType::A, ResponseCode::NXRRSet)] {
            let needs = [Need { name: name("b.pc.internal."), rtype }];
            assert_eq!(update(at, ours, &zone, &needs, &gone).await.unwrap(), UpdateOutcome::Code(code));
        }

        // Refusals: the server rejects the name, the zone, or the key.
        let other = [add("git.internal.", RecordType::A, "10.0.0.8")];
        assert_eq!(update(at, ours, &zone, &[], &other).await.unwrap(), UpdateOutcome::Code(ResponseCode::Refused));
        assert_eq!(
            update(at, ours, &name("example."), &[], &[]).await.unwrap(),
            UpdateOutcome::Code(ResponseCode::NotAuth)
        );
        let stranger = key("stranger", algorithm);
        assert_eq!(update(at, &stranger, &zone, &[], &other).await.unwrap(), UpdateOutcome::Key(TsigError::BadKey));
        let wrong = key("lap-admin", algorithm);
        assert_eq!(update(at, &wrong, &zone, &[], &other).await.unwrap(), UpdateOutcome::Key(TsigError::BadSig));
        assert_eq!(transfer(at, &wrong, &zone).await.unwrap(), Err(UpdateOutcome::Key(TsigError::BadSig)));

        assert_eq!(authority(at, &name("x.y.internal.")).await.unwrap(), Some(zone));
        assert_eq!(authority(at, &name("1.0.0.11.in-addr.arpa.")).await.unwrap(), None);
    }
}

/// A zone of several messages. Each message has a signature, which covers the previous one (RFC 8945, section 5.3.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_of_several_messages_is_transferred_completely() {
    let Some(server) = named("hmac-sha256").await else { return };
    let zone = name("internal.");
    for part in 0..20 {
        let changes: Vec<RecordChange> = (0..200)
            .map(|i| add(&format!("n{part}-{i}.pc.internal."), RecordType::TXT, &format!("\"{}\"", "x".repeat(100))))
            .collect();
        assert_eq!(update(server.address, &server.key, &zone, &[], &changes).await.unwrap(), UpdateOutcome::Done);
    }
    let rows = transfer(server.address, &server.key, &zone).await.unwrap().unwrap();
    assert_eq!(rows.iter().filter(|row| row.name.ends_with(".pc.internal.")).count(), 4000);
    let questions: Vec<(String, String)> =
        (0..1000).map(|i| (format!("n{}-{}.pc.internal.", i / 200, i % 200), "TXT".to_owned())).collect();
    let began = std::time::Instant::now();
    let (from, results) = ask_all(&[server.address], &questions).await;
    assert_eq!(from, Some(server.address));
    assert!(results.iter().all(|result| matches!(result, QueryResult::Records(_))));
    eprintln!("1,000 questions: {:?}", began.elapsed());
}
