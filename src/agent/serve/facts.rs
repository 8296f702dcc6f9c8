//! Looks at the node from inside: one answer with everything a plan needs.

use std::{collections::BTreeMap, path::Path};

use lap_base::state::{self, State, Unreadable};

use crate::{
    agent::{docker, install, pool, recorded},
    keys,
    wire::{paths, protocol::NodeFacts},
};

/// Everything but what the agent itself knows (lock, journal). A node whose Docker does not answer has facts, too.
pub async fn collect() -> NodeFacts {
    let files = tokio::task::spawn_blocking(files);
    let mut facts = NodeFacts { build: crate::BUILD.to_owned(), ..NodeFacts::default() };
    if let Ok(docker) = docker::connect().await {
        let (containers, images) = tokio::join!(docker::containers(&docker), docker::images(&docker));
        if let (Ok(containers), Ok(images)) = (containers, images) {
            facts.docker = Some(docker.client_version().to_string());
            (facts.containers, facts.images) = (containers, images);
        }
    }
    let recorded = recorded::read(Path::new(paths::STATE));
    facts.next_release = recorded.next_number();
    facts.unreadable = recorded.unreadable();
    facts.recorded = recorded.current;
    match files.await {
        Ok(files) => {
            (facts.installed, facts.certificates) = (files.installed, files.certificates);
            facts.unreadable.extend(files.unreadable);
        }
        Err(error) => facts.unreadable.push(Unreadable::new(paths::HOME, error.to_string())),
    }
    facts.data = pool::facts();
    facts.quota = crate::agent::data::quota::facts();
    let (snapshots, unreadable) = crate::agent::snapshots::facts();
    facts.snapshots = snapshots;
    facts.unreadable.extend(unreadable);
    let (push, unreadable) = crate::agent::push::read().value_and_complaint();
    facts.push = push;
    facts.unreadable.extend(unreadable);
    let (copies, unreadable) = crate::agent::copies::known().value_and_complaint();
    facts.copies = copies.unwrap_or_default();
    facts.unreadable.extend(unreadable);
    facts.admits = admits(&Path::new(paths::SSH).join("authorized_keys"));
    facts
}

/// What was installed, as far as it can be read.
#[derive(Default)]
struct Installed {
    /// `<place>/<path>` → sha256.
    installed: BTreeMap<String, String>,
    certificates: BTreeMap<String, String>,
    unreadable: Vec<Unreadable>,
}

impl Installed {
    /// What is in a directory; one that is absent is empty. What cannot be read is not listed, so that it differs from what is desired
    /// and is installed anew.
    fn hashes(&mut self, place: &str, dir: &str) {
        let (hashes, unreadable) = install::hashes(Path::new(dir));
        self.installed.extend(hashes.into_iter().map(|(path, hash)| (format!("{place}/{path}"), hash)));
        self.complain(unreadable);
    }

    fn names(&mut self, dir: &str) -> Vec<String> {
        let (names, unreadable) = state::names(Path::new(dir)).value_and_complaint();
        self.complain(unreadable);
        names.unwrap_or_default()
    }

    fn complain(&mut self, unreadable: impl IntoIterator<Item = Unreadable>) {
        let hint = "run `lap up` on an operator's machine to install it again";
        self.unreadable.extend(unreadable.into_iter().map(|unreadable| unreadable.hint(hint)));
    }
}

fn files() -> Installed {
    let mut all = Installed::default();
    for (place, dir) in
        [("secrets", paths::SECRETS), ("trust", paths::TRUST), ("names", paths::NAMES), ("policy", paths::POLICY)]
    {
        all.hashes(place, dir);
    }
    let mut ssh = Installed::default();
    ssh.hashes("ssh", paths::SSH);
    all.installed.extend(ssh.installed.remove_entry("ssh/authorized_keys"));
    all.unreadable.extend(ssh.unreadable.into_iter().filter(|it| it.path.ends_with("authorized_keys")));
    // A directory has its digest's name only when it is whole.
    for (place, dir) in [("env", paths::ENV), ("checks", paths::CHECKS), ("images", paths::IMAGES)] {
        for name in all.names(dir) {
            all.installed.insert(format!("{place}/{name}"), name);
        }
    }
    for container in all.names(paths::SECRETS) {
        let path = Path::new(paths::SECRETS).join(&container).join("tls.crt");
        // One that cannot be read is in the list already, and counts as none: a new one is issued.
        if let State::Value(pem) = state::bytes(&path) {
            all.certificates.insert(container, String::from_utf8_lossy(&pem).into_owned());
        }
    }
    all
}

/// Who may log in; `None`: that cannot be read.
fn admits(file: &Path) -> Option<Vec<(String, String)>> {
    match state::bytes(file) {
        State::Value(text) => Some(keys::admitted(&String::from_utf8_lossy(&text))),
        State::Absent => Some(Vec::new()),
        State::Unreadable(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_does_not_admit_nobody() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(admits(&dir.path().join("missing")), Some(Vec::new()));
        assert_eq!(admits(dir.path()), None);
    }
}
