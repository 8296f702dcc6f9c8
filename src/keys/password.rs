//! Random passwords, and the files that services and clients want them in.

use base64::{Engine, engine::general_purpose::STANDARD};
use lap_base::{Error, Kind, OrError, Result, random::random, secret::Secret};
use ring::{
    digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256},
    hmac,
};

use super::ssh::is_host;

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 32;

/// 32 letters and digits (190 bits): nothing that a shell, a URL or a netrc file would need quoted.
pub(super) fn generate() -> Result<Secret> {
    let mut password = String::with_capacity(LENGTH);
    while password.len() < LENGTH {
        // Bytes from 248 on would favour the first letters: they are thrown away.
        let usable = random::<64>()?.into_iter().filter(|b| *b < 248);
        password.extend(usable.take(LENGTH - password.len()).map(|b| char::from(ALPHABET[usize::from(b) % 62])));
    }
    Ok(Secret::new(password))
}

/// The purpose of a password that is derived from the lab's.
#[derive(Clone, Copy)]
pub(super) enum Of {
    /// Opens the environment's off-machine repositories.
    Repository,
    /// Writes to the environment's registry.
    Registry,
}

/// A password of an environment, derived from the lab's: two people who make it get the same one, so that their stores still go together.
/// It reveals neither the lab's password, nor one of another environment or purpose.
pub(super) fn of_environment(lab: &Secret, of: Of, environment: &str) -> Secret {
    let of = match of {
        Of::Repository => "repository",
        Of::Registry => "registry",
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, lab.expose().trim().as_bytes());
    let mut password = String::with_capacity(LENGTH);
    for block in 0_u32.. {
        let tag = hmac::sign(&key, format!("lap {of} {environment} {block}").as_bytes());
        let usable = tag.as_ref().iter().filter(|byte| **byte < 248);
        let letters = usable.take(LENGTH - password.len()).map(|byte| char::from(ALPHABET[usize::from(*byte) % 62]));
        password.extend(letters);
        if password.len() == LENGTH {
            break;
        }
    }
    Secret::new(password)
}

/// One line for nginx: `lap:{SSHA}…`. The salt comes from the password, so that the same password always gives the
/// same file and a container whose password did not change is not replaced; what a salt is for (one table against
/// many passwords) does not apply to a password of 190 random bits.
pub(super) fn htpasswd(password: &Secret) -> Secret {
    let salt = digest::digest(&SHA256, format!("lap htpasswd {}", password.expose()).as_bytes());
    let salt = &salt.as_ref()[..8];
    let mut hash = digest::Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(password.expose().as_bytes());
    hash.update(salt);
    let hash = [hash.finish().as_ref(), salt].concat();
    Secret::new(format!("{UPLOAD_USER}:{{SSHA}}{}\n", STANDARD.encode(hash)))
}

/// The lowest cost of bcrypt. A cost protects passwords that people choose: this one has 190 random bits, and the registry computes the
/// hash for each request of a push.
const COST: u32 = 4;

/// One line for the registry, which reads bcrypt only. The salt comes from the password, as in [`htpasswd`].
///
/// # Errors
/// [`Kind::Keys`] for a password that is too long for bcrypt.
pub(super) fn bcrypt(password: &Secret) -> Result<Secret> {
    let digest = digest::digest(&SHA256, format!("lap bcrypt {}", password.expose()).as_bytes());
    let mut salt = [0; 16];
    salt.copy_from_slice(&digest.as_ref()[..16]);
    let hash = ::bcrypt::non_truncating_hash_with_salt(password.expose(), COST, salt);
    let hash = hash.or_error(Kind::Keys, || "the password of the registry has more than 71 characters".into())?;
    Ok(Secret::new(format!("{UPLOAD_USER}:{hash}\n")))
}

/// A netrc file for curl and maven: one line per machine (a name or an address, no port).
///
/// # Errors
/// [`Kind::Usage`] for what is neither a name nor an address.
pub(super) fn netrc(password: &Secret, machines: &[String]) -> Result<Secret> {
    let mut lines = String::new();
    for machine in machines {
        if !is_host(machine) {
            return Err(Error::new(Kind::Usage, format!("`{machine}` is neither a name nor an address")));
        }
        lines += &format!("machine {machine} login {UPLOAD_USER} password {}\n", password.expose());
    }
    Ok(Secret::new(lines))
}

/// The user of uploads to artifact, maven and the registry.
pub const UPLOAD_USER: &str = "lap";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_plain_and_different() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, two);
        assert!(one.expose().len() == 32 && one.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn each_environments_follows_from_the_labs() {
        let lab = Secret::new("correct horse battery staple".into());
        let test = of_environment(&lab, Of::Repository, "test");
        assert_eq!(test, of_environment(&Secret::new("correct horse battery staple\n".into()), Of::Repository, "test"));
        assert!(test.expose().len() == 32 && test.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(test, of_environment(&lab, Of::Repository, "prod"));
        assert_ne!(test, of_environment(&lab, Of::Registry, "test"));
        assert_ne!(test, of_environment(&Secret::new("another horse".into()), Of::Repository, "test"));
    }

    #[test]
    fn htpasswd_is_stable_and_right() {
        let password = Secret::new("correct horse".into());
        let line = htpasswd(&password);
        assert_eq!(line, htpasswd(&password));
        let raw = STANDARD.decode(line.expose().trim().strip_prefix("lap:{SSHA}").unwrap()).unwrap();
        let (hash, salt) = raw.split_at(20);
        let expected = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &[b"correct horse", salt].concat());
        assert_eq!((hash, salt.len()), (expected.as_ref(), 8));
    }

    #[test]
    fn bcrypt_is_stable_and_right() {
        let password = Secret::new("correct horse battery".into());
        let line = bcrypt(&password).unwrap();
        assert_eq!(line, bcrypt(&password).unwrap());
        let hash = line.expose().trim().strip_prefix("lap:").unwrap();
        assert!(::bcrypt::verify("correct horse battery", hash).unwrap());
        assert!(!::bcrypt::verify("correct horse batterz", hash).unwrap());
        assert_ne!(line, bcrypt(&Secret::new("another horse battery".into())).unwrap());
        assert_eq!(bcrypt(&Secret::new("x".repeat(72))).unwrap_err().kind, Kind::Keys);
    }

    #[test]
    fn netrc_takes_no_injected_machine() {
        let password = Secret::new("pw".into());
        let lines = netrc(&password, &["artifact.internal".into(), "192.168.0.10".into()]).unwrap();
        assert_eq!(
            lines.expose(),
            "machine artifact.internal login lap password pw\nmachine 192.168.0.10 login lap password pw\n"
        );
        assert!(netrc(&password, &["a\ndefault".into()]).is_err());
    }
}
