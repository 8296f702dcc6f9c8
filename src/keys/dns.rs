//! TSIG keys (RFC 8945) of the DNS servers: who may change which names, and who may transfer the zones.
//!
//! Each is a file of the store, `dns/<name>.json`, one [`KeyEntry`]. What `nsupdate -k`, BIND, Knot and dhcpd read instead
//! is written beside the store, where it may be deleted: `.lap/dns/<name>.key`, in `tsig-keygen`'s words.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};

use super::{Keys, Secret, files, password::random, reading::damaged, ssh::is_label, store};
use crate::{
    Error, Kind, OrError, Result,
    dns::{KeyEntry, KeyFile},
};

/// Where in the store they are.
pub const DIRECTORY: &str = "dns";
/// The key lap itself uses: it may change and transfer everything.
pub const ADMIN: &str = "lap-admin";
/// The algorithms of RFC 8945 that a server must know and that nobody advises against, the default first.
pub const ALGORITHMS: [&str; 2] = ["hmac-sha256", "hmac-sha512"];
/// Fewer bytes can be guessed.
const SHORTEST: usize = 16;
/// Nobody writes more by hand, and no machine needs more.
const LARGEST_FILE: u64 = 16 << 10;

/// A key with its rights. Printing it shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct DnsKey(KeyEntry);

impl fmt::Debug for DnsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsKey({} {})", self.0.name, self.fingerprint())
    }
}

impl Drop for DnsKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0.secret);
    }
}

impl DnsKey {
    /// A new key of `name`, which may do nothing yet.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what cannot be a key's name or is not one of [`ALGORITHMS`].
    pub fn generate(name: &str, algorithm: &str) -> Result<Self> {
        let algorithm = known_algorithm(algorithm).map_err(|why| Error::new(Kind::Usage, why))?;
        let name = key_name(name).map_err(|why| Error::new(Kind::Usage, why))?;
        // As long as the hash's output (RFC 8945, section 6).
        let secret = match algorithm {
            "hmac-sha512" => STANDARD.encode(random::<64>()?),
            _ => STANDARD.encode(random::<32>()?),
        };
        let entry = KeyEntry { name, algorithm: algorithm.to_owned(), secret, ..empty() };
        Ok(Self(entry))
    }

    /// A key that `tsig-keygen` made: `key "dhcp" { algorithm hmac-sha256; secret "…"; };`
    ///
    /// # Errors
    /// [`Kind::Keys`] naming the file, without any of its content.
    pub fn from_file(file: &Path) -> Result<Self> {
        let what = || format!("cannot read `{}`", file.display());
        let size = std::fs::metadata(file).or_error(Kind::Keys, what)?.len();
        let text = if size > LARGEST_FILE {
            return Err(not_a_key(file, "it is too large"));
        } else {
            zeroize::Zeroizing::new(std::fs::read_to_string(file).or_error(Kind::Keys, what)?)
        };
        let (name, algorithm, secret) = parse(&text).ok_or_else(|| not_a_key(file, "it does not say one key"))?;
        let entry =
            KeyEntry { name: name.to_owned(), algorithm: algorithm.to_owned(), secret: secret.to_owned(), ..empty() };
        Self::checked(entry).map_err(|why| not_a_key(file, &why))
    }

    /// With these rights: names it may change, zones it may transfer, how long what it registers stays (seconds).
    #[must_use]
    pub fn with_rights(mut self, update: Vec<String>, transfer: bool, expire: Option<u32>) -> Self {
        (self.0.update, self.0.transfer, self.0.expire) = (update, transfer, expire);
        self
    }

    /// With another name.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what cannot be a key's name.
    pub fn named(mut self, name: &str) -> Result<Self> {
        self.0.name = key_name(name).map_err(|why| Error::new(Kind::Usage, why))?;
        Ok(self)
    }

    /// Its name on the wire, without a final dot.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// As [`KeyFile`] has it.
    pub fn entry(&self) -> &KeyEntry {
        &self.0
    }

    /// The secret's bytes.
    pub fn secret(&self) -> zeroize::Zeroizing<Vec<u8>> {
        // It was found to be base64 when it was made or read.
        zeroize::Zeroizing::new(STANDARD.decode(&self.0.secret).unwrap_or_default())
    }

