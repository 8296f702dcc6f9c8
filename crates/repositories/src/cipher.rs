//! restic's encryption, for the files that rustic_core does not write: a nonce, then AES-256-CTR with Poly1305-AES.

use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, aead::Aead};
use lap_base::{
    error::{Error, Kind, Result},
    random::random,
};

/// The size in bytes of the random nonce at the start of an encrypted file.
const NONCE: usize = 16;

/// Encrypts and decrypts with one key.
pub struct Cipher(Aes256CtrPoly1305Aes);

impl Cipher {
    /// Makes a cipher from the three parts of a restic key: `encrypt`, `k` and `r`.
    ///
    /// # Errors
    /// A part has the wrong length.
    pub fn new(encrypt: &[u8], k: &[u8], r: &[u8]) -> Result<Self> {
        let key: [u8; 64] = [encrypt, k, r]
            .concat()
            .try_into()
            .map_err(|_| Error::new(Kind::Other, "the repository's key is not valid"))?;
        Ok(Self(Aes256CtrPoly1305Aes::new(&Key::from(key))))
    }

    /// Encrypts `plain`.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let what = || Error::new(Kind::Other, "cannot encrypt a file of the repository");
        let nonce = random::<NONCE>()?;
        let sealed = self.0.encrypt(&nonce.into(), plain).map_err(|_| what())?;
        Ok(nonce.into_iter().chain(sealed).collect())
    }

    /// Decrypts `bytes`. Returns `None` if they are damaged, or were encrypted with another key.
    pub fn open(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = bytes.split_first_chunk::<NONCE>()?;
        self.0.decrypt(nonce.into(), rest).ok()
    }
}
