//! `lap dns add`

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use hickory_server::proto::{
    op::ResponseCode,
    rr::{Name, RData, RecordType, rdata::PTR},
};
use lap_base::error::{Error, Kind, Result};
use lap_nameserver::{
    client::{Need, RecordChange, UpdateOutcome, authority, query::query, update},
    records,
};

use super::target::{DnsTarget, called_like_an_environment, complete, data, name, split};
use crate::{
    cli::{common::runtime, global::Global, value},
    report::print::outln,
};

/// Add a record to an environment's DNS server, which stores it (RFC 2136)
///
/// An address also gets its reverse record, if the server has the reverse zone. Change names of the workspace in the
/// workspace: `lap.toml`, `container.toml`.
#[derive(clap::Args, Debug)]
#[command(override_usage = "lap dns add [OPTIONS] [ENVIRONMENT] <NAME> <TYPE> <DATA>...")]
pub struct Args {
    /// The environment (if it is not the default), then the name (`printer` is `printer.internal`), the type (`A`, `CNAME`,
    /// …) and the data
    #[arg(required = true, num_args = 3.., value_name = "NAME TYPE DATA")]
    what: Vec<String>,
    /// How long others may cache it, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = value::ttl)]
    ttl: u32,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let (environment, words) = split(&workspace, &self.what)?;
        let zone = &workspace.lab.dns.zone;
        let ambiguous = |error| called_like_an_environment(&workspace, &self.what, error);
        let [owner, rtype, rest @ ..] = words.as_slice() else {
            return Err(ambiguous(Error::new(
                Kind::Usage,
                "write a name, a type and data, e.g. `printer A 192.168.0.40`",
            )));
        };
        let record = data(rtype, rest, zone).map_err(ambiguous)?;
        let owner = complete(owner, zone)?;
        runtime()?.block_on(async {
            let target = DnsTarget::find(&workspace, &environment).await?;
            let lines = add(&target, &owner, self.ttl, &record).await?;
            outln!("Added to `{}`:", environment.name);
            lines.iter().for_each(|line| outln!("  {line}"));
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Adds the record and, for an address, its reverse record; gives what is there now, a line each.
pub(super) async fn add(target: &DnsTarget, owner: &str, ttl: u32, record: &RData) -> Result<Vec<String>> {
    let (rtype, shown) = (record.record_type(), records::shown(record));
    let what = format!("cannot add {rtype} {shown} to `{owner}`");
    let fqdn = name(owner)?;
    let change = RecordChange::Add { name: fqdn.clone(), ttl, data: record.clone() };
    apply(target, owner, &what, &[], &[change]).await?;
    // A server passes over a CNAME beside other records, and the other way round, without a word (RFC 2136, 3.4.2.2).
    let there = query(target.server, owner, &rtype.to_string(), Duration::from_secs(4)).await?;
    if !there.records.iter().any(|data| data.eq_ignore_ascii_case(&shown)) {
        return Err(Error::new(
            Kind::Refused,
            format!("{what}: a CNAME cannot have other records beside it, and the name has some"),
        )
        .hint(format!("remove them first with `lap dns rm {} {owner}`", target.environment.name)));
    }
    let mut lines = vec![format!("{owner} {ttl} {rtype} {shown}")];
    let address: Option<IpAddr> = match record {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    };
    let Some(reverse) = address.map(Name::from) else { return Ok(lines) };
    let Some(zone) = authority(target.server, &reverse).await? else { return Ok(lines) };
    let changes = [
        RecordChange::RemoveType { name: reverse.clone(), rtype: RecordType::PTR },
        RecordChange::Add { name: reverse.clone(), ttl, data: RData::PTR(PTR(fqdn)) },
    ];
    match update(target.server, target.key.entry(), &zone, &[], &changes).await? {
        UpdateOutcome::Done => lines.push(format!("{reverse} {ttl} PTR {owner}")),
        UpdateOutcome::Code(ResponseCode::NotAuth) => {}
        UpdateOutcome::Code(ResponseCode::Refused) => {
            lines.push(format!("({reverse} does not change: the workspace defines it)"));
        }
        other => return Err(other.error(&format!("cannot add PTR {owner} to `{reverse}`"), target.key.name())),
    }
    Ok(lines)
}

/// Makes changes to one name; `false`: what they need is not there.
pub async fn apply(
    target: &DnsTarget,
    owner: &str,
    what: &str,
    needs: &[Need],
    changes: &[RecordChange],
) -> Result<bool> {
    let zone = zone_of(target.server, target, owner).await?;
    let outcome = update(target.server, target.key.entry(), &zone, needs, changes).await?;
    match outcome {
        UpdateOutcome::Done => Ok(true),
        UpdateOutcome::Code(ResponseCode::NXDomain | ResponseCode::NXRRSet) => Ok(false),
        UpdateOutcome::Code(ResponseCode::Refused) if target.is_workspaces(owner) => {
            Err(Error::new(Kind::Refused, format!("the workspace defines `{owner}`: change it there"))
                .hint("edit `lap.toml` or the container's `container.toml`, then run `lap up`"))
        }
        other => Err(other.error(what, target.key.name())),
    }
}

async fn zone_of(server: SocketAddr, target: &DnsTarget, owner: &str) -> Result<Name> {
    if !owner.ends_with(".arpa.") {
        return name(&target.names.zone);
    }
    authority(server, &name(owner)?).await?.ok_or_else(|| {
        Error::new(Kind::Refused, format!("`{owner}` is in no zone of `{}`", target.environment.name))
            .hint("add the reverse zone of a network with `reverse` under `[dns]` in lap.toml")
    })
}
