//! The key store of a workspace.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use lap_base::{Error, Kind, OrError, Result, label::is_label, secret::Secret};
use time::OffsetDateTime;

use super::{
    authority::{self, Authority},
    certificate,
    directory::{keys_dir, lock},
    dns, files,
    leaf::{self, Leaf},
    maker::{Maker, REGISTRY, REPOSITORY},
    password::{self, Of},
    reading::{authority, damaged, missing, password, ssh_key},
    ssh::SshKey,
};

/// What a store may hold at its top beside environments; an environment cannot be called so.
const RESERVED: [&str; 3] = ["admin", dns::DIRECTORY, "hosts"];

/// A lab's keys, read and found whole. Printing it shows fingerprints only.
#[derive(Debug)]
pub struct Keys {
    dir: PathBuf,
    admin: SshKey,
    root: String,
    repository_password: Secret,
    environments: BTreeMap<String, EnvironmentKeys>,
    dns: Vec<dns::DnsKey>,
}

#[derive(Debug)]
struct EnvironmentKeys {
    issuing: Authority,
    upload_password: Secret,
    repository_password: Secret,
    registry_password: Secret,
}

/// What [`Keys::create`] did.
#[derive(Debug)]
pub struct Created {
    /// The whole store.
    pub keys: Keys,
    /// The files that were missing, relative to the store; empty: nothing to do.
    pub made: Vec<String>,
}

/// One key, for display.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeyInfo {
    /// The file, relative to the store.
    pub name: String,
    /// What it is for.
    pub what: String,
    /// `SHA256:…` of an SSH key, `AB:CD:…` of a certificate.
    pub fingerprint: String,
    /// The day a certificate ends, `2045-12-31`.
    pub ends: Option<String>,
}

impl Keys {
    /// Makes what is missing in the store of the workspace at `root`, and never changes a key or a certificate that exists. Two at once make
    /// one store: the second finds the first one's keys. A killed one is finished by the next.
    ///
    /// `zone` is what a new root certificate is limited to.
    ///
    /// For a new lab, or a new environment; a workspace that only misses its keys needs an import instead, so check
    /// [`Keys::open`] first where that may be.
    ///
    /// # Errors
    /// [`Kind::Config`] for names that cannot be; [`Kind::Keys`] when what is there is damaged or half of a pair is
    /// gone; [`Kind::Host`] when the disk refuses.
    pub fn create(root: &Path, lab: &str, zone: &str, environments: &[String]) -> Result<Created> {
        for name in environments.iter().map(String::as_str).chain([lab]) {
            if !is_label(name) {
                return Err(Error::new(
                    Kind::Config,
                    format!("`{name}` is not a name of lower-case letters and digits"),
                ));
            }
        }
        if let Some(name) = environments.iter().find(|e| RESERVED.contains(&e.as_str())) {
            return Err(Error::new(Kind::Config, format!("an environment cannot be called `{name}`")));
        }
        let _lock = lock(root)?;
        let dir = keys_dir(root);
        files::private_dir(&dir)?;
        let mut maker = Maker::new(&dir, lab, zone, OffsetDateTime::now_utc());
        let mut all = environment_names(&dir)?;
        all.extend(environments.iter().filter(|name| !all.contains(name)).cloned().collect::<Vec<_>>());
        maker.make(environments, &all)?;
        let made = maker.made;
        Ok(Created { keys: Self::load(&dir)?, made })
    }

    /// Signs certificates of authorities again, for the same keys, that end within a year or can sign names of another environment of `zone`.
    /// Returns their files. It needs the root's key.
    ///
    /// # Errors
    /// [`Kind::Keys`] when a certificate must be signed and the root's key is not here; [`Kind::Host`] when the disk refuses.
    pub fn renew(root: &Path, zone: &str) -> Result<Vec<String>> {
        let _lock = lock(root)?;
        let dir = keys_dir(root);
        let (keys, now) = (Self::load(&dir)?, OffsetDateTime::now_utc());
        if keys.ending(now)?.is_empty() && keys.too_wide(zone).is_empty() {
            return Ok(Vec::new());
        }
        let mut maker = Maker::new(&dir, "", zone, now);
        if !maker.has_root_key() {
            return Err(Error::new(
                Kind::Keys,
                "certificates of the lab's authorities must be signed again, and the root's key is not here",
            )
            .hint("run `lap keys new` where `.lap/keys/root.key` is, then `lap keys export` and `lap keys import`"));
        }
        maker.renew(&environment_names(&dir)?)?;
        Ok(maker.made)
    }

