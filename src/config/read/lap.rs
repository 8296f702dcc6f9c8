//! `lap.toml`: the lab's name, its network and people, what its containers may do.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use lap_repositories as repository;
use lap_repositories::Location;
use lap_snapshots::keep::SnapshotPolicy;

use super::{
    ParsedFile, copies,
    dns::{self, DnsTable},
    promote, snapshot,
};
use crate::config::{
    document::{Item, Schema, Table, open, schema::key},
    files,
    model::{Address, Promote, Subnet},
    problem::Ledger,
    value::{address, grant::grant, name, public_key::public_key},
};

/// The keys of `lap.toml`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        key("lab", r#""office""#),
        key("default", r#""test""#),
        key("network", r#"{ subnet = "192.168.0.0/24" }"#),
        key("operators", r#"{ anna = "ssh-ed25519 AAAA… anna" }"#),
        key("grants", r#"{ dns = ["network_mode: host"] }"#),
        key("hosts", r#"{ office = ".2" }"#),
        key("pcs", r#"{ anna-meier = ".31" }"#),
        key("dns", r#"{ zone = "internal" }"#),
        key("snapshot", r#"{ every = "1h" }"#),
        key("repositories", r#"{ office = "/srv/backup/lap" }"#),
        key("copies", r#"{ every = "1d" }"#),
        key("promote", r#"{ settle = "10s" }"#),
    ],
    refused: &[],
};

/// The keys of `[network]`.
pub const NETWORK: Schema = Schema { keys: &[key("subnet", r#""192.168.0.0/24""#)], refused: &[] };

/// What `lap.toml` says.
#[derive(Debug, Default)]
pub struct LapFile {
    pub lab: String,
    pub default: Option<String>,
    pub subnet: Option<Subnet>,
    /// Something is written under `[network]`, right or wrong.
    pub network: bool,
    pub operators: BTreeMap<String, String>,
    pub grants: BTreeMap<String, BTreeSet<String>>,
    pub hosts: BTreeMap<String, Address>,
    pub pcs: BTreeMap<String, Address>,
    pub dns: DnsTable,
    pub snapshot: Option<SnapshotPolicy>,
    pub repositories: BTreeMap<String, Location>,
    pub copies: repository::policy::CopyPolicy,
    pub promote: Promote,
}

/// Reads `lap.toml`.
pub fn read(root: &Path, ledger: &Ledger) -> ParsedFile<LapFile> {
    let mut out = LapFile::default();
    let file = files::read(root, "lap.toml", "`lap init DIR` makes a new workspace", ledger);
    let file = file.filter(|file| {
        let Some(document) = open(file, ledger) else { return false };
        let table = Table::document(file, &document, &SCHEMA, ledger);
        out.lab = table.require("lab").and_then(|item| item.parse(name::label)).unwrap_or_default();
        out.default = table.get("default").and_then(|item| item.string()).map(str::to_owned);
        let network = table.get("network");
        out.network = network.is_some();
        out.subnet = network
            .and_then(|item| item.table())
            .and_then(|network| network.with(&NETWORK).get("subnet"))
            .and_then(|item| item.parse(address::subnet));
        out.operators = named(&table, "operators", name::label, |item| item.parse(public_key));
        out.grants = named(&table, "grants", name::label, |item| Some(item.each(grant).into_iter().collect()));
        out.hosts = named(&table, "hosts", name::label, |item| item.parse(address::address));
        out.pcs = named(&table, "pcs", name::pc, |item| item.parse(address::address));
        out.snapshot = table.get("snapshot").and_then(|item| snapshot::read(&item));
        out.repositories = named(&table, "repositories", name::label, |item| item.parse(str::parse));
        out.copies = table.get("copies").and_then(|item| copies::read(&item)).unwrap_or_default();
        out.promote = table.get("promote").and_then(|item| promote::read(&item)).unwrap_or_default();
        out.dns = table.get("dns").and_then(|item| dns::read(&item)).unwrap_or_default();
        true
    });
    ParsedFile { file, value: out }
}

/// The entries of a table whose keys are names.
fn named<T>(
    table: &Table<'_>,
    key: &str,
    name: fn(&str) -> Result<String, String>,
    value: impl Fn(&Item<'_>) -> Option<T>,
) -> BTreeMap<String, T> {
    let Some(item) = table.get(key) else { return BTreeMap::new() };
    let Some(inner) = item.table() else { return BTreeMap::new() };
    let entry = |(written, entry): (&str, Item<'_>)| {
        let name = name(written).map_err(|message| entry.problem(message)).ok();
        // Both are looked at, so that both are told.
        let value = value(&entry);
        name.zip(value)
    };
    inner.entries(item.key).filter_map(entry).collect()
}
