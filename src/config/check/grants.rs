//! A container has what `lap.toml` grants it, and nothing beyond: whoever may change `containers/` is not thereby root
//! on the node.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::config::{
    document::lines::{child, element},
    load::Workspace,
    model::NetworkMode,
    problem::{Ledger, did_you_mean},
    read::container::ContainerFile,
    value::{capability, grant},
};

/// Whoever reaches it is root on the node.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

pub fn check(workspace: &Workspace, ledger: &Ledger) {
    // Without the grants, everything would seem to lack one.
    let Some(lap) = &workspace.lap.file else { return };
    let grants = &workspace.lap.value.grants;
    for name in grants.keys().filter(|name| !workspace.containers.contains_key(*name)) {
        let guess = did_you_mean(name, workspace.containers.keys().map(String::as_str));
        let help = if guess.is_empty() { ": leave it out" } else { &guess };
        ledger.key(lap, child("grants", name), format!("`{name}` is not a container{help}"));
    }
    let none = BTreeSet::new();
    for (name, read) in &workspace.containers {
        let Some(file) = &read.file else { continue };
        let granted = grants.get(name).unwrap_or(&none);
        for (key, what, needed) in needs(name, &read.value) {
            let covered = match &needed {
                Need::Path(path) => {
                    granted.iter().any(|grant| grant.starts_with('/') && path.starts_with(Path::new(grant)))
                }
                Need::Word(word) => granted.contains(word),
            };
            if !covered {
                let entry = match &needed {
                    Need::Path(path) => path.display().to_string(),
                    Need::Word(word) => word.clone(),
                };
                let message = format!(
                    "{what}, which nobody granted: leave it out, or add `{}` under `[grants]` in lap.toml",
                    entry_for(name, &entry)
                );
                ledger.key(file, key, message);
            }
        }
    }
}

enum Need {
    /// This path or one above it.
    Path(PathBuf),
    /// Exactly this.
    Word(String),
}

/// What a container asks for beyond its own data: key, in words, what would grant it.
fn needs(name: &str, file: &ContainerFile) -> Vec<(String, String, Need)> {
    let (container, lists) = (&file.container, &file.lists);
    let mut out = Vec::new();
    let own = Path::new("/data").join(name);
    for (i, volume) in &lists.volumes {
        let source = &volume.source;
        if source.starts_with(&own) || source.starts_with("/env") {
            continue;
        }
        let what = if SOCKETS.iter().any(|socket| source == Path::new(socket)) {
            "Docker's socket makes it root on the node".to_owned()
        } else {
            format!("`{}` is outside `{}` and `/env`", source.display(), own.display())
        };
        out.push((element("volumes", *i), what, Need::Path(source.clone())));
    }
    for (i, capability) in &lists.cap_add {
        if !capability::DEFAULT.contains(&capability.as_str()) {
            let what = format!("`{capability}` is not among Docker's default capabilities");
            out.push((element("cap_add", *i), what, Need::Word(format!("cap_add: {capability}"))));
        }
    }
    for (i, option) in &lists.security_opt {
        if !grant::is_harmless(option) {
            let what = format!("`{option}` changes what protects the node");
            out.push((element("security_opt", *i), what, Need::Word(format!("security_opt: {option}"))));
        }
    }
    if container.privileged {
        let what = "`privileged` makes it root on the node".to_owned();
        out.push(("privileged".to_owned(), what, Need::Word("privileged: true".to_owned())));
    }
    if container.network_mode == NetworkMode::Host {
        let what = "`host` puts it into the node's network".to_owned();
        out.push(("network_mode".to_owned(), what, Need::Word("network_mode: host".to_owned())));
    }
    out
}

fn entry_for(name: &str, entry: &str) -> String {
    format!("{name} = [\"{entry}\"]")
}