    /// Reads the store of the workspace at `root` and checks every key in it.
    ///
    /// # Errors
    /// [`Kind::Keys`], each naming the file and the next step: there is no store, something is missing or damaged, a
    /// certificate does not belong to its key or to the root, or others may read a private key.
    pub fn open(root: &Path) -> Result<Self> {
        let dir = keys_dir(root);
        if !dir.join("admin").exists() && !dir.join("root.crt").exists() {
            return Err(Error::new(Kind::Keys, "this workspace has no keys")
                .hint("run `lap keys import FILE` (from a colleague's `lap keys export`)")
                .hint("or `lap keys new` for a new lab"));
        }
        Self::load(&dir)
    }

    pub(super) fn load(dir: &Path) -> Result<Self> {
        let admin = ssh_key(&dir.join("admin"))?.ok_or_else(|| missing(&dir.join("admin")))?;
        let path = dir.join("root.crt");
        let root = files::read_public(&path)?.ok_or_else(|| missing(&path))?;
        let root_der = authority::check(&root).map_err(|why| damaged(&path, why))?;
        if !certificate::is_signed_by(&root_der, &root_der) {
            return Err(damaged(&path, "its own key did not sign it"));
        }
        if dir.join("root.key").exists() {
            authority(dir, "root")?;
        }
        let repository_password = password(&dir.join(REPOSITORY))?;
        let mut environments = BTreeMap::new();
        for name in environment_names(dir)? {
            let place = dir.join(&name);
            let issuing = authority(&place, "issuing")?;
            if !certificate::is_signed_by(issuing.der(), &root_der) {
                return Err(damaged(&place.join("issuing.crt"), "`root.crt` did not sign it"));
            }
            let upload_password = password(&place.join("upload.password"))?;
            // A store of an earlier version lacks some of these files.
            let derived = |file: &str, of: Of| match place.join(file) {
                file if file.exists() => password(&file),
                _ => Ok(password::of_environment(&repository_password, of, &name)),
            };
            let keys = EnvironmentKeys {
                issuing,
                upload_password,
                repository_password: derived(REPOSITORY, Of::Repository)?,
                registry_password: derived(REGISTRY, Of::Registry)?,
            };
            environments.insert(name, keys);
        }
        let dns = dns::read_all(dir)?;
        Ok(Self { dir: dir.to_owned(), admin, root, repository_password, environments, dns })
    }

    /// Where the store is.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The file with the admin key, for stock `ssh -i`.
    pub fn admin_file(&self) -> PathBuf {
        self.dir.join("admin")
    }

    /// The key that operates every node.
    pub fn admin(&self) -> &SshKey {
        &self.admin
    }

    /// The lab's root certificate (PEM): what others need to trust the lab.
    pub fn root_certificate(&self) -> &str {
        &self.root
    }

    /// Checks that the lab's certificates may name what is in `zone`.
    ///
    /// # Errors
    /// [`Kind::Keys`]: they were made for another zone, which they are limited to.
    pub fn check_zone(&self, zone: &str) -> Result<()> {
        let facts = certificate::blocks(&self.root).first().and_then(|der| certificate::facts(der));
        let permitted = facts.map(|facts| facts.permitted).unwrap_or_default();
        if authority::contains_name(&permitted, zone) {
            return Ok(());
        }
        let made = permitted.first().map_or("another zone", String::as_str);
        let message =
            format!("the lab's certificates are for `{made}` and the names below it, and its zone is `{zone}`");
        Err(Error::new(Kind::Keys, message)
            .hint(format!("set `zone = \"{made}\"` under `[dns]` in lap.toml again"))
            .hint("or start with new keys: run `lap destroy` for everything made with these keys, move `.lap/keys` away, and run `lap keys new`"))
    }

    /// The password of the lab's own off-machine repositories, and of those that all environments share.
    pub fn repository_password(&self) -> &Secret {
        &self.repository_password
    }

