//! The server's keys and the rights of each key.

use std::{collections::HashMap, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use lap_base::{Error, Kind, OrError, Result};
use ring::hmac;

use super::wire::{self, Name};
use crate::keys::{KeyEntry, KeyFile};

/// One key. `Debug` does not show its secret.
#[derive(Debug)]
pub struct TsigKey {
    /// The key's name and the algorithm's name, in wire format and lower case.
    pub name: Box<[u8]>,
    pub algorithm: Box<[u8]>,
    pub secret: hmac::Key,
    /// Whether the key may transfer the zones.
    pub transfer: bool,
    /// The lease in seconds of the names that the key registers. `None` means no lease.
    pub expire: Option<u32>,
    update: Vec<Pattern>,
}

/// A right to change names.
#[derive(Debug)]
enum Pattern {
    /// This name only.
    Name(Box<[u8]>),
    /// Every name below this one.
    Below(Box<[u8]>),
}

impl TsigKey {
    fn new(entry: &KeyEntry) -> std::result::Result<Self, String> {
        let KeyEntry { name, algorithm, secret, update, transfer, expire } = entry;
        let of = match algorithm.trim_end_matches('.').to_ascii_lowercase().as_str() {
            "hmac-sha256" => hmac::HMAC_SHA256,
            "hmac-sha512" => hmac::HMAC_SHA512,
            _ => return Err(format!("key `{name}`: `{algorithm}` is neither hmac-sha256 nor hmac-sha512")),
        };
        let secret = STANDARD.decode(secret.trim()).map_err(|_| format!("key `{name}`: its secret is not base64"))?;
        if secret.len() < 16 {
            return Err(format!("key `{name}`: its secret has {} bytes, 16 are the minimum", secret.len()));
        }
        let pattern = |text: &String| {
            let name = wire::name(text)?;
            Ok(match name.strip_prefix(b"\x01*") {
                Some(below) => Pattern::Below(below.into()),
                None => Pattern::Name(name),
            })
        };
        let update: std::result::Result<_, String> = update.iter().map(pattern).collect();
        Ok(Self {
            name: wire::name(name)?,
            algorithm: wire::name(algorithm)?,
            secret: hmac::Key::new(of, &secret),
            transfer: *transfer,
            expire: *expire,
            update: update.map_err(|e| format!("key `{}`: {e}", entry.name))?,
        })
    }

    /// Returns the length of the key's signatures in bytes.
    pub fn length(&self) -> usize {
        self.secret.algorithm().digest_algorithm().output_len()
    }

    /// Returns whether the key may change `name`, which is in wire format and lower case.
    pub fn may_change(&self, name: &[u8]) -> bool {
        self.update.iter().any(|pattern| match pattern {
            Pattern::Name(only) => **only == *name,
            Pattern::Below(above) => super::zones::suffixes(name).skip(1).any(|s| *s == **above),
        })
    }
}

/// All keys, by name.
#[derive(Debug, Default)]
pub struct Keyring(HashMap<Box<[u8]>, Arc<TsigKey>>);

impl Keyring {
    /// Reads the file of keys. The error names the file, and never contains a secret.
    pub fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let text = std::fs::read(file).or_error(Kind::Config, || format!("cannot read `{shown}`"))?;
        // The parser's own message could quote a secret.
        let file: KeyFile = serde_json::from_slice(&text)
            .map_err(|e| Error::new(Kind::Config, format!("`{shown}` is not a list of keys (line {})", e.line())))?;
        Self::new(&file).map_err(|why| Error::new(Kind::Config, format!("`{shown}`: {why}")))
    }

    /// Checks the keys and makes the keyring.
    pub fn new(file: &KeyFile) -> std::result::Result<Self, String> {
        let mut keys = HashMap::new();
        for entry in &file.keys {
            let key = TsigKey::new(entry)?;
            if keys.insert(key.name.clone(), Arc::new(key)).is_some() {
                return Err(format!("key `{}` is listed twice", entry.name));
            }
        }
        Ok(Self(keys))
    }

    /// Returns the key of this name.
    pub fn get(&self, name: &Name) -> Option<&Arc<TsigKey>> {
        self.0.get(&**name)
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
