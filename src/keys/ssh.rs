//! SSH keys: the operator's, the nodes', and the two files stock ssh knows them by.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use lap_base::{Error, Kind, OrError, Result, label::is_label, random::random, secret::Secret};
use russh::keys::{
    Algorithm, HashAlg, PrivateKey, PublicKey,
    ssh_key::{
        LineEnding,
        private::{Ed25519Keypair, KeypairData},
    },
};
use zeroize::Zeroizing;

/// An ed25519 key pair.
#[derive(Clone)]
pub struct SshKey(PrivateKey);

impl SshKey {
    /// A new one from the kernel's random bytes.
    pub(super) fn generate(comment: &str) -> Result<Self> {
        let seed = Zeroizing::new(random::<32>()?);
        PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), comment)
            .map(Self)
            .or_error(Kind::Other, || "cannot make an ssh key".into())
    }

    /// Reads an OpenSSH private key; `Err` says what is wrong without any of its content.
    pub(super) fn parse(pem: &[u8]) -> std::result::Result<Self, &'static str> {
        match PrivateKey::from_openssh(pem) {
            Ok(key) if key.is_encrypted() => Err("it has a passphrase of its own"),
            Ok(key) => Ok(Self(key)),
            Err(_) => Err("it is not an OpenSSH private key"),
        }
    }

    /// For russh.
    pub fn private(&self) -> &PrivateKey {
        &self.0
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        self.0.public_key()
    }

    /// The private key as stock ssh reads it (`ssh -i`, `HostKey`).
    ///
    /// # Errors
    /// [`Kind::Other`] only if encoding fails, which a key that was read or made does not.
    pub fn openssh(&self) -> Result<Secret> {
        let pem = self.0.to_openssh(LineEnding::LF).or_error(Kind::Other, || "cannot encode an ssh key".into())?;
        Ok(Secret::new(pem.as_str().to_owned()))
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        ssh_fingerprint(self.public())
    }

    /// `ssh-ed25519 AAAA… comment`, without a newline.
    pub fn public_line(&self) -> String {
        line(self.public(), self.public().comment().as_str_lossy())
    }
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SshKey({})", self.fingerprint())
    }
}

/// `SHA256:…`, as `ssh-keygen -l` prints it.
pub fn ssh_fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Whether `wanted`, the line of a .pub file or a fingerprint, is this key.
pub fn same_key(key: &PublicKey, wanted: &str) -> bool {
    let wanted = wanted.trim();
    if wanted.starts_with("SHA256:") {
        return ssh_fingerprint(key) == wanted;
    }
    PublicKey::from_openssh(wanted).is_ok_and(|wanted| wanted.key_data() == key.key_data())
}

/// A node's `authorized_keys`: the admin key, then each operator's, named by its comment.
///
/// # Errors
/// [`Kind::Config`] for what is not exactly one plain public key: options (`command="…"`), a second line, an unknown or
/// broken algorithm; all of them in one error.
pub fn authorized_keys(admin: &PublicKey, operators: &BTreeMap<String, String>) -> Result<String> {
    // Written anew from what was parsed: nothing of the original text gets through but the key itself.
    Ok(authorized(admin, operators)?.iter().map(|(name, key)| line(key, name) + "\n").collect())
}

/// The keys that may operate the lab, each with its name: the admin key is called `admin`.
///
/// # Errors
/// As [`authorized_keys`].
pub fn authorized(admin: &PublicKey, operators: &BTreeMap<String, String>) -> Result<Vec<(String, PublicKey)>> {
    let mut keys = vec![("admin".to_owned(), admin.clone())];
    let mut wrong = Vec::new();
    for (name, key) in operators {
        match operator_key(name, key) {
            Ok(key) => keys.push((name.clone(), key)),
            Err(why) => wrong.push(format!("operator `{name}`: {why}")),
        }
    }
    if wrong.is_empty() {
        return Ok(keys);
    }
    Err(Error::new(Kind::Config, wrong.join("\n")).hint("write one line, as in `~/.ssh/id_ed25519.pub`"))
}

/// Name and fingerprint of each key in the text of an `authorized_keys`. What is no plain key lets somebody in, too, and has no name.
pub fn admitted(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| match PublicKey::from_openssh(line) {
        Ok(key) => (key.comment().as_str_lossy().to_owned(), ssh_fingerprint(&key)),
        Err(_) => ("?".to_owned(), "not a plain key line".to_owned()),
    };
    lines.map(read).collect()
}

fn operator_key(name: &str, text: &str) -> std::result::Result<PublicKey, &'static str> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@+".contains(&b)) {
        return Err("a name has only letters, digits and `._-@+`");
    }
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err("a key is one line");
    }
    let first = text.split_whitespace().next().unwrap_or_default();
    if first.starts_with("-----BEGIN") {
        return Err("this is a private key: write the public one, and make a new pair if this one was committed");
    }
    if !(first.starts_with("ssh-") || first.starts_with("ecdsa-") || first.starts_with("sk-")) {
        return Err("this does not start with a key's algorithm (options are not supported)");
    }
    let key = PublicKey::from_openssh(text).map_err(|_| "this is not a public key in OpenSSH's format")?;
    match key.algorithm() {
        Algorithm::Dsa => Err("DSA keys are too weak: sshd refuses them"),
        Algorithm::Other(_) => Err("this key's algorithm is not known"),
        _ => Ok(key),
    }
}

