//! Works out which files a node should have: names, certificates, secrets, who may log in.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use lap_base::error::{Error, Kind, OrError, Result};
use lap_nameserver::names::Names;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::{
    config::{
        KEYS, REGISTRY_HTPASSWD, REGISTRY_PASSWORD,
        model::{Container, Environment, Subnet},
    },
    keys::{self, Keys},
    names,
    plan::containers::{GIT, Installed},
    release::desired_state::DesiredState,
    wire::protocol::{InstallTarget, NodeFacts},
    workspace::Workspace,
};

/// In [`InstallTarget::Policy`]: that pushes are built, and with what.
const PUSH: &str = "push.json";

/// One file: (name, mode, content).
pub type FileList = Vec<(String, u32, Vec<u8>)>;

/// The content of everything lap puts on a master.
pub struct Contents<'a> {
    pub workspace: &'a Workspace,
    /// `None` on the node itself.
    pub keys: Option<&'a Keys>,
    pub environment: &'a Environment,
    pub seen: &'a PushFacts,
    /// What the environment runs, or is to run, where that is a release.
    pub runs: Option<&'a BTreeMap<String, Container>>,
}

/// What only an operator's machine can see and the node must know to build what is pushed to it: `policy/push.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushFacts {
    /// The lab's name on that machine.
    pub lab: String,
    /// Every node's address.
    pub nodes: BTreeMap<String, Ipv4Addr>,
    pub subnet: Subnet,
    /// Whom the environment's DNS server asks for what it does not know.
    pub upstreams: Vec<SocketAddr>,
}

impl PushFacts {
    /// From this machine.
    pub fn new(
        workspace: &Workspace,
        environment: &Environment,
        nodes: BTreeMap<String, Ipv4Addr>,
        subnet: Subnet,
    ) -> Self {
        let upstreams = workspace.upstreams(environment, &nodes);
        let upstreams = upstreams.into_iter().map(|address| (address, 53).into()).collect();
        Self { lab: workspace.lab.name.clone(), nodes, subnet, upstreams }
    }
}

/// Where they are needed and are not.
pub fn no_keys() -> Error {
    Error::new(Kind::Keys, "this step needs the lab's keys, which only operators have")
        .hint("run `lap up` on an operator's machine")
}

