//! Names in a registry. They become parts of addresses, so nothing is taken that could mean something else there.

use std::{fmt, str::FromStr};

use lap_base::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The digest of a manifest or a blob: `sha256:<64 hex digits>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }

    /// Its hexadecimal digits.
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or_default()
    }

    /// For people: the first twelve digits.
    pub fn short(&self) -> &str {
        self.hex().get(..12).unwrap_or_default()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        match text.strip_prefix("sha256:") {
            Some(digits) if digits.len() == 64 && digits.bytes().all(hex) => Ok(Self(text.to_owned())),
            _ => Err(Error::new(Kind::Usage, format!("`{text}` is not a digest: `sha256:` and 64 hexadecimal digits"))),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// A repository's name: parts of lower case letters, digits and `.`, `_`, `-` between them, with `/` between the parts.
///
/// # Errors
/// It is not one.
pub fn repository(text: &str) -> Result<&str> {
    let part = |part: &str| {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.bytes().all(|c| plain(c) || matches!(c, b'.' | b'_' | b'-'))
            && part.bytes().next().is_some_and(plain)
            && part.bytes().last().is_some_and(plain)
            && !part.contains("..")
    };
    if text.len() <= 255 && text.split('/').all(part) {
        return Ok(text);
    }
    Err(Error::new(Kind::Usage, format!("`{text}` is not a repository's name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_refused() {
        for good in ["infra/0e07e0164f9c/git", "a", "a-b_c.d/e0"] {
            assert_eq!(repository(good).unwrap(), good);
        }
        let long = "a".repeat(256);
        for bad in ["", "/a", "a/", "a//b", "A", "a b", "a/../b", "a?x", "a%2f", "-a", "a.", "..", &long] {
            assert_eq!(repository(bad).unwrap_err().kind, Kind::Usage, "{bad}");
        }
    }

    #[test]
    fn digests() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap().short(), "e3b0c44298fc");
        for bad in ["", "sha256:", "e3b0", &empty.to_uppercase(), &empty[..70], &format!("{empty}0"), "sha512:00"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&Digest::of(b"")).unwrap(), format!("\"{empty}\""));
        assert!(serde_json::from_str::<Digest>("\"../etc\"").is_err());
    }
}