    /// The password of one environment's off-machine repositories.
    ///
    /// # Errors
    /// [`Kind::Keys`] when the environment has no keys.
    pub fn repository_password_of(&self, environment: &str) -> Result<&Secret> {
        Ok(&self.of(environment)?.repository_password)
    }

    /// Writes the files with the passwords of the environments' repositories, where an earlier version made the store without
    /// them: stock restic wants a file.
    ///
    /// # Errors
    /// [`Kind::Host`] when the disk refuses.
    pub fn write_repository_passwords(&self) -> Result<()> {
        let _lock = files::lock(self.dir.parent().unwrap_or(&self.dir))?;
        let mut maker = Maker::new(&self.dir, "", "", OffsetDateTime::now_utc());
        self.environments.keys().try_for_each(|name| maker.repository_password(name))
    }

    /// Writes the file with the password of an environment's registry, where an earlier version made the store without it: `docker login`
    /// reads it.
    ///
    /// # Errors
    /// [`Kind::Host`] when the disk refuses.
    pub fn write_registry_password(&self, environment: &str) -> Result<()> {
        if self.dir.join(environment).join(REGISTRY).exists() {
            return Ok(());
        }
        let _lock = files::lock(self.dir.parent().unwrap_or(&self.dir))?;
        Maker::new(&self.dir, "", "", OffsetDateTime::now_utc()).registry_password(environment)
    }

