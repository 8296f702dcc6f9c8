//! Against a server that others wrote: BIND's `named`, on loopback, where this machine has it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hickory_server::proto::{
    op::ResponseCode,
    rr::{Name, RecordType, rdata::tsig::TsigError},
};

use super::*;
use crate::{keys::dns::DnsKey, loopback::own_port, nameserver::records};

const NAMED: &str = "/usr/sbin/named";

/// `named` with the zone `internal.`, which one key may change below `pc.internal.` and transfer, and the reverse zone of
/// 10.0.0.0/24.
pub(crate) struct Named {
    child: Child,
    pub address: SocketAddr,
    pub key: DnsKey,
    _dir: tempfile::TempDir,
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn named(algorithm: &str) -> Option<Named> {
    if !Path::new(NAMED).exists() {
        eprintln!("`{NAMED}` is not installed: not tried");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let key = DnsKey::generate("lap-admin", algorithm).unwrap();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, own_port()));
    fs::write(at("key"), key.bind().expose()).unwrap();
    fs::write(
        at("zone"),
        "$TTL 60\n@ SOA ns hostmaster 1 3600 600 604800 30\n@ NS ns\nns A 127.0.0.1\ngit A 10.0.0.1\nw TXT \"a b\" c\n",
    )
    .unwrap();
    fs::write(
        at("reverse"),
        "$TTL 60\n@ SOA ns.internal. hostmaster.internal. 1 3600 600 604800 30\n@ NS ns.internal.\n",
    )
    .unwrap();
    let config = format!(
        "include \"{key}\";\noptions {{ directory \"{dir}\"; pid-file none; session-keyfile none; listen-on port {port} {{ 127.0.0.1; }}; \
         listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; }};\ncontrols {{ }};\n\
         zone \"internal\" {{ type master; file \"{zone}\"; allow-transfer {{ key lap-admin; }};\n\
         update-policy {{ grant lap-admin wildcard *.pc.internal. ANY; }}; }};\n\
         zone \"0.0.10.in-addr.arpa\" {{ type master; file \"{reverse}\"; allow-transfer {{ key lap-admin; }}; allow-update {{ key \
         lap-admin; }}; }};\n",
        key = at("key"),
        dir = dir.path().display(),
        port = free.port(),
        zone = at("zone"),
        reverse = at("reverse"),
    );
    fs::write(at("named.conf"), config).unwrap();
    let mut command = Command::new(NAMED);
    command.args(["-g", "-n", "1", "-c", &at("named.conf")]).stderr(Stdio::null()).stdin(Stdio::null());
    let child = command.spawn().unwrap();
    let mut server = Named { child, address: free, key, _dir: dir };
    let began = Instant::now();
    while !super::query::query(free, "internal.", "SOA", Duration::from_secs(2)).await.is_ok_and(|a| a.found()) {
        assert_eq!(server.child.try_wait().unwrap(), None, "named ended");
        assert!(began.elapsed() < Duration::from_secs(120), "named does not answer on {free}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Some(server)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn add(owner: &str, rtype: RecordType, data: &str) -> Change {
    Change::Add { name: name(owner), ttl: 60, data: records::data(rtype, data).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_named_takes_updates_and_gives_the_zone() {
    for algorithm in crate::keys::dns::ALGORITHMS {
        let Some(server) = named(algorithm).await else { return };
        let (at, key, zone) = (server.address, server.key.entry(), name("internal."));
        let changes = [
            add("a.pc.internal.", RecordType::A, "10.0.0.7"),
            add("a.pc.internal.", RecordType::TXT, "\"x y\" z"),
            add("b.pc.internal.", RecordType::CNAME, "a.pc.internal."),
        ];
        assert_eq!(update(at, key, &zone, &[], &changes).await.unwrap(), Outcome::Done);
        let all = transfer(at, key, &zone).await.unwrap().unwrap();
        let rows: Vec<_> = all.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.rtype, r.data)).collect();
        assert!(rows[0].starts_with("internal. 60 SOA ns.internal. hostmaster.internal. "), "{rows:?}");
        assert_eq!(rows.iter().filter(|row| row.contains(" SOA ")).count(), 1);
        for row in
            ["a.pc.internal. 60 A 10.0.0.7", "a.pc.internal. 60 TXT \"x y\" \"z\"", "w.internal. 60 TXT \"a b\" \"c\""]
        {
            assert!(rows.iter().any(|have| have == row), "no {row} in {rows:?}");
        }
        let gone = [
            Change::RemoveType { name: name("a.pc.internal."), rtype: RecordType::TXT },
            Change::Remove { name: name("a.pc.internal."), data: records::data(RecordType::A, "10.0.0.7").unwrap() },
            Change::RemoveName { name: name("b.pc.internal.") },
        ];
        assert_eq!(update(at, key, &zone, &[], &gone).await.unwrap(), Outcome::Done);
        let left = transfer(at, key, &zone).await.unwrap().unwrap();
        assert!(left.iter().all(|row| !row.name.contains(".pc.")), "{left:?}");

        let gone = [Change::RemoveName { name: name("b.pc.internal.") }];
        for (rtype, code) in [(RecordType::ANY, ResponseCode::NXDomain), (RecordType::A, ResponseCode::NXRRSet)] {
            let needs = [Need { name: name("b.pc.internal."), rtype }];
            assert_eq!(update(at, key, &zone, &needs, &gone).await.unwrap(), Outcome::Code(code));
        }

        // What it refuses, and whom.
        let other = [add("git.internal.", RecordType::A, "10.0.0.8")];
        assert_eq!(update(at, key, &zone, &[], &other).await.unwrap(), Outcome::Code(ResponseCode::Refused));
        assert_eq!(update(at, key, &name("example."), &[], &[]).await.unwrap(), Outcome::Code(ResponseCode::NotAuth));
        let stranger = DnsKey::generate("stranger", algorithm).unwrap();
        assert_eq!(update(at, stranger.entry(), &zone, &[], &other).await.unwrap(), Outcome::Key(TsigError::BadKey));
        let wrong = DnsKey::generate("lap-admin", algorithm).unwrap();
        assert_eq!(update(at, wrong.entry(), &zone, &[], &other).await.unwrap(), Outcome::Key(TsigError::BadSig));
        assert_eq!(transfer(at, wrong.entry(), &zone).await.unwrap(), Err(Outcome::Key(TsigError::BadSig)));

        assert_eq!(authority(at, &name("x.y.internal.")).await.unwrap(), Some(zone));
        assert_eq!(authority(at, &name("1.0.0.11.in-addr.arpa.")).await.unwrap(), None);
    }
}

/// A zone of several messages: each has a signature of its own, which stands on the one before (RFC 8945, section 5.3.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_large_zone_comes_whole() {
    let Some(server) = named("hmac-sha256").await else { return };
    let zone = name("internal.");
    for part in 0..20 {
        let changes: Vec<Change> = (0..200)
            .map(|i| add(&format!("n{part}-{i}.pc.internal."), RecordType::TXT, &format!("\"{}\"", "x".repeat(100))))
            .collect();
        assert_eq!(update(server.address, server.key.entry(), &zone, &[], &changes).await.unwrap(), Outcome::Done);
    }
    let rows = transfer(server.address, server.key.entry(), &zone).await.unwrap().unwrap();
    assert_eq!(rows.iter().filter(|row| row.name.ends_with(".pc.internal.")).count(), 4000);
    let questions: Vec<(String, String)> =
        (0..1000).map(|i| (format!("n{}-{}.pc.internal.", i / 200, i % 200), "TXT".to_owned())).collect();
    let began = std::time::Instant::now();
    let (from, said) = ask_all(&[server.address], &questions).await;
    assert_eq!(from, Some(server.address));
    assert!(said.iter().all(|said| matches!(said, Said::Records(_))));
    eprintln!("1,000 questions: {:?}", began.elapsed());
}
