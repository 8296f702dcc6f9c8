//! The file with the server's TSIG keys and the rights of each key.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// The algorithms of RFC 8945 that every server must support and that no RFC advises against. The first one is the
/// default.
pub const ALGORITHMS: [&str; 2] = ["hmac-sha256", "hmac-sha512"];

/// The content of `keys.json`. The file has mode 0600. A new version replaces it by a rename, and the server then reads
/// it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    pub keys: Vec<KeyEntry>,
}

/// One TSIG key (RFC 8945) and its rights.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// The key's name, a domain name as in `tsig-keygen NAME`. The final dot is optional.
    pub name: String,
    /// One of [`ALGORITHMS`].
    pub algorithm: String,
    /// The secret in base64.
    pub secret: String,
    /// The names that the key may change: `anna.pc.internal` is this name, `*.pc.internal` is every name below
    /// `pc.internal`.
    #[serde(default)]
    pub update: Vec<String>,
    /// Whether the key may transfer the zones.
    #[serde(default)]
    pub transfer: bool,
    /// The lease in seconds: a name that the key registered disappears after it, unless the key registers the name
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire: Option<u32>,
}

impl KeyEntry {
    /// Returns the decoded secret. It is empty if the secret is not valid base64.
    pub fn secret_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(STANDARD.decode(&self.secret).unwrap_or_default())
    }
}

impl fmt::Debug for KeyEntry {
    /// Shows every field except the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, algorithm, secret: _, update, transfer, expire } = self;
        let mut shown = f.debug_struct("KeyEntry");
        shown.field("name", name).field("algorithm", algorithm).field("update", update);
        shown.field("transfer", transfer).field("expire", expire).finish_non_exhaustive()
    }
}
