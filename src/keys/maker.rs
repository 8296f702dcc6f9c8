//! Makes the files of a key store.

use std::path::Path;

use lap_base::{Result, secret::Secret};
use rcgen::KeyPair;
use time::OffsetDateTime;

use super::{
    authority::{self, Authority},
    certificate, dns, files,
    password::{self, Of},
    reading::{self, authority, key_pair, missing, ssh_key},
    ssh::SshKey,
};

/// The password of a repository: of the lab's at the top of the store, of an environment's in its directory.
pub(super) const REPOSITORY: &str = "repository.password";

/// The password for writing to an environment's registry.
pub(super) const REGISTRY: &str = "registry.password";

/// Makes what is missing, one file at a time, the private half of a pair first: whatever a kill leaves can be finished.
pub(super) struct Maker<'a> {
    dir: &'a Path,
    lab: &'a str,
    zone: &'a str,
    now: OffsetDateTime,
    /// What was missing and is there now.
    pub(super) made: Vec<String>,
}

impl<'a> Maker<'a> {
    /// For the store in `dir`, whose lock the caller holds.
    pub(super) fn new(dir: &'a Path, lab: &'a str, zone: &'a str, now: OffsetDateTime) -> Self {
        Self { dir, lab, zone, now, made: Vec::new() }
    }

    /// Makes everything of the lab and of these environments, which are some of `all`; takes away the DNS key that they once shared.
    pub(super) fn make(&mut self, environments: &[String], all: &[String]) -> Result<()> {
        let lab = self.lab;
        let admin = match ssh_key(&self.dir.join("admin"))? {
            Some(key) => key,
            None if self.has("admin.pub") => return Err(missing(&self.dir.join("admin"))),
            None => {
                let key = SshKey::generate(&format!("admin@{lab}"))?;
                self.write("admin", key.openssh()?.expose())?;
                key
            }
        };
        if !self.has("admin.pub") {
            self.write("admin.pub", &(admin.public_line() + "\n"))?;
        }
        let (now, zone) = (self.now, self.zone);
        self.authority("root", |key| authority::root(lab, zone, key, now))?;
        self.password(REPOSITORY)?;
        for environment in environments {
            files::private_dir(&self.dir.join(environment))?;
            let dir = self.dir;
            self.authority(&format!("{environment}/issuing"), |key| {
                // Read only where it is needed: the root's key may be kept elsewhere.
                authority::issuing(
                    lab,
                    environment,
                    &others(all, environment),
                    zone,
                    &authority(dir, "root")?,
                    key,
                    now,
                )
            })?;
            self.password(&format!("{environment}/upload.password"))?;
            self.repository_password(environment)?;
            self.registry_password(environment)?;
            if !self.has(&format!("{}/{}.json", dns::DIRECTORY, dns::admin_name(environment))) {
                let name = dns::write_new(dir, &dns::admin(environment, zone)?)?;
                self.made.push(name);
            }
        }
        dns::retire(self.dir)?;
        Ok(())
    }

    pub(super) fn has_root_key(&self) -> bool {
        self.has("root.key")
    }

    /// Signs certificates of authorities again; `environments` are all that the store has.
    pub(super) fn renew(&mut self, environments: &[String]) -> Result<()> {
        let now = self.now;
        let mut root = authority(self.dir, "root")?;
        if authority::is_near(&root, now) {
            self.replace("root.crt", &authority::root_again(&root, now)?)?;
            root = authority(self.dir, "root")?;
        }
        for environment in environments {
            let old = authority(&self.dir.join(environment), "issuing")?;
            let others = others(environments, environment);
            if authority::is_near(&old, now) || !excludes(&old, &others, self.zone) {
                let new = authority::issuing_again(&old, &others, self.zone, &root, now)?;
                self.replace(&format!("{environment}/issuing.crt"), &new)?;
            }
        }
        Ok(())
    }

    fn replace(&mut self, name: &str, content: &str) -> Result<()> {
        files::replace(&self.dir.join(name), content.as_bytes(), 0o600)?;
        self.made.push(name.to_owned());
        Ok(())
    }

    fn authority(&mut self, name: &str, certificate: impl FnOnce(&KeyPair) -> Result<String>) -> Result<()> {
        let (crt, key) = (format!("{name}.crt"), format!("{name}.key"));
        if self.has(&crt) {
            // An issuing key that is gone is found by `load`; the root's may be kept elsewhere.
            return Ok(());
        }
        let pair = match key_pair(&self.dir.join(&key))? {
            Some(pair) => pair,
            None => {
                let pair = authority::new_key()?;
                self.write(&key, authority::key_pem(&pair).expose())?;
                pair
            }
        };
        self.write(&crt, &certificate(&pair)?)
    }

    /// For stock restic; lap itself can do without the file.
    pub(super) fn repository_password(&mut self, environment: &str) -> Result<()> {
        self.derived(environment, REPOSITORY, Of::Repository)
    }

    /// For stock docker; lap itself can do without the file.
    pub(super) fn registry_password(&mut self, environment: &str) -> Result<()> {
        self.derived(environment, REGISTRY, Of::Registry)
    }

    fn derived(&mut self, environment: &str, file: &str, of: Of) -> Result<()> {
        let name = format!("{environment}/{file}");
        if self.has(&name) {
            return Ok(());
        }
        let lab = reading::password(&self.dir.join(REPOSITORY))?;
        let password = password::of_environment(&lab, of, environment);
        self.write(&name, Secret::new(format!("{}\n", password.expose())).expose())
    }

    fn password(&mut self, name: &str) -> Result<()> {
        if self.has(name) {
            return Ok(());
        }
        self.write(name, Secret::new(format!("{}\n", password::generate()?.expose())).expose())
    }

    fn has(&self, name: &str) -> bool {
        self.dir.join(name).symlink_metadata().is_ok()
    }

    fn write(&mut self, name: &str, content: &str) -> Result<()> {
        files::write_new(&self.dir.join(name), content.as_bytes(), 0o600)?;
        self.made.push(name.to_owned());
        Ok(())
    }
}

pub(super) fn others(all: &[String], environment: &str) -> Vec<String> {
    all.iter().filter(|name| *name != environment).cloned().collect()
}

/// Whether an issuing authority cannot sign a name of the others.
pub(super) fn excludes(issuing: &Authority, others: &[String], zone: &str) -> bool {
    certificate::facts(issuing.der()).is_some_and(|facts| {
        let wanted = authority::excluded(&facts.permitted, others, zone);
        wanted.iter().all(|name| facts.excluded.contains(name))
    })
}
