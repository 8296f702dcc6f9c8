//! The counters in the text exposition format 0.0.4 of Prometheus.

use std::fmt::{Display, Write};

use super::{BOUNDS, BY, CODES, Counter, Metrics, Shard, TRANSPORTS};

/// The values of a zone's gauges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The zone's name, with its final dot.
    pub name: String,
    pub serial: u32,
    /// The number of names with records.
    pub names: usize,
}

/// Returns the whole page.
pub fn write(metrics: &Metrics, zones: &[Zone], build: &str) -> String {
    let mut page = Page { text: String::with_capacity(8 << 10), metrics };
    page.head("build_info", "gauge", "Always 1; the labels contain the version.");
    page.line("build_info", &format!("{{version=\"{}\",build=\"{build}\"}}", env!("CARGO_PKG_VERSION")), 1);

    page.labelled("queries_total", "Received messages.", "transport", &TRANSPORTS, |s, i| &s.queries[i]);
    page.labelled("responses_total", "Sent replies.", "rcode", &CODES, |s, i| &s.responses[i]);
    page.durations();
    page.counter("forward_cache_hits_total", "Forwarded queries answered from the cache.", |s| &s.cache_hits);
    page.counter("forward_cache_misses_total", "Forwarded queries sent to an upstream.", |s| &s.cache_misses);
    page.labelled("updates_total", "Answered updates (RFC 2136).", "rcode", &CODES, |s, i| &s.updates[i]);
    page.counter("transfers_total", "Started zone transfers (AXFR and IXFR).", |s| &s.transfers);
    page.labelled(
        "rate_limited_total",
        "Replies that the rate limit held back: sent empty with TC (slip) or not at all (drop).",
        "action",
        &["slip", "drop"],
        |s, i| if i == 0 { &s.slipped } else { &s.dropped },
    );

    page.labelled(
        "quota_total",
        "Forwarded queries answered with SERVFAIL and TCP connections closed because a client, or all clients together, had too many.",
        "kind",
        &["forward", "connection"],
        |s, i| if i == 0 { &s.forwards_refused } else { &s.connections_closed },
    );

    page.head("zone_serial", "gauge", "The serial in the zone's SOA record.");
    for zone in zones {
        page.line("zone_serial", &format!("{{zone=\"{}\"}}", label(&zone.name)), zone.serial);
    }
    page.head("zone_names", "gauge", "Names in the zone that have records.");
    for zone in zones {
        page.line("zone_names", &format!("{{zone=\"{}\"}}", label(&zone.name)), zone.names);
    }
    page.text
}

struct Page<'a> {
    text: String,
    metrics: &'a Metrics,
}

impl Page<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP lap_dns_{name} {help}\n# TYPE lap_dns_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.text, "lap_dns_{name}{labels} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, of: impl Fn(&Shard) -> &Counter) {
        self.head(name, "counter", help);
        self.line(name, "", self.metrics.sum(of));
    }

    fn labelled(&mut self, name: &str, help: &str, key: &str, values: &[&str], of: impl Fn(&Shard, usize) -> &Counter) {
        self.head(name, "counter", help);
        for (index, value) in values.iter().enumerate() {
            self.line(name, &format!("{{{key}=\"{value}\"}}"), self.metrics.sum(|s| of(s, index)));
        }
    }

    fn durations(&mut self) {
        let name = "request_duration_seconds";
        self.head(name, "histogram", "The time from a message to its reply, by the source of the answer.");
        for (by, who) in BY.iter().enumerate() {
            let mut count = 0;
            for bucket in 0..=BOUNDS.len() {
                count += self.metrics.sum(|s| &s.durations[by].buckets[bucket]);
                let bound = BOUNDS.get(bucket).map_or("+Inf".into(), |b| (*b as f64 / 1e9).to_string());
                self.line(&format!("{name}_bucket"), &format!("{{by=\"{who}\",le=\"{bound}\"}}"), count);
            }
            let sum = self.metrics.sum(|s| &s.durations[by].nanoseconds) as f64 / 1e9;
            self.line(&format!("{name}_sum"), &format!("{{by=\"{who}\"}}"), sum);
            self.line(&format!("{name}_count"), &format!("{{by=\"{who}\"}}"), count);
        }
    }
}

/// Escapes backslashes (`\032` in a name), quotes and line breaks in the value of a label.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
