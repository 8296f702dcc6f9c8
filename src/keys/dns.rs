//! TSIG keys (RFC 8945) of the DNS servers: who may change which names, and who may transfer the zones.
//!
//! Each is a file of the store, `dns/<name>.json`: one [`KeyEntry`], and the environment whose server alone is given it: who
//! reads a server's keys, or its traffic, can change nothing elsewhere. What `nsupdate -k`, BIND, Knot and dhcpd read instead
//! is written beside the store, where it may be deleted: `.lap/dns/<name>.key`, in `tsig-keygen`'s words.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use lap_base::{Error, Kind, OrError, Result, label::is_label, random::random, secret::Secret};
use lap_nameserver::keys::KeyEntry;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{directory, files, reading::damaged};
pub use lap_nameserver::keys::ALGORITHMS;

/// Where in the store they are.
pub const DIRECTORY: &str = "dns";
/// What the keys that lap itself uses begin with, see [`admin_name`]; alone, the one key for all environments of earlier
/// stores, which is given to no server any more.
const ADMIN: &str = "lap-admin";
/// Where that one was.
const RETIRED: &str = "dns/lap-admin.json";
/// Fewer bytes can be guessed.
const SHORTEST: usize = 16;
/// Nobody writes more by hand, and no machine needs more.
const LARGEST_FILE: u64 = 16 << 10;

/// A key with its rights. Printing it shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct DnsKey {
    entry: KeyEntry,
    /// Whose server is given it; `None`: the default environment's (files of earlier versions).
    environment: Option<String>,
}

/// What a key's file says beside the [`KeyEntry`].
#[derive(Deserialize)]
struct Belongs {
    #[serde(default)]
    environment: Option<String>,
}

#[derive(Serialize)]
struct Stored<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    #[serde(flatten)]
    entry: &'a KeyEntry,
}

impl fmt::Debug for DnsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsKey({} {})", self.entry.name, self.fingerprint())
    }
}

impl Drop for DnsKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.entry.secret);
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
        Ok(Self { entry, environment: None })
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
        let (name, algorithm, secret) =
            parse(&text).ok_or_else(|| not_a_key(file, "it does not contain exactly one key"))?;
        let entry =
            KeyEntry { name: name.to_owned(), algorithm: algorithm.to_owned(), secret: secret.to_owned(), ..empty() };
        Self::checked(entry).map_err(|why| not_a_key(file, &why))
    }

    /// With these rights: names it may change, zones it may transfer, how long what it registers stays (seconds).
    #[must_use]
    pub fn with_rights(mut self, update: Vec<String>, transfer: bool, expire: Option<u32>) -> Self {
        (self.entry.update, self.entry.transfer, self.entry.expire) = (update, transfer, expire);
        self
    }

    /// Of this environment.
    #[must_use]
    pub fn of(mut self, environment: &str) -> Self {
        self.environment = Some(environment.to_owned());
        self
    }

    /// With another name.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what cannot be a key's name.
    pub fn named(mut self, name: &str) -> Result<Self> {
        self.entry.name = key_name(name).map_err(|why| Error::new(Kind::Usage, why))?;
        Ok(self)
    }

    /// Its name on the wire, without a final dot.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// As [`lap_nameserver::keys::KeyFile`] has it.
    pub fn entry(&self) -> &KeyEntry {
        &self.entry
    }

    /// The same in a lab with this zone: it may have changed since the key was made, and lap's own keys follow it.
    pub fn entry_in(&self, zone: &str) -> KeyEntry {
        let mut entry = self.entry.clone();
        if is_own(&entry.name) {
            entry.update = admin_update(zone);
        }
        entry
    }

    /// Whose server is given it; `None`: the default environment's.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// The secret's bytes.
    pub fn secret(&self) -> zeroize::Zeroizing<Vec<u8>> {
        // It was found to be base64 when it was made or read.
        self.entry.secret_bytes()
    }

    /// `SHA256:…`, for people to compare.
    pub fn fingerprint(&self) -> String {
        let hash =
            digest(&SHA256, format!("{} {} {}", self.entry.name, self.entry.algorithm, self.entry.secret).as_bytes());
        format!("SHA256:{}", STANDARD.encode(hash.as_ref()).trim_end_matches('='))
    }

    /// As `tsig-keygen` writes it.
    pub fn bind(&self) -> Secret {
        let KeyEntry { name, algorithm, secret, .. } = &self.entry;
        Secret::new(format!("key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{secret}\";\n}};\n"))
    }

    fn checked(mut entry: KeyEntry) -> std::result::Result<Self, String> {
        entry.name = key_name(&entry.name)?;
        entry.algorithm = known_algorithm(&entry.algorithm)?.to_owned();
        match STANDARD.decode(&entry.secret).map(zeroize::Zeroizing::new) {
            Err(_) => Err("its secret is not base64".into()),
            Ok(bytes) if bytes.len() < SHORTEST => Err(format!("its secret is shorter than {SHORTEST} bytes")),
            Ok(_) => Ok(Self { entry, environment: None }),
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
        format!(
            "`{}` is not an algorithm that lap supports: write `{}`",
            text.escape_debug(),
            ALGORITHMS.join("` or `")
        )
    })
}

