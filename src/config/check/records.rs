//! Records written by hand do not contradict each other, nor the names that follow from the rest of the workspace.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::{
    problem::Ledger,
    read::dns::DnsRecordEntry,
    value::name::{SUB_ZONES, below},
    workspace::WorkspaceFiles,
};

/// The name server's own name, below the zone.
const SERVER: &str = "ns";

pub fn check(workspace: &WorkspaceFiles, ledger: &Ledger) {
    let Some(file) = &workspace.lap.file else { return };
    let zone = workspace.lap.value.dns.dns.zone.as_str();
    let records = &workspace.lap.value.dns.records;
    let owners = owners(workspace);
    let mut types: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in records {
        types.entry(&record.name).or_default().insert(&record.rtype);
    }
    let mut seen: BTreeSet<(&str, &str, &str)> = BTreeSet::new();
    for record in records {
        let DnsRecordEntry { path, name, rtype, data } = record;
        let say = |message: String| ledger.key(file, path.clone(), message);
        if !seen.insert((name, rtype, data)) {
            say("written twice: remove one".to_owned());
            continue;
        }
        let alias = rtype == "CNAME";
        // What else a name with an address has (SSHFP, TXT, CAA, …) is welcome.
        if alias || rtype == "A" || rtype == "AAAA" {
            if let Some(owner) = owners.get(name) {
                say(format!("`{name}` is taken by {owner}: write another name"));
                continue;
            }
            let last = below(name, zone).and_then(|labels| labels.rsplit('.').next());
            if let Some(last) = last.filter(|last| SUB_ZONES.contains(last)) {
                say(format!("names under `{last}.{zone}` are reserved for lap: write e.g. `www.{zone}`"));
                continue;
            }
        }
        if alias && name == zone {
            say(format!("`{zone}` is the zone itself, which cannot be an alias: write its addresses"));
        } else if alias && types[name.as_str()].len() > 1 {
            say(format!("`{name}` has other records, and a CNAME cannot have others beside it: remove one of them"));
        } else if alias && records.iter().filter(|other| other.name == *name).count() > 1 {
            say(format!("`{name}` has two CNAMEs, and only one is possible: remove one of them"));
        }
    }
}

/// Who has which name, in words.
fn owners(workspace: &WorkspaceFiles) -> HashMap<String, String> {
    let zone = workspace.lap.value.dns.dns.zone.as_str();
    let mut out = HashMap::from([(format!("{SERVER}.{zone}"), "the name server".to_owned())]);
    for (container, read) in &workspace.containers {
        if read.value.container.scale == 0 {
            continue;
        }
        for (_, name) in &read.value.lists.names {
            out.insert(name.clone(), format!("container `{container}`"));
            for environment in workspace.environments.keys() {
                let labels = below(name, zone).unwrap_or_default();
                out.insert(format!("{labels}.{environment}.{zone}"), format!("container `{container}`"));
            }
        }
    }
    let machines = [
        ("node", workspace.nodes.keys().collect::<Vec<_>>()),
        ("host", workspace.lap.value.hosts.keys().collect()),
        ("pc", workspace.lap.value.pcs.keys().collect()),
    ];
    for (word, names) in machines {
        out.extend(names.into_iter().map(|name| (format!("{name}.{word}.{zone}"), format!("{word} `{name}`"))));
    }
    out
}
