//! Tests of the metrics, as Prometheus reads them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::{DEADLINE, office, put};
use crate::{
    client::query::query,
    server::service::{ServeOptions, Server},
};

struct Counted {
    dns: SocketAddr,
    metrics: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<lap_base::Result<()>>,
    _dir: tempfile::TempDir,
}

async fn start() -> Counted {
    let dir = tempfile::tempdir().unwrap();
    let mut names = office();
    names.clients = Some(vec!["127.0.0.1".into()]);
    put(&dir, &serde_json::to_string(&names).unwrap());
    let options = ServeOptions {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        names_dir: dir.path().into(),
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        build: "a-build".into(),
        ..ServeOptions::default()
    };
    let server = Server::bind(&options).await.unwrap();
    let (dns, metrics) = (server.addresses()[0], server.metrics_address().unwrap());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Counted { dns, metrics, stop, task, _dir: dir }
}

impl Counted {
    async fn http(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.metrics).await.unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }

    async fn scrape(&self) -> BTreeMap<String, f64> {
        let (head, body) = self.http("GET /metrics HTTP/1.1\nHost: x\nConnection: close\n\n").await;
        assert!(head.starts_with("http/1.1 200 ok"), "{head}");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        samples(&body)
    }

    /// Reads the metrics when they contain this number of UDP messages. A reply may be counted shortly after it was
    /// sent.
    async fn scrape_after(&self, queries: f64) -> BTreeMap<String, f64> {
        let counted = async {
            loop {
                let all = self.scrape().await;
                let of = |action: &str| all[&format!("lap_dns_rate_limited_total{{action=\"{action}\"}}")];
                let replies: f64 =
                    all.iter().filter(|(name, _)| name.starts_with("lap_dns_responses_total{")).map(|(_, n)| n).sum();
                if replies + of("drop") >= queries {
                    return all;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, counted).await.expect("not all of them are ever counted")
    }
}

/// Parses the text exposition format 0.0.4 strictly: each family has one HELP and one TYPE before its samples, the
/// samples of a family are adjacent, and histograms are complete and cumulative.
fn samples(page: &str) -> BTreeMap<String, f64> {
    assert!(page.ends_with('\n'));
    let mut all = BTreeMap::new();
    let mut families = BTreeMap::new();
    let (mut family, mut kind) = (String::new(), String::new());
    let name_ok = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(name_ok(name) && name.starts_with("lap_dns_") && !text.is_empty(), "{line}");
            assert!(families.insert(name.to_owned(), String::new()).is_none(), "{name} comes twice");
            (family, kind) = (name.into(), String::new());
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, of) = typed.split_once(' ').unwrap();
            assert_eq!(name, family, "TYPE follows its HELP");
            assert!(["counter", "gauge", "histogram"].contains(&of), "{line}");
            assert_eq!(of == "counter", name.ends_with("_total"), "{name} is a {of}");
            kind = of.into();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix) && !kind.is_empty(), "{line}");
            if let Some(labels) = series.strip_prefix(name).filter(|l| !l.is_empty()) {
                let inside = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}')).unwrap();
                for label in inside.split("\",") {
                    let (key, value) = label.trim_end_matches('"').split_once("=\"").unwrap();
                    assert!(name_ok(key) && !value.contains('"'), "{line}");
                }
            }
            let value: f64 = value.parse().unwrap();
            assert!(value >= 0.0 && all.insert(series.to_owned(), value).is_none(), "{line}");
        }
    }
    for by in ["zones", "upstreams", "store"] {
        let series = |suffix: &str, labels: &str| {
            all[&format!("lap_dns_request_duration_seconds_{suffix}{{by=\"{by}\"{labels}}}")]
        };
        let mut buckets: Vec<(f64, f64)> = all
            .iter()
            .filter_map(|(name, value)| {
                let start = format!("lap_dns_request_duration_seconds_bucket{{by=\"{by}\",le=\"");
                let bound = name.strip_prefix(&start)?.strip_suffix("\"}")?;
                Some((bound.replace("+Inf", "inf").parse().unwrap(), *value))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, series("count", ""))));
        assert!(series("sum", "") >= 0.0);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_and_answers_are_counted() {
    let server = start().await;
    let before = server.scrape().await;
    assert!(
        before.contains_key(&format!(
            "lap_dns_build_info{{version=\"{}\",build=\"a-build\"}}",
            env!("CARGO_PKG_VERSION"),
        ))
    );
    let ask = |name, rtype| query(server.dns, name, rtype, DEADLINE);
    for _ in 0..5 {
        ask("git.internal.", "A").await.unwrap();
    }
    ask("no.internal.", "A").await.unwrap();
    ask("www.example.com.", "A").await.unwrap();
    // This update has no key.
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let update = b"\0\x01\x28\0\0\x01\0\0\0\0\0\0\x08internal\0\0\x06\0\x01";
    socket.send_to(update, server.dns).await.unwrap();
    timeout(DEADLINE, socket.recv(&mut [0; 512])).await.unwrap().unwrap();
    // This question has EDNS version 1.
    let future = b"\0\x02\0\0\0\x01\0\0\0\0\0\x01\x08internal\0\0\x06\0\x01\0\0\x29\x04\xd0\0\x01\0\0\0\0";
    socket.send_to(future, server.dns).await.unwrap();
    timeout(DEADLINE, socket.recv(&mut [0; 512])).await.unwrap().unwrap();

    let after = server.scrape_after(9.0).await;
    let grew = |series: &str| after[series] - before[series];
    assert_eq!(grew("lap_dns_queries_total{transport=\"udp\"}"), 9.0);
    assert_eq!(grew("lap_dns_queries_total{transport=\"tcp\"}"), 0.0);
    assert_eq!(grew("lap_dns_responses_total{rcode=\"NOERROR\"}"), 5.0);
    assert_eq!(grew("lap_dns_responses_total{rcode=\"NXDOMAIN\"}"), 1.0);
    assert_eq!(grew("lap_dns_responses_total{rcode=\"REFUSED\"}"), 2.0);
    assert_eq!(grew("lap_dns_responses_total{rcode=\"BADVERS\"}"), 1.0);
    assert_eq!(grew("lap_dns_updates_total{rcode=\"REFUSED\"}"), 1.0);
    assert_eq!(grew("lap_dns_request_duration_seconds_count{by=\"zones\"}"), 9.0);
    assert!(grew("lap_dns_request_duration_seconds_sum{by=\"zones\"}") > 0.0);
    assert_eq!(after["lap_dns_zone_names{zone=\"internal.\"}"], 8.0, "seven hosts and the apex");
    assert!(after["lap_dns_zone_serial{zone=\"internal.\"}"] >= 1.0);
    assert!(after.contains_key("lap_dns_zone_serial{zone=\"0.168.192.in-addr.arpa.\"}"));
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_held_back_by_the_rate_limit_are_counted() {
    let server = start().await;
    let stranger = tokio::net::UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let question = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x08internal\0\0\x06\0\x01";
    // At least one of two consecutive questions is answered. So the number of questions in progress stays below the
    // size of the server's socket buffer.
    for _ in 0..200 {
        stranger.send_to(question, server.dns).await.unwrap();
        stranger.send_to(question, server.dns).await.unwrap();
        timeout(DEADLINE, stranger.recv(&mut [0; 512])).await.unwrap().unwrap();
    }
    let all = server.scrape_after(400.0).await;
    let (slipped, dropped) =
        (all["lap_dns_rate_limited_total{action=\"slip\"}"], all["lap_dns_rate_limited_total{action=\"drop\"}"]);
    let answered = all["lap_dns_responses_total{rcode=\"NOERROR\"}"];
    assert!(slipped > 0.0 && (slipped - dropped).abs() <= 1.0, "{slipped} and {dropped}");
    assert_eq!(answered + dropped, 400.0, "slipped replies are sent too");
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_serves_only_the_metrics() {
    let server = start().await;
    for (request, expected) in [
        ("GET / HTTP/1.1\nHost: x\nConnection: close\n\n", "http/1.1 404 "),
        ("GET /metrics/ HTTP/1.1\nHost: x\nConnection: close\n\n", "http/1.1 404 "),
        ("POST /metrics HTTP/1.1\nHost: x\nContent-Length: 1\nConnection: close\n\nx", "http/1.1 405 "),
        ("HEAD /metrics HTTP/1.1\nHost: x\nConnection: close\n\n", "http/1.1 200 "),
        ("GET /metrics?x=y HTTP/1.1\nHost: x\nConnection: close\n\n", "http/1.1 200 "),
        ("nonsense\n\n", "http/1.1 400 "),
    ] {
        let (head, _) = server.http(request).await;
        assert!(head.starts_with(expected), "{request:?}: {head}");
    }
    // A client that only opens connections does not stop the DNS service.
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(server.metrics).await.unwrap());
    }
    assert!(query(server.dns, "git.internal.", "A", DEADLINE).await.unwrap().found());
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}