/// The one key in a file of `named.conf`'s syntax: name, algorithm, secret.
fn parse(text: &str) -> Option<(&str, &str, &str)> {
    let mut words = text.lines().flat_map(words);
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

/// The words and braces of a line. A comment begins outside quotes only: `//` may be a part of a secret's base64.
fn words(line: &str) -> Vec<&str> {
    let mut out = Vec::new();
    // Every second piece is in quotes.
    for (n, piece) in line.split('"').enumerate() {
        if n % 2 == 1 {
            out.push(piece);
            continue;
        }
        let code = [piece.find("//"), piece.find('#')].into_iter().flatten().min().unwrap_or(piece.len());
        for word in piece[..code].split(|c: char| c.is_whitespace() || c == ';').filter(|word| !word.is_empty()) {
            let brace = |c: char| matches!(c, '{' | '}');
            let parts = word.split_inclusive(brace).flat_map(|part| {
                let bare = part.trim_end_matches(brace);
                [bare, &part[bare.len()..]]
            });
            out.extend(parts.filter(|part| !part.is_empty()));
        }
        if code < piece.len() {
            break;
        }
    }
    out
}

fn not_a_key(file: &Path, why: &str) -> Error {
    Error::new(Kind::Keys, format!("`{}` is not a usable TSIG key: {why}", file.display()))
        .hint("`tsig-keygen -a hmac-sha256 NAME > FILE` makes one")
}

/// What lap's own key for an environment's server is called.
pub fn admin_name(environment: &str) -> String {
    match format!("{ADMIN}-{environment}") {
        name if is_label(&name) => name,
        // A label has at most 63 characters, and the environment's name may have as many.
        _ => format!("{ADMIN}.{environment}"),
    }
}

/// Whether a key called so is, or would be, lap's own.
pub fn is_own(name: &str) -> bool {
    name.strip_prefix(ADMIN).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
}

/// A new key of lap's own for an environment of a lab with this zone.
pub(super) fn admin(environment: &str, zone: &str) -> Result<DnsKey> {
    let key = DnsKey::generate(&admin_name(environment), ALGORITHMS[0])?;
    Ok(key.with_rights(admin_update(zone), true, None).of(environment))
}

/// Whether this file of a store is the key that all environments once shared: nobody needs it, and who has it should not.
pub(super) fn is_retired(path: &Path) -> bool {
    path == Path::new(RETIRED)
}

/// Removes that key from the store in `dir`, whose lock the caller holds, and its file for other programs.
pub(super) fn retire(dir: &Path) -> Result<()> {
    let bind = dir.parent().unwrap_or(dir).join(DIRECTORY).join(format!("{ADMIN}.key"));
    for path in [dir.join(RETIRED), bind] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.or_error(Kind::Host, || format!("cannot remove `{}`", path.display()))?,
        }
    }
    Ok(())
}

/// All names of the zone, and the reverse zones.
fn admin_update(zone: &str) -> Vec<String> {
    vec![format!("*.{zone}"), "*.in-addr.arpa".to_owned()]
}

