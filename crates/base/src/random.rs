//! Bytes that nobody can guess, from the kernel.

use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Kind, OrError, Result};

/// So many of them.
///
/// # Errors
/// This machine has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).or_error(Kind::Host, || "cannot get random bytes".into())?;
    Ok(bytes)
}
