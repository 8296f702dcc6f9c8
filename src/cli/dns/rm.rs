//! `lap dns rm`

use std::{net::IpAddr, process::ExitCode, time::Duration};

use hickory_server::proto::rr::{Name, RData, RecordType, rdata::PTR};
use lap_base::error::{Error, Kind, Result};
use lap_nameserver::{
    client::{Need, RecordChange, authority, update},
    records,
};

use super::{
    add::apply,
    target::{DnsTarget, called_like_an_environment, complete, data, name, split},
};
use crate::{
    cli::{common::runtime, global::Global},
    report::print::outln,
};

/// Remove records from an environment's DNS server: a name, its records of a type, or one record (RFC 2136)
///
/// The reverse records of removed addresses are also removed. Change names of the workspace in the workspace.
#[derive(clap::Args, Debug)]
#[command(override_usage = "lap dns rm [OPTIONS] [ENVIRONMENT] <NAME> [<TYPE> [<DATA>...]]")]
pub struct Args {
    /// The environment (if it is not the default), then the name (`printer` is `printer.internal`), and optionally a type
    /// and data
    #[arg(required = true, num_args = 1.., value_name = "NAME TYPE DATA")]
    what: Vec<String>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let (environment, words) = split(&workspace, &self.what)?;
        let zone = &workspace.lab.dns.zone;
        let ambiguous = |error| called_like_an_environment(&workspace, &self.what, error);
        if words.len() == 1 && workspace.lab.environments.contains_key(&words[0]) {
            return Err(ambiguous(Error::new(Kind::Usage, format!("name the record to remove from `{}`", words[0]))));
        }
        let [owner, rest @ ..] = words.as_slice() else {
            return Err(Error::new(Kind::Usage, "write the name to remove, e.g. `printer`"));
        };
        let owner = complete(owner, zone)?;
        let (rtype, record) = match rest {
            [] => (None, None),
            [rtype] => (Some(record_type(rtype).map_err(ambiguous)?), None),
            [rtype, words @ ..] => {
                let record = data(rtype, words, zone).map_err(ambiguous)?;
                (Some(record.record_type()), Some(record))
            }
        };
        runtime()?.block_on(async {
            let target = DnsTarget::find(&workspace, &environment).await?;
            match remove(&target, &owner, rtype, record).await? {
                true => outln!("Removed from `{}`.", environment.name),
                false => outln!("Nothing to do: `{}` has no such record of `{owner}`.", environment.name),
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn record_type(text: &str) -> Result<RecordType> {
    records::record_type(text).map_err(|why| Error::new(Kind::Usage, why))
}

/// Removes; `false`: there was nothing.
pub(super) async fn remove(
    target: &DnsTarget,
    owner: &str,
    rtype: Option<RecordType>,
    record: Option<RData>,
) -> Result<bool> {
    let fqdn = name(owner)?;
    let of = |rtype: RecordType| async move { record_data(target, owner, rtype).await };
    if let Some(record) = &record {
        // A whole set could be made a condition, but not one record of it.
        let there =
            of(record.record_type()).await?.iter().any(|data| data.eq_ignore_ascii_case(&records::shown(record)));
        if !there && !target.is_workspaces(owner) {
            return Ok(false);
        }
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        if rtype.is_some_and(|rtype| rtype != kind) {
            continue;
        }
        let all = of(kind).await?.into_iter().filter_map(|data| data.parse().ok());
        addresses.extend(all.filter(|address: &IpAddr| match &record {
            Some(RData::A(a)) => *address == IpAddr::V4(a.0),
            Some(RData::AAAA(aaaa)) => *address == IpAddr::V6(aaaa.0),
            _ => true,
        }));
    }
    let change = match (record, rtype) {
        (Some(data), _) => RecordChange::Remove { name: fqdn.clone(), data },
        (None, Some(rtype)) => RecordChange::RemoveType { name: fqdn.clone(), rtype },
        (None, None) => RecordChange::RemoveName { name: fqdn.clone() },
    };
    let need = Need { name: fqdn.clone(), rtype: rtype.unwrap_or(RecordType::ANY) };
    if !apply(target, owner, &format!("cannot remove `{owner}`"), &[need], &[change]).await? {
        return Ok(false);
    }
    for reverse in addresses.into_iter().map(Name::from) {
        // What is not ours, or the workspace's, stays as it is: only this very record would go.
        if let Some(zone) = authority(target.server, &reverse).await? {
            let change = RecordChange::Remove { name: reverse, data: RData::PTR(PTR(fqdn.clone())) };
            update(target.server, target.key.entry(), &zone, &[], &[change]).await?;
        }
    }
    Ok(true)
}

/// The data of the records of a type.
async fn record_data(target: &DnsTarget, owner: &str, rtype: RecordType) -> Result<Vec<String>> {
    Ok(lap_nameserver::client::query::query(target.server, owner, &rtype.to_string(), Duration::from_secs(4))
        .await?
        .records)
}