    /// `SHA256:…`, for people to compare.
    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, format!("{} {} {}", self.0.name, self.0.algorithm, self.0.secret).as_bytes());
        format!("SHA256:{}", STANDARD.encode(hash.as_ref()).trim_end_matches('='))
    }

    /// As `tsig-keygen` writes it.
    pub fn bind(&self) -> Secret {
        let KeyEntry { name, algorithm, secret, .. } = &self.0;
        Secret::new(format!("key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{secret}\";\n}};\n"))
    }

    fn checked(mut entry: KeyEntry) -> std::result::Result<Self, String> {
        entry.name = key_name(&entry.name)?;
        entry.algorithm = known_algorithm(&entry.algorithm)?.to_owned();
        match STANDARD.decode(&entry.secret).map(zeroize::Zeroizing::new) {
            Err(_) => Err("its secret is not base64".into()),
            Ok(bytes) if bytes.len() < SHORTEST => Err(format!("its secret is shorter than {SHORTEST} bytes")),
            Ok(_) => Ok(Self(entry)),
        }
    }
}

fn empty() -> KeyEntry {
    let (name, algorithm, secret) = (String::new(), String::new(), String::new());
    KeyEntry { name, algorithm, secret, update: Vec::new(), transfer: false, expire: None }
}

/// A key's name: labels such as `dhcp` or `dhcp.internal`, lower case, without a final dot.
pub(super) fn key_name(text: &str) -> std::result::Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.len() <= 200 && name.split('.').all(is_label) {
        return Ok(name);
    }
    Err(format!("`{}` is not a key's name: write e.g. `dhcp` or `dhcp.internal`", text.escape_debug()))
}

fn known_algorithm(text: &str) -> std::result::Result<&'static str, String> {
    let lower = text.trim_end_matches('.').to_ascii_lowercase();
    ALGORITHMS.into_iter().find(|known| *known == lower).ok_or_else(|| {
        format!("`{}` is not an algorithm lap takes: write `{}`", text.escape_debug(), ALGORITHMS.join("` or `"))
    })
}

/// The one key in a file of `named.conf`'s syntax: name, algorithm, secret.
fn parse(text: &str) -> Option<(&str, &str, &str)> {
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    let lines = lines.filter(|line| !line.trim_start().starts_with('#'));
    // A quote is no part of a name or of base64, so it may stand for a gap.
    let gap = |c: char| c.is_whitespace() || matches!(c, '"' | ';');
    let mut words = lines.flat_map(|line| line.split_inclusive(['{', '}'])).flat_map(|piece| {
        let (piece, brace) = match piece.strip_suffix(['{', '}']) {
            Some(before) => (before, Some(&piece[before.len()..])),
            None => (piece, None),
        };
        piece.split(gap).filter(|word| !word.is_empty()).chain(brace)
    });
    if words.next()? != "key" {
        return None;
    }
    let name = words.next()?;
    if words.next()? != "{" {
        return None;
    }
    let (mut algorithm, mut secret) = (None, None);
    loop {
        match words.next()? {
            "algorithm" => algorithm = Some(words.next()?),
            "secret" => secret = Some(words.next()?),
            "}" => break,
            _ => return None,
        }
    }
    words.next().is_none().then_some((name, algorithm?, secret?))
}

fn not_a_key(file: &Path, why: &str) -> Error {
    Error::new(Kind::Keys, format!("`{}` is not a usable TSIG key: {why}", file.display()))
        .hint("`tsig-keygen -a hmac-sha256 NAME > FILE` makes one")
}

/// lap's own key for a lab with this zone.
pub(super) fn admin(zone: &str) -> Result<DnsKey> {
    Ok(DnsKey::generate(ADMIN, ALGORITHMS[0])?.with_rights(admin_update(zone), true, None))
}

/// All names of the zone, and the reverse zones.
fn admin_update(zone: &str) -> Vec<String> {
    vec![format!("*.{zone}"), "*.in-addr.arpa".to_owned()]
}

/// Writes a key that is not there yet into the store in `dir`, whose lock the caller holds; gives its file's name.
pub(super) fn write_new(dir: &Path, key: &DnsKey) -> Result<String> {
    let name = format!("{DIRECTORY}/{}.json", key.name());
    let json = serde_json::to_string_pretty(&key.0).or_error(Kind::Other, || "cannot write a key".into())?;
    let json = Secret::new(json + "\n");
    files::private_dir(&dir.join(DIRECTORY))?;
    files::write_new(&dir.join(&name), json.expose().as_bytes(), 0o600)?;
    Ok(name)
}

