//! `lap dns list`

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    process::ExitCode,
};

use hickory_server::proto::{op::ResponseCode, rr::Name};
use lap_base::error::Result;
use lap_nameserver::{
    client::{TransferredRecord, UpdateOutcome, authority, transfer},
    names::Names,
};
use serde::Serialize;

use super::target::{DnsTarget, name};
use crate::{
    cli::{
        common::{print_json, runtime},
        global::Global,
    },
    names::check,
    report::{print::out, table::table},
};

/// List every name of an environment's DNS server, by a zone transfer (AXFR)
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    row: TransferredRecord,
    /// `workspace` or `dynamic`
    from: &'static str,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let rows = runtime()?.block_on(async {
            let target = DnsTarget::find(&workspace, &environment).await?;
            let ours = ours(&target.names);
            let from = |row: &TransferredRecord| match row.rtype.as_str() {
                "SOA" | "NS" => "workspace",
                _ if ours.get(&(row.name.clone(), row.rtype.clone())).is_some_and(|all| all.contains(&row.data)) => {
                    "workspace"
                }
                _ => "dynamic",
            };
            let rows = rows(&target).await?.into_iter();
            Ok::<_, lap_base::Error>(rows.map(|row| Listed { from: from(&row), row }).collect::<Vec<_>>())
        })?;
        if self.json || global.json() {
            print_json(&rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        let cells: Vec<[String; 5]> = rows
            .into_iter()
            .map(|Listed { row, from }| [row.name, row.ttl.to_string(), row.rtype, row.data, from.to_owned()])
            .collect();
        out!("{}", table(["NAME", "TTL", "TYPE", "DATA", "FROM"], &cells));
        Ok(ExitCode::SUCCESS)
    }
}

/// The zone and its reverse zones, each in canonical order (RFC 4034, section 6.1).
pub(super) async fn rows(target: &DnsTarget) -> Result<Vec<TransferredRecord>> {
    let zone = name(&target.names.zone)?;
    let mut all = match transfer(target.server, target.key.entry(), &zone).await? {
        Ok(rows) => sorted(rows),
        Err(outcome) => {
            return Err(outcome.error(&format!("cannot list the zone `{zone}`"), target.key.name()));
        }
    };
    let mut zones: BTreeSet<Name> = BTreeSet::new();
    for address in reverse_addresses(&target.names) {
        let reverse = Name::from(address);
        if !zones.iter().any(|zone| zone.zone_of(&reverse)) {
            zones.extend(authority(target.server, &reverse).await?);
        }
    }
    for zone in zones {
        match transfer(target.server, target.key.entry(), &zone).await? {
            Ok(rows) => all.extend(sorted(rows)),
            // Somebody else's after all.
            Err(UpdateOutcome::Code(ResponseCode::NotAuth)) => {}
            Err(outcome) => {
                return Err(outcome.error(&format!("cannot list the zone `{zone}`"), target.key.name()));
            }
        }
    }
    Ok(all)
}

fn sorted(mut rows: Vec<TransferredRecord>) -> Vec<TransferredRecord> {
    rows.sort_by_cached_key(|row| {
        let labels: Vec<String> = row.name.rsplit('.').map(str::to_owned).collect();
        (labels, row.rtype != "SOA", row.rtype.clone(), row.data.clone())
    });
    rows
}

/// An address of each network whose reverse zone may be the server's.
fn reverse_addresses(names: &Names) -> BTreeSet<Ipv4Addr> {
    let mut out: BTreeSet<Ipv4Addr> = names.hosts.iter().map(|(_, address)| *address).collect();
    for network in &names.reverse {
        let Some((base, prefix)) = network.split_once('/') else { continue };
        let (Ok(base), Ok(prefix)) = (base.parse::<Ipv4Addr>(), prefix.parse::<u32>()) else { continue };
        // Zones end at whole octets: a /20 may be sixteen of them. A /8 is one.
        let count = if (16..24).contains(&prefix) { 1 << (24 - prefix) } else { 1 };
        out.extend((0..count).map(|i| Ipv4Addr::from(u32::from(base) + (i << 8))));
    }
    out
}

/// What the workspace says: (name, type) → data.
fn ours(names: &Names) -> BTreeMap<(String, String), BTreeSet<String>> {
    check::questions(names).into_iter().map(|question| ((question.name, question.rtype), question.wished)).collect()
}
