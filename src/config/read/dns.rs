//! `[dns]` of `lap.toml`: the zone, and what its servers say and do beside the lab's own names.

use std::collections::BTreeMap;

use lap_nameserver::records;

use crate::config::{
    document::{Item, Schema, schema::key},
    lines::element,
    model::Dns,
    value::{address, name},
};

/// The keys of `[dns]`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        key("zone", r#""internal""#),
        key("clients", r#"["192.168.0.0/24"]"#),
        key("reverse", r#"["192.168.1.0/24"]"#),
        key("secondaries", r#"["192.168.0.9"]"#),
        key("forward", r#"{ "corp.example" = ["10.0.0.53"] }"#),
        key("records", r#"{ "www.internal" = ["CNAME git.internal."] }"#),
    ],
    refused: &[("upstreams", "not valid here: write `upstreams` in the environments' `env.toml`")],
};

/// The table as it is written.
#[derive(Debug, Default)]
pub struct DnsTable {
    pub dns: Dns,
    /// The records, each with the path of its key: for what other files say.
    pub records: Vec<DnsRecordEntry>,
}

/// One record of `[dns.records]`.
#[derive(Clone, Debug)]
pub struct DnsRecordEntry {
    /// Where it is written: `dns.records."www.internal"[0]`.
    pub path: String,
    /// Lower case, without a final dot.
    pub name: String,
    /// Upper case.
    pub rtype: String,
    pub data: String,
}

/// Reads the table.
pub fn read(item: &Item<'_>) -> Option<DnsTable> {
    let table = item.table()?.with(&SCHEMA);
    let mut dns = Dns::default();
    if let Some(zone) = table.get("zone").and_then(|item| item.parse(name::zone)) {
        dns.zone = zone;
    }
    dns.clients = table.get("clients").map(|item| item.each(address::network));
    dns.reverse = table.get("reverse").map(|item| item.each(address::reverse)).unwrap_or_default();
    dns.secondaries = table.get("secondaries").map(|item| item.each(address::server)).unwrap_or_default();
    dns.forward = table.get("forward").map(|item| forward(&item, &dns.zone)).unwrap_or_default();
    let records = table.get("records").map(|item| entries(&item, &dns.zone)).unwrap_or_default();
    dns.records = records.iter().map(|r| (r.name.clone(), r.rtype.clone(), r.data.clone())).collect();
    Some(DnsTable { dns, records })
}

fn forward(item: &Item<'_>, zone: &str) -> BTreeMap<String, Vec<std::net::SocketAddr>> {
    let Some(table) = item.table() else { return BTreeMap::new() };
    let mut out = BTreeMap::new();
    for (written, entry) in table.entries(item.key) {
        let servers = entry.each(address::server);
        match name::domain(&written.to_ascii_lowercase()) {
            Err(message) => entry.problem(message),
            Ok(domain) if domain == zone || name::below(&domain, zone).is_some() => {
                entry.problem(format!("`{domain}` is in the lab's own zone `{zone}`: remove it"));
            }
            Ok(_) if entry.is_list() && entry.list().is_some_and(|list| list.is_empty()) => {
                entry.problem("empty: write the DNS servers of this domain, e.g. `[\"10.0.0.53\"]`");
            }
            Ok(domain) => drop(out.insert(domain, servers)),
        }
    }
    out
}

fn entries(item: &Item<'_>, zone: &str) -> Vec<DnsRecordEntry> {
    let Some(table) = item.table() else { return Vec::new() };
    let mut out = Vec::new();
    for (written, entry) in table.entries(item.key) {
        let name = name::owner(written, zone).map_err(|message| entry.problem(message)).ok();
        // Both are looked at, so that both are told.
        for (i, (rtype, data)) in entry.numbered(record) {
            let path = element(&entry.path, i);
            out.extend(name.clone().map(|name| DnsRecordEntry { path, name, rtype, data }));
        }
    }
    out
}

/// `CNAME git.internal.`
fn record(text: &str) -> Result<(String, String), String> {
    let (rtype, data) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let rtype = records::record_type(rtype)?;
    records::data(rtype, data.trim())?;
    Ok((rtype.to_string(), data.trim().to_owned()))
}
