//! A container has what `lap.toml` grants it, and nothing beyond: whoever may change `containers/` is not thereby root
//! on the node.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::config::{
    lines::{child, element},
    model::{Container, NetworkMode, Volume},
    problem::{Ledger, did_you_mean},
    read::container::ContainerFile,
    value::{capability, grant},
    workspace::WorkspaceFiles,
};

const PRIVILEGED: &str = "privileged: true";
const HOST: &str = "network_mode: host";
/// A container that reaches it is root on the node.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

pub fn check(workspace: &WorkspaceFiles, ledger: &Ledger) {
    // Without the grants, everything would seem to lack one.
    let Some(lap) = &workspace.lap.file else { return };
    let grants = &workspace.lap.value.grants;
    for name in grants.keys().filter(|name| !workspace.containers.contains_key(*name)) {
        let guess = did_you_mean(name, workspace.containers.keys().map(String::as_str));
        let help = if guess.is_empty() { ": remove it" } else { &guess };
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
                    "{what}, which lap.toml does not grant: remove it, or add `{}` under `[grants]` in lap.toml",
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
    for (i, volume) in lists.volumes.iter().filter(|(_, volume)| is_outside(name, volume)) {
        let source = &volume.source;
        let what = if SOCKETS.iter().any(|socket| source == Path::new(socket)) {
            "Docker's socket makes the container root on the node".to_owned()
        } else {
            format!("`{}` is outside `{}` and `/env`", source.display(), own.display())
        };
        out.push((element("volumes", *i), what, Need::Path(source.clone())));
    }
    for (i, capability) in lists.cap_add.iter().filter(|(_, capability)| is_more(capability)) {
        let what = format!("`{capability}` is not among Docker's default capabilities");
        out.push((element("cap_add", *i), what, Need::Word(of_capability(capability))));
    }
    for (i, option) in lists.security_opt.iter().filter(|(_, option)| !grant::is_harmless(option)) {
        let what = format!("`{option}` changes the protection of the node");
        out.push((element("security_opt", *i), what, Need::Word(of_option(option))));
    }
    if container.privileged {
        let what = "`privileged` makes the container root on the node".to_owned();
        out.push(("privileged".to_owned(), what, Need::Word(PRIVILEGED.to_owned())));
    }
    if container.network_mode == NetworkMode::Host {
        let what = "`host` puts the container into the node's network".to_owned();
        out.push(("network_mode".to_owned(), what, Need::Word(HOST.to_owned())));
    }
    out
}

/// What a container has beyond its own data, in the words of `[grants]`.
pub fn beyond(container: &Container) -> BTreeSet<String> {
    let Container { name, volumes, cap_add, security_opt, privileged, network_mode, .. } = container;
    let paths =
        volumes.iter().filter(|volume| is_outside(name, volume)).map(|volume| volume.source.display().to_string());
    let capabilities =
        cap_add.iter().filter(|capability| is_more(capability)).map(|capability| of_capability(capability));
    let options = security_opt.iter().filter(|option| !grant::is_harmless(option)).map(|option| of_option(option));
    let words = [(*privileged, PRIVILEGED), (*network_mode == NetworkMode::Host, HOST)];
    let words = words.into_iter().filter(|(has, _)| *has).map(|(_, word)| word.to_owned());
    paths.chain(capabilities).chain(options).chain(words).collect()
}

fn is_outside(name: &str, volume: &Volume) -> bool {
    !volume.source.starts_with(Path::new("/data").join(name)) && !volume.source.starts_with("/env")
}

fn is_more(capability: &str) -> bool {
    !capability::DEFAULT.contains(&capability)
}

fn of_capability(capability: &str) -> String {
    format!("cap_add: {capability}")
}

fn of_option(option: &str) -> String {
    format!("security_opt: {option}")
}

fn entry_for(name: &str, entry: &str) -> String {
    format!("{name} = [\"{entry}\"]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_has_beyond_its_own_data() {
        let mut container = Container::new("web");
        let volume = |source: &str| Volume { source: source.into(), target: "/x".into(), read_only: true };
        container.volumes =
            vec![volume("/data/web/files"), volume("/env/site"), volume("/data/webmail"), volume("/srv")];
        container.cap_add = ["CHOWN", "NET_ADMIN"].map(str::to_owned).into();
        container.security_opt = vec!["no-new-privileges".into(), "seccomp=unconfined".into()];
        let has = ["/data/webmail", "/srv", "cap_add: NET_ADMIN", "security_opt: seccomp=unconfined"];
        assert_eq!(beyond(&container), has.map(str::to_owned).into());
        (container.privileged, container.network_mode) = (true, NetworkMode::Host);
        let more: BTreeSet<String> = &beyond(&container) - &has.map(str::to_owned).into();
        assert_eq!(more, ["network_mode: host", "privileged: true"].map(str::to_owned).into());
    }
}