/// The line of `known_hosts` for one node: all its names and addresses, and its host key.
///
/// # Errors
/// [`Kind::Config`] for what is neither a name nor an address (patterns are not taken), or when both lists are empty.
pub fn known_hosts(names: &[String], addresses: &[IpAddr], port: u16, host_key: &PublicKey) -> Result<String> {
    let hosts: Vec<String> = names.iter().cloned().chain(addresses.iter().map(IpAddr::to_string)).collect();
    if hosts.is_empty() {
        return Err(Error::new(Kind::Config, "a line of known_hosts needs a name or an address"));
    }
    if let Some(wrong) = hosts.iter().find(|h| !is_host(h)) {
        return Err(Error::new(Kind::Config, format!("`{wrong}` is neither a name nor an address")));
    }
    let place = |h: &String| if port == 22 { h.clone() } else { format!("[{h}]:{port}") };
    let hosts = hosts.iter().map(place).collect::<Vec<_>>().join(",");
    Ok(format!("{hosts} {}\n", line(host_key, "").trim_end()))
}

/// A DNS name in lower case, or an address.
pub(super) fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_name(text)
}

/// Labels of letters, digits and inner hyphens, lower case.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// `ssh-ed25519 AAAA… comment`, without a newline.
pub fn line(key: &PublicKey, comment: &str) -> String {
    let key = PublicKey::new(key.key_data().clone(), comment);
    // Encoding fails only when out of memory.
    key.to_openssh().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SshKey {
        SshKey::generate("admin@office").unwrap()
    }

    #[test]
    fn survives_a_round_trip_and_tells_nothing() {
        let key = key();
        let again = SshKey::parse(key.openssh().unwrap().expose().as_bytes()).unwrap();
        assert_eq!((again.fingerprint(), again.public_line()), (key.fingerprint(), key.public_line()));
        assert!(key.public_line().starts_with("ssh-ed25519 AAAA") && key.public_line().ends_with(" admin@office"));
        assert_eq!(format!("{key:?}"), format!("SshKey({})", key.fingerprint()));
        assert!(SshKey::parse(b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n").is_err());
    }

    #[test]
    fn authorized_keys_has_one_line_each() {
        let (admin, ann) = (key(), key());
        let operators = BTreeMap::from([("ann".to_owned(), format!("{}\n", ann.public_line()))]);
        let lines = authorized_keys(admin.public(), &operators).unwrap();
        let comments: Vec<_> = lines.lines().map(|l| l.rsplit(' ').next().unwrap()).collect();
        assert_eq!(comments, ["admin", "ann"]);
        let read = admitted(&format!("# of lap\n{lines}\ncommand=\"x\" {}\n", ann.public_line()));
        let keys = [("admin", admin.fingerprint()), ("ann", ann.fingerprint()), ("?", "not a plain key line".into())];
        assert_eq!(read, keys.map(|(name, key)| (name.to_owned(), key)));
    }

    #[test]
    fn authorized_keys_takes_no_options_and_no_second_line() {
        let good = key().public_line();
        let operators: BTreeMap<String, String> = [
            ("a", format!("command=\"/bin/sh\" {good}")),
            ("b", format!("{good}\n{good}")),
            ("c", String::new()),
            ("d", "ssh-ed25519 AAAA".into()),
            ("e", "-----BEGIN OPENSSH PRIVATE KEY-----".into()),
            ("f f", good.clone()),
            ("g", format!("{good}\rssh-rsa x")),
        ]
        .map(|(n, k)| (n.to_owned(), k))
        .into();
        let error = authorized_keys(key().public(), &operators).unwrap_err();
        assert_eq!((error.kind, error.message.lines().count()), (Kind::Config, 7), "{error}");
    }

    #[test]
    fn known_hosts_names_the_port_only_if_unusual() {
        let key = key();
        let (names, addresses) = (["m.node.internal".to_owned()], ["192.168.0.10".parse().unwrap()]);
        let line = known_hosts(&names, &addresses, 22, key.public()).unwrap();
        assert!(line.starts_with("m.node.internal,192.168.0.10 ssh-ed25519 AAAA") && line.ends_with('\n'));
        let line = known_hosts(&names, &addresses, 2222, key.public()).unwrap();
        assert!(line.starts_with("[m.node.internal]:2222,[192.168.0.10]:2222 ssh-ed25519 "));
        for wrong in ["*", "a b", "!a", "a,b", "a\nb", ""] {
            assert!(known_hosts(&[wrong.to_owned()], &[], 22, key.public()).is_err(), "{wrong}");
        }
        assert!(known_hosts(&[], &[], 22, key.public()).is_err());
    }
}
