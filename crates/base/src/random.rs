//! Random bytes from the kernel's generator for cryptography (getrandom(2)).

use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Kind, OrError, Result};

/// Returns `N` random bytes.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).or_error(Kind::Host, || "cannot get random bytes".into())?;
    Ok(bytes)
}
