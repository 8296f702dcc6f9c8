//! Every DNS name belongs to one container.
//!
//! Nodes, hosts and pcs cannot collide with each other: each kind has a sub-zone, and in it names are unique already.

use std::collections::HashMap;

use crate::config::{lines::element, problem::Ledger, value::name::below, workspace::WorkspaceFiles};

pub fn check(workspace: &WorkspaceFiles, ledger: &Ledger) {
    let zone = &workspace.lap.value.dns.dns.zone;
    let mut taken: HashMap<&str, &str> = HashMap::new();
    let claims = || {
        workspace.containers.iter().flat_map(|(name, read)| {
            // What does not run has no address.
            let running = read.value.container.scale > 0;
            let names = read.value.lists.names.iter().filter(move |_| running);
            names.map(move |(i, dns)| (name.as_str(), read.file.as_ref(), *i, dns.as_str()))
        })
    };
    for (container, file, i, dns) in claims() {
        if let (Some(first), Some(file)) = (taken.get(dns), file) {
            let message = if *first == container {
                format!("`{dns}` is written twice: remove one")
            } else {
                format!("`{dns}` is taken by container `{first}`: write another name")
            };
            ledger.key(file, element("names", i), message);
        } else {
            taken.insert(dns, container);
        }
    }
    // `git.internal` also answers as `git.test.internal`, so nothing else may be called so.
    for (_, file, i, dns) in claims() {
        let Some((short, environment)) = below(dns, zone).and_then(|labels| labels.rsplit_once('.')) else { continue };
        if !workspace.environments.contains_key(environment) {
            continue;
        }
        let short = format!("{short}.{zone}");
        if let (Some(owner), Some(file)) = (taken.get(short.as_str()), file) {
            let message = format!(
                "`{dns}` is `{short}` of environment `{environment}`, so it is taken by container `{owner}`: write another name"
            );
            ledger.key(file, element("names", i), message);
        }
    }
}