/// Writes a key that is not there yet into the store in `dir`, whose lock the caller holds; gives its file's name.
pub(super) fn write_new(dir: &Path, key: &DnsKey) -> Result<String> {
    let name = format!("{DIRECTORY}/{}.json", key.name());
    let json = serde_json::to_string_pretty(&Stored { environment: key.environment(), entry: &key.entry })
        .or_error(Kind::Other, || "cannot write a key".into())?;
    let json = Secret::new(json + "\n");
    files::private_dir(&dir.join(DIRECTORY))?;
    files::write_new(&dir.join(&name), json.expose().as_bytes(), 0o600)?;
    Ok(name)
}

/// Every key of the store in `dir`, by name, without the one that all environments once shared.
pub(super) fn read_all(dir: &Path) -> Result<Vec<DnsKey>> {
    let dir = dir.join(DIRECTORY);
    let mut keys = Vec::new();
    for file in files::list(&dir)? {
        if is_retired(&Path::new(DIRECTORY).join(&file)) {
            continue;
        }
        let path = dir.join(&file);
        let Some(content) = files::read_private(&path)? else { continue };
        // The parser's own message could quote the key.
        let broken = |_| damaged(&path, "it is not a key in JSON");
        let Belongs { environment } = serde_json::from_slice(&content).map_err(broken)?;
        let mut key =
            DnsKey::checked(serde_json::from_slice(&content).map_err(broken)?).map_err(|why| damaged(&path, &why))?;
        if environment.as_deref().is_some_and(|name| !is_label(name)) {
            return Err(damaged(&path, "its environment is not a valid name"));
        }
        // Whoever else has a key called so must not get lap's rights with it.
        if is_own(key.name()) && environment.as_deref().map(admin_name).as_deref() != Some(key.name()) {
            return Err(damaged(&path, "it has the name of lap's own key, and does not belong to that environment"));
        }
        key.environment = environment;
        if file.to_str() != Some(&format!("{}.json", key.name())) {
            return Err(damaged(&path, "its name differs from its file name"));
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
    let _lock = directory::lock(root)?;
    write_new(&directory::keys_dir(root), key).map(drop).map_err(|error| match error.kind {
        Kind::Refused => Error::new(Kind::Refused, format!("there is a key `{}` already", key.name()))
            .hint(format!("remove it first with `lap dns key rm {}`", key.name())),
        _ => error,
    })
}

/// Removes a key, and its file for other programs; gives the environment it was of, `None` for one of an earlier version,
/// which any server may have.
///
/// # Errors
/// [`Kind::Refused`] for lap's own; [`Kind::Usage`] when there is none of that name; [`Kind::Host`] when the disk refuses.
pub fn remove(root: &Path, name: &str) -> Result<Option<String>> {
    let name = key_name(name).map_err(|why| Error::new(Kind::Usage, why))?;
    if is_own(&name) {
        return Err(Error::new(Kind::Refused, format!("`{name}` is lap's own key: `lap dns` needs it")));
    }
    let _lock = directory::lock(root)?;
    let path = directory::keys_dir(root).join(DIRECTORY).join(format!("{name}.json"));
    let what = || format!("cannot remove `{}`", path.display());
    let content = files::read_private(&path)?;
    let belongs = content.and_then(|content| serde_json::from_slice::<Belongs>(&content).ok());
    let environment = belongs.and_then(|belongs| belongs.environment);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let error = Error::new(Kind::Usage, format!("there is no key `{name}`"));
            return Err(error.hint("`lap dns key list` shows the existing ones"));
        }
        removed => removed.or_error(Kind::Host, what)?,
    }
    files::sync_parent(&path)?;
    let bind = file(root, &name);
    match std::fs::remove_file(&bind) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).or_error(Kind::Host, || format!("cannot remove `{}`", bind.display()))
        }
        _ => Ok(environment),
    }
}

/// Where a key lies for other programs: `.lap/dns/<name>.key`.
pub fn file(root: &Path, name: &str) -> PathBuf {
    directory::lap_dir(root).join(DIRECTORY).join(format!("{name}.key"))
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

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