    /// The environments that have keys, sorted.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.keys().map(String::as_str)
    }

    /// The directory of one environment's keys (there is room for more: `dns/`).
    ///
    /// # Errors
    /// [`Kind::Keys`] when the environment has none; so do all that follow.
    pub fn environment_directory(&self, environment: &str) -> Result<PathBuf> {
        self.of(environment).map(|_| self.dir.join(environment))
    }

    /// The environment's issuing certificate (PEM), as [`super::renewal_reason`] wants it.
    ///
    /// # Errors
    /// [`Kind::Keys`] when the environment has none.
    pub fn issuing_certificate(&self, environment: &str) -> Result<&str> {
        Ok(&self.of(environment)?.issuing.certificate)
    }

    pub(super) fn issuing(&self, environment: &str) -> Result<&Authority> {
        Ok(&self.of(environment)?.issuing)
    }

    /// The password of user `UPLOAD_USER` for uploads to artifact and maven.
    ///
    /// # Errors
    /// [`Kind::Keys`] when the environment has none.
    pub fn upload_password(&self, environment: &str) -> Result<&Secret> {
        Ok(&self.of(environment)?.upload_password)
    }

    /// A netrc file for uploads to `machines` (names or addresses, without port).
    ///
    /// # Errors
    /// [`Kind::Keys`] when the environment has no keys, [`Kind::Usage`] for what is not a machine.
    pub fn upload_netrc(&self, environment: &str, machines: &[String]) -> Result<Secret> {
        password::netrc(&self.of(environment)?.upload_password, machines)
    }

    /// The upload user's line for nginx's `auth_basic_user_file`; the same as long as the password is.
    ///
    /// # Errors
    /// [`Kind::Keys`] when the environment has none.
    pub fn htpasswd(&self, environment: &str) -> Result<Secret> {
        Ok(password::htpasswd(&self.of(environment)?.upload_password))
    }

    /// The password of user `UPLOAD_USER` for writing to the registry.
    ///
    /// # Errors
    /// [`Kind::Keys`] when the environment has none.
    pub fn registry_password(&self, environment: &str) -> Result<&Secret> {
        Ok(&self.of(environment)?.registry_password)
    }

    /// That user's line for the registry's `htpasswd`; the same as long as the password is.
    ///
    /// # Errors
    /// [`Kind::Keys`] when the environment has none.
    pub fn registry_htpasswd(&self, environment: &str) -> Result<Secret> {
        password::bcrypt(&self.of(environment)?.registry_password)
    }

    /// A certificate for a TLS server of `environment` with these DNS names and addresses.
    ///
    /// # Errors
    /// [`Kind::Keys`] when the environment has no keys or its authority ended; [`Kind::Config`] for names outside
    /// the zone and addresses that are not private, which the lab's root does not cover.
    pub fn issue(
        &self,
        environment: &str,
        names: &[String],
        addresses: &[IpAddr],
        now: OffsetDateTime,
    ) -> Result<Leaf> {
        leaf::issue(&self.of(environment)?.issuing, environment, names, addresses, now)
    }

    /// The SSH host key of a node that has one.
    ///
    /// # Errors
    /// [`Kind::Keys`] when it has none here: a colleague may have made the node, so that a new key would not match.
    pub fn host_key(&self, node: &str) -> Result<SshKey> {
        ssh_key(&self.host_key_file(node)?)?.ok_or_else(|| {
            Error::new(Kind::Keys, format!("this workspace has no host key of node `{node}`"))
                .hint("if a colleague made the node, run `lap keys import FILE` with their new `lap keys export`")
        })
    }

    /// The SSH host key of a node that is about to be made: the one there is, or a new one.
    ///
    /// # Errors
    /// [`Kind::Config`] for a name that cannot be, [`Kind::Keys`] when the key is damaged, [`Kind::Host`] when the disk
    /// refuses.
    pub fn make_host_key(&self, node: &str) -> Result<SshKey> {
        let path = self.host_key_file(node)?;
        let _lock = files::lock(self.dir.parent().unwrap_or(&self.dir))?;
        if let Some(key) = ssh_key(&path)? {
            return Ok(key);
        }
        let key = SshKey::generate(node)?;
        files::private_dir(&self.dir.join("hosts"))?;
        files::write_new(&path, key.openssh()?.expose().as_bytes(), 0o600)?;
        Ok(key)
    }

    /// The keys of the DNS servers, by name.
    pub fn dns(&self) -> &[dns::DnsKey] {
        &self.dns
    }

    /// Every key with its fingerprint, for people to compare.
    ///
    /// # Errors
    /// [`Kind::Keys`] when a host key is damaged.
    pub fn list(&self) -> Result<Vec<KeyInfo>> {
        let ssh = |name: String, what: String, key: &SshKey| KeyInfo {
            name,
            what,
            fingerprint: key.fingerprint(),
            ends: None,
        };
        let tls = |name: String, what: String, pem: &str| -> Result<KeyInfo> {
            let facts = certificate::blocks(pem).first().and_then(|b| certificate::facts(b));
            let ends = facts.map(|f| f.not_after.date().to_string());
            Ok(KeyInfo { name, what, fingerprint: certificate::fingerprint(pem)?, ends })
        };
        let mut list = vec![
            ssh("admin".into(), "operates every node".into(), &self.admin),
            tls("root.crt".into(), "the lab's authority".into(), &self.root)?,
        ];
        for (name, keys) in &self.environments {
            let what = format!("signs certificates of `{name}`");
            list.push(tls(format!("{name}/issuing.crt"), what, &keys.issuing.certificate)?);
        }
        for key in &self.dns {
            let of = key.environment().map(|name| format!(" of `{name}`")).unwrap_or_default();
            let (name, what) =
                (format!("{}/{}", dns::DIRECTORY, key.name()), format!("DNS updates and transfers{of} (TSIG)"));
            list.push(KeyInfo { name, what, fingerprint: key.fingerprint(), ends: None });
        }
        for node in files::list(&self.dir.join("hosts"))? {
            let node = node.display().to_string();
            list.push(ssh(format!("hosts/{node}"), format!("host key of node `{node}`"), &self.host_key(&node)?));
        }
        Ok(list)
    }

    fn of(&self, environment: &str) -> Result<&EnvironmentKeys> {
        self.environments.get(environment).ok_or_else(|| {
            Error::new(Kind::Keys, format!("this workspace has no keys for environment `{environment}`"))
                .hint("run `lap keys new` to make the missing keys; it keeps the others")
                .hint("or `lap keys import FILE`, if a colleague made them already")
        })
    }

    fn host_key_file(&self, node: &str) -> Result<PathBuf> {
        if is_label(node) {
            return Ok(self.dir.join("hosts").join(node));
        }
        Err(Error::new(Kind::Config, format!("a node cannot be called `{node}`")))
    }
}

/// The environments that have a directory in the store, sorted.
fn environment_names(dir: &Path) -> Result<Vec<String>> {
    let what = || format!("cannot read `{}`", dir.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).or_error(Kind::Keys, what)? {
        let entry = entry.or_error(Kind::Keys, what)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_label(&name) && !RESERVED.contains(&name.as_str()) && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