/// Every key of the store in `dir`, by name.
pub(super) fn read_all(dir: &Path) -> Result<Vec<DnsKey>> {
    let dir = dir.join(DIRECTORY);
    let mut keys = Vec::new();
    for file in files::list(&dir)? {
        let path = dir.join(&file);
        let Some(content) = files::read_private(&path)? else { continue };
        // The parser's own message could quote the key.
        let entry = serde_json::from_slice(&content).map_err(|_| damaged(&path, "it is not a key in JSON"))?;
        let key = DnsKey::checked(entry).map_err(|why| damaged(&path, &why))?;
        if file.to_str() != Some(&format!("{}.json", key.name())) {
            return Err(damaged(&path, "it has another name than its file"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Adds a key to the store of the workspace at `root`.
///
/// # Errors
/// [`Kind::Refused`] when there is one of that name; [`Kind::Host`] when the disk refuses.
pub fn add(root: &Path, key: &DnsKey) -> Result<()> {
    let _lock = store::lock(root)?;
    write_new(&store::keys_dir(root), key).map(drop).map_err(|error| match error.kind {
        Kind::Refused => Error::new(Kind::Refused, format!("there is a key `{}` already", key.name()))
            .hint(format!("`lap dns key rm {}` takes it away first", key.name())),
        _ => error,
    })
}

/// Removes a key, and its file for other programs.
///
/// # Errors
/// [`Kind::Refused`] for lap's own; [`Kind::Usage`] when there is none of that name; [`Kind::Host`] when the disk refuses.
pub fn remove(root: &Path, name: &str) -> Result<()> {
    let name = key_name(name).map_err(|why| Error::new(Kind::Usage, why))?;
    if name == ADMIN {
        return Err(Error::new(Kind::Refused, format!("`{ADMIN}` is lap's own key: `lap dns` needs it")));
    }
    let _lock = store::lock(root)?;
    let path = store::keys_dir(root).join(DIRECTORY).join(format!("{name}.json"));
    let what = || format!("cannot remove `{}`", path.display());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let error = Error::new(Kind::Usage, format!("there is no key `{name}`"));
            return Err(error.hint("`lap dns key list` shows those that are"));
        }
        removed => removed.or_error(Kind::Host, what)?,
    }
    files::sync_parent(&path)?;
    let bind = file(root, &name);
    match std::fs::remove_file(&bind) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).or_error(Kind::Host, || format!("cannot remove `{}`", bind.display()))
        }
        _ => Ok(()),
    }
}

/// Where a key lies for other programs: `.lap/dns/<name>.key`.
pub fn file(root: &Path, name: &str) -> PathBuf {
    store::lap_dir(root).join(DIRECTORY).join(format!("{name}.key"))
}

/// Writes the file for other programs (0600) unless it is there as it should be.
///
/// # Errors
/// [`Kind::Host`] when the disk refuses.
pub fn write_file(root: &Path, key: &DnsKey) -> Result<PathBuf> {
    let path = file(root, key.name());
    let text = key.bind();
    if !matches!(files::read_private(&path), Ok(Some(old)) if *old == text.expose().as_bytes()) {
        files::private_dir(path.parent().unwrap_or(root))?;
        files::replace(&path, text.expose().as_bytes(), 0o600)?;
    }
    Ok(path)
}

impl Keys {
    /// What the DNS server of a lab with this zone is given.
    pub fn dns_file(&self, zone: &str) -> KeyFile {
        let mut keys: Vec<KeyEntry> = self.dns().iter().map(|key| key.entry().clone()).collect();
        // The zone may have changed since the key was made, and lap's own key follows it.
        keys.iter_mut().filter(|key| key.name == ADMIN).for_each(|key| key.update = admin_update(zone));
        KeyFile { keys }
    }

    /// lap's own key: the one there is, or, in a store that was made before there were any, a new one.
    ///
    /// # Errors
    /// [`Kind::Host`] when the disk refuses.
    pub fn dns_admin(&self, zone: &str) -> Result<DnsKey> {
        if let Some(key) = self.dns().iter().find(|key| key.name() == ADMIN) {
            return Ok(key.clone());
        }
        let dir = self.directory();
        let _lock = files::lock(dir.parent().unwrap_or(dir))?;
        if let Some(key) = read_all(dir)?.into_iter().find(|key| key.name() == ADMIN) {
            return Ok(key);
        }
        let key = admin(zone)?;
        write_new(dir, &key)?;
        Ok(key)
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