impl Contents<'_> {
    fn keys(&self) -> Result<&Keys> {
        self.keys.ok_or_else(no_keys)
    }

    /// The files of one place. Certificates are not among them: they are issued when they are installed.
    ///
    /// # Errors
    /// A key is missing.
    pub fn files(&self, place: &InstallTarget, container: Option<&Container>) -> Result<FileList> {
        Ok(match place {
            InstallTarget::Trust => {
                vec![("root.crt".into(), 0o644, self.keys()?.root_certificate().as_bytes().to_vec())]
            }
            InstallTarget::Names => {
                let json = serde_json::to_vec_pretty(&self.names()).or_error(Kind::Other, || "names".into())?;
                vec![("names.json".into(), 0o644, json)]
            }
            InstallTarget::Ssh => {
                let text = keys::authorized_keys(self.keys()?.admin().public(), &self.workspace.lab.operators)?;
                vec![("authorized_keys".into(), 0o600, text.into_bytes())]
            }
            InstallTarget::Secrets(_) => {
                let mut files = FileList::new();
                for secret in container.iter().flat_map(|container| &container.secrets) {
                    match secret.as_str() {
                        "htpasswd" => {
                            let line = self.keys()?.htpasswd(&self.environment.name)?;
                            files.push((secret.clone(), 0o600, line.expose().as_bytes().to_vec()));
                        }
                        REGISTRY_HTPASSWD => {
                            let (keys, environment) = (self.keys()?, &self.environment.name);
                            let line = keys.registry_htpasswd(environment)?;
                            files.push((secret.clone(), 0o600, line.expose().as_bytes().to_vec()));
                            // For the node itself, which pushes what it builds.
                            let password = keys.registry_password(environment)?;
                            files.push((REGISTRY_PASSWORD.into(), 0o600, password.expose().as_bytes().to_vec()));
                        }
                        KEYS => {
                            let lab = &self.workspace.lab;
                            let (own, default) = (&self.environment.name, &lab.default_environment);
                            let file = self.keys()?.dns_file(own, default, &lab.dns.zone);
                            let json = serde_json::to_vec_pretty(&file).or_error(Kind::Other, || "keys".into())?;
                            files.push((secret.clone(), 0o600, json));
                        }
                        "admin.pub" => {
                            let line = self.keys()?.admin().public_line();
                            files.push((secret.clone(), 0o600, line.into_bytes()));
                        }
                        _ => {}
                    }
                }
                files
            }
            InstallTarget::Policy => {
                let policy = self.workspace.lab.snapshot.clone().unwrap_or_default();
                let json = serde_json::to_vec_pretty(&policy).or_error(Kind::Other, || "policy".into())?;
                let mut files = vec![("snapshot.json".into(), 0o644, json)];
                if self.takes_pushes() {
                    let json = serde_json::to_vec_pretty(self.seen).or_error(Kind::Other, || "policy".into())?;
                    files.push((PUSH.into(), 0o644, json));
                }
                files
            }
            InstallTarget::Env(_) | InstallTarget::Checks(_) | InstallTarget::State | InstallTarget::Staged(_) => {
                FileList::new()
            }
        })
    }

    /// The secrets of a container. A place is replaced as a whole, and the key of a certificate never leaves the node: so there is a
    /// new one each time.
    ///
    /// # Errors
    /// A key is missing.
    pub fn secrets(&self, container: &Container) -> Result<FileList> {
        let mut files = FileList::new();
        // What is compared comes last, so that after a kill in between all of it is done again: a key beside another one's certificate
        // would stay.
        if container.secrets.contains("tls.crt") || container.secrets.contains("tls.key") {
            let (names, addresses) = self.certificate_names(container);
            let issued = self.keys()?.issue(&self.environment.name, &names, &addresses, OffsetDateTime::now_utc())?;
            files.push(("tls.key".into(), 0o600, issued.key.expose().as_bytes().to_vec()));
            files.push(("tls.crt".into(), 0o644, issued.chain.into_bytes()));
        }
        files.extend(self.files(&InstallTarget::Secrets(container.name.clone()), Some(container))?);
        Ok(files)
    }

    /// The names the environment's DNS server serves.
    pub fn names(&self) -> Names {
        names::names(&names::NameInputs {
            lab: &self.workspace.lab,
            environment: &self.environment.name,
            nodes: &self.seen.nodes,
            subnet: Some(self.seen.subnet),
            upstreams: &self.seen.upstreams,
            runs: self.runs,
        })
    }

    /// Names and addresses a container's certificate is for.
    pub fn certificate_names(&self, container: &Container) -> (Vec<String>, Vec<IpAddr>) {
        let mut all = container.names.clone();
        let zone = &self.workspace.lab.dns.zone;
        all.extend(container.names.iter().filter_map(|name| names::of_environment(name, &self.environment.name, zone)));
        all.push("localhost".into());
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        addresses.extend(self.seen.nodes.get(&self.environment.master).map(|address| IpAddr::V4(*address)));
        let publish = self.workspace.lab.nodes.get(&self.environment.master).and_then(|node| node.publish);
        addresses.extend(publish.filter(|address| !address.is_unspecified()).map(IpAddr::V4));
        (all, addresses)
    }

    /// What should be installed, and which certificates must be issued.
    ///
    /// # Errors
    /// A key is missing.
    pub fn wished(&self, desired: &DesiredState, node: &NodeFacts) -> Result<Installed> {
        let mut installed = Installed::default();
        let mut add = |prefix: &str, files: FileList| {
            for (name, _, bytes) in files {
                installed.files.insert(format!("{prefix}/{name}"), hex::encode(Sha256::digest(&bytes)));
            }
        };
        add("names", self.files(&InstallTarget::Names, None)?);
        // Where there never was a schedule, none is set.
        let scheduled = self.workspace.lab.snapshot.is_some() || node.installed.contains_key("policy/snapshot.json");
        if scheduled || self.takes_pushes() {
            add("policy", self.files(&InstallTarget::Policy, None)?);
        }
        if self.keys.is_none() {
            self.has_what_it_needs(desired, node)?;
            installed.files.extend(
                node.installed
                    .iter()
                    .filter(|(path, _)| !path.starts_with("names/") && !path.starts_with("policy/"))
                    .map(|(path, hash)| (path.clone(), hash.clone())),
            );
            return Ok(installed);
        }
        for (prefix, place) in [("trust", InstallTarget::Trust), ("ssh", InstallTarget::Ssh)] {
            add(prefix, self.files(&place, None)?);
        }
        let issuing = self.keys()?.issuing_certificate(&self.environment.name)?;
        let now = OffsetDateTime::now_utc();
        for container in desired.running() {
            let place = InstallTarget::Secrets(container.name.clone());
            add(&format!("secrets/{}", container.name), self.files(&place, Some(container))?);
            if !container.secrets.contains("tls.crt") {
                continue;
            }
            let (names, addresses) = self.certificate_names(container);
            let why = match node.certificates.get(&container.name) {
                None => Some("there is none"),
                Some(pem) => keys::renewal_reason(pem, &names, &addresses, issuing, now),
            };
            let why = match why {
                None if !node.installed.contains_key(&format!("secrets/{}/tls.key", container.name)) => {
                    Some("its key is missing")
                }
                why => why,
            };
            if let Some(why) = why {
                installed.certificates.insert(container.name.clone(), why.into());
            }
        }
        Ok(installed)
    }

    /// Whether the lab's own repository lives in this environment's git and what is pushed to it is built: not where releases come by
    /// promotion only.
    fn takes_pushes(&self) -> bool {
        self.environment.promote_from.is_none()
            && self.workspace.lab.containers.get(GIT).is_some_and(|container| container.scale > 0)
    }

    /// Without keys nothing can be made that is not there.
    fn has_what_it_needs(&self, desired: &DesiredState, node: &NodeFacts) -> Result<()> {
        for container in desired.running() {
            let name = &container.name;
            let lacks = container
                .secrets
                .iter()
                .find(|secret| !node.installed.contains_key(&format!("secrets/{name}/{secret}")));
            let (names, addresses) = self.certificate_names(container);
            let other = container.secrets.contains("tls.crt")
                && !node.certificates.get(name).is_some_and(|pem| keys::is_for(pem, &names, &addresses));
            let what = match lacks {
                Some(secret) => format!("the secret `{secret}`"),
                None if other => "a certificate for its names".to_owned(),
                None => continue,
            };
            return Err(Error::new(
                Kind::Refused,
                format!("`{name}` needs {what}, which only an operator can install"),
            )
            .hint(format!(
                "run `lap up {}` on an operator's machine, with this commit checked out",
                self.environment.name
            )));
        }
        Ok(())
    }
}
