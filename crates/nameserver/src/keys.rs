//! The file of TSIG keys that the server is given, and what each may do.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// The algorithms of RFC 8945 that a server must support and that no document advises against; the first is the default.
pub const ALGORITHMS: [&str; 2] = ["hmac-sha256", "hmac-sha512"];

/// `keys.json`: 0600, replaced by renaming, taken over at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    pub keys: Vec<KeyEntry>,
}

/// One key (RFC 8945) and its rights.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// A domain name, as in `tsig-keygen NAME`; final dot optional.
    pub name: String,
    /// One of [`ALGORITHMS`].
    pub algorithm: String,
    /// Base64.
    pub secret: String,
    /// Names it may change: `anna.pc.internal` is that name, `*.pc.internal` every name below.
    #[serde(default)]
    pub update: Vec<String>,
    /// It may transfer the zones.
    #[serde(default)]
    pub transfer: bool,
    /// Seconds after which what it registered disappears unless it is registered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire: Option<u32>,
}

impl KeyEntry {
    /// The secret's bytes; none if it is not base64.
    pub fn secret_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(STANDARD.decode(&self.secret).unwrap_or_default())
    }
}

impl fmt::Debug for KeyEntry {
    /// Everything but the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, algorithm, secret: _, update, transfer, expire } = self;
        let mut shown = f.debug_struct("KeyEntry");
        shown.field("name", name).field("algorithm", algorithm).field("update", update);
        shown.field("transfer", transfer).field("expire", expire).finish_non_exhaustive()
    }
}
