//! Works out which files a node should have: names, certificates, secrets, who may log in.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::{
    agent::protocol::{NodeFacts, Place},
    config::{
        KEYS,
        model::{Container, Environment, Subnet},
    },
    error::{Kind, OrError, Result},
    keys::{self, Keys},
    names::{self, Names},
    plan::{containers::Installed, wish::Wish},
    workspace::Workspace,
};

/// One file: (name, mode, content).
pub type Files = Vec<(String, u32, Vec<u8>)>;

/// The content of everything lap puts on a master.
pub struct Contents<'a> {
    pub workspace: &'a Workspace,
    pub keys: &'a Keys,
    pub environment: &'a Environment,
    pub addresses: &'a BTreeMap<String, Ipv4Addr>,
    pub subnet: Subnet,
}

impl Contents<'_> {
    /// The files of one place. Certificates are not among them: they are issued when they are installed.
    ///
    /// # Errors
    /// A key is missing.
    pub fn files(&self, place: &Place, container: Option<&Container>) -> Result<Files> {
        Ok(match place {
            Place::Trust => vec![("root.crt".into(), 0o644, self.keys.root_certificate().as_bytes().to_vec())],
            Place::Names => {
                let json = serde_json::to_vec_pretty(&self.names()).or_error(Kind::Other, || "names".into())?;
                vec![("names.json".into(), 0o644, json)]
            }
            Place::Ssh => {
                let text = keys::authorized_keys(self.keys.admin().public(), &self.workspace.lab.operators)?;
                vec![("authorized_keys".into(), 0o600, text.into_bytes())]
            }
            Place::Secrets(_) => {
                let mut files = Files::new();
                for secret in container.iter().flat_map(|container| &container.secrets) {
                    match secret.as_str() {
                        "htpasswd" => {
                            let line = self.keys.htpasswd(&self.environment.name)?;
                            files.push((secret.clone(), 0o600, line.expose().as_bytes().to_vec()));
                        }
                        KEYS => {
                            let lab = &self.workspace.lab;
                            let (own, default) = (&self.environment.name, &lab.default_environment);
                            let file = self.keys.dns_file(own, default, &lab.dns.zone);
                            let json = serde_json::to_vec_pretty(&file).or_error(Kind::Other, || "keys".into())?;
                            files.push((secret.clone(), 0o600, json));
                        }
                        "admin.pub" => {
                            let line = self.keys.admin().public_line();
                            files.push((secret.clone(), 0o600, line.into_bytes()));
                        }
                        _ => {}
                    }
                }
                files
            }
            Place::Policy => {
                let policy = self.workspace.lab.snapshot.clone().unwrap_or_default();
                let json = serde_json::to_vec_pretty(&policy).or_error(Kind::Other, || "policy".into())?;
                vec![("snapshot.json".into(), 0o644, json)]
            }
            Place::Env(_) | Place::Checks(_) | Place::State | Place::Staged(_) => Files::new(),
        })
    }

    /// The secrets of a container. A place is replaced as a whole, and the key of a certificate never leaves the node: so there is a
    /// new one each time.
    ///
    /// # Errors
    /// A key is missing.
    pub fn secrets(&self, container: &Container) -> Result<Files> {
        let mut files = self.files(&Place::Secrets(container.name.clone()), Some(container))?;
        if container.secrets.contains("tls.crt") || container.secrets.contains("tls.key") {
            let (names, addresses) = self.certificate_names(container);
            let issued = self.keys.issue(&self.environment.name, &names, &addresses, OffsetDateTime::now_utc())?;
            files.push(("tls.crt".into(), 0o644, issued.chain.into_bytes()));
            files.push(("tls.key".into(), 0o600, issued.key.expose().as_bytes().to_vec()));
        }
        Ok(files)
    }

    /// The names the environment's DNS server serves.
    pub fn names(&self) -> Names {
        let upstreams = self.workspace.upstreams(self.environment, self.addresses);
        let upstreams: Vec<SocketAddr> = upstreams.into_iter().map(|address| (address, 53).into()).collect();
        names::names(&names::Inputs {
            lab: &self.workspace.lab,
            environment: &self.environment.name,
            nodes: self.addresses,
            subnet: Some(self.subnet),
            upstreams: &upstreams,
        })
    }

    /// Names and addresses a container's certificate is for.
    pub fn certificate_names(&self, container: &Container) -> (Vec<String>, Vec<IpAddr>) {
        let mut all = container.names.clone();
        let zone = &self.workspace.lab.dns.zone;
        all.extend(container.names.iter().filter_map(|name| names::of_environment(name, &self.environment.name, zone)));
        all.push("localhost".into());
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        addresses.extend(self.addresses.get(&self.environment.master).map(|address| IpAddr::V4(*address)));
        let publish = self.workspace.lab.nodes.get(&self.environment.master).and_then(|node| node.publish);
        addresses.extend(publish.filter(|address| !address.is_unspecified()).map(IpAddr::V4));
        (all, addresses)
    }

    /// What should be installed, and which certificates must be issued.
    ///
    /// # Errors
    /// A key is missing.
    pub fn wished(&self, wish: &Wish, node: &NodeFacts) -> Result<Installed> {
        let mut installed = Installed::default();
        let mut add = |prefix: &str, files: Files| {
            for (name, _, bytes) in files {
                installed.files.insert(format!("{prefix}/{name}"), hex::encode(Sha256::digest(&bytes)));
            }
        };
        for (prefix, place) in [("trust", Place::Trust), ("names", Place::Names), ("ssh", Place::Ssh)] {
            add(prefix, self.files(&place, None)?);
        }
        // Where there never was a schedule, none is set.
        if self.workspace.lab.snapshot.is_some() || node.installed.contains_key("policy/snapshot.json") {
            add("policy", self.files(&Place::Policy, None)?);
        }
        let issuing = self.keys.issuing_certificate(&self.environment.name)?;
        let now = OffsetDateTime::now_utc();
        for container in wish.running() {
            let place = Place::Secrets(container.name.clone());
            add(&format!("secrets/{}", container.name), self.files(&place, Some(container))?);
            if !container.secrets.contains("tls.crt") {
                continue;
            }
            let (names, addresses) = self.certificate_names(container);
            let why = match node.certificates.get(&container.name) {
                None => Some("there is none"),
                Some(pem) if keys::needs_renewal(pem, &names, &addresses, issuing, now) => {
                    Some("it ends soon, or its names changed")
                }
                Some(_) => None,
            };
            if let Some(why) = why {
                installed.certificates.insert(container.name.clone(), why.into());
            }
        }
        Ok(installed)
    }
}
