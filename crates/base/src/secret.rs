//! Strings that must not be shown.

use std::fmt;

use zeroize::Zeroizing;

/// A secret. Its memory is wiped when it is dropped, and `{:?}` does not print it. It has no `Display` on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Makes a secret from `secret`. The caller must not keep a copy.
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// Returns the secret, for the code that sends or writes it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Serializes a [`Secret`] in a field of a request: `#[serde(with = "exposed")]`. `Secret` has no `Serialize` on
/// purpose, so each such field is visible in the source.
pub mod exposed {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Secret;

    /// Writes the secret as a string.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    /// Reads the secret from a string.
    ///
    /// # Errors
    /// The deserializer fails, or the value is not a string.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_does_not_show_the_secret() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2hunter2".into()))), "Some(Secret(…))");
    }
}
