//! What a passphrase alone gives back. Beside the store lies an age identity that only the passphrase opens
//! (`recovery.json`); for that identity the keys are sealed whenever they change, without anybody typing anything. When lap is
//! gone: `age -d -i identity.age keys.age | tar x`.

use std::{io::Write, path::Path};

use age::secrecy::ExposeSecret;
use lap_base::{Error, Kind, OrError, Result, secret::Secret};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    directory::{keys_dir, lock},
    files,
    passphrase::Passphrase,
    store::Keys,
    transfer::{self, Imported},
};

/// In the key store.
const FILE: &str = "recovery.json";

#[derive(Serialize, Deserialize)]
struct Recovery {
    /// The public half.
    recipient: String,
    /// The private half, as an age file under the passphrase.
    identity: String,
}

/// The keys, for whoever has the passphrase.
pub struct Sealed {
    /// An identity file of age, encrypted under the passphrase.
    pub identity: Vec<u8>,
    /// The store, encrypted for it.
    pub keys: Vec<u8>,
    /// Changes when the keys do.
    pub digest: String,
}

/// Makes this the passphrase of the keys of the workspace at `root`.
///
/// # Errors
/// [`Kind::Keys`] as [`Keys::open`]; [`Kind::Host`] when the disk refuses.
pub fn set_passphrase(root: &Path, passphrase: &Passphrase) -> Result<()> {
    Keys::open(root)?;
    let _lock = lock(root)?;
    let identity = age::x25519::Identity::generate();
    let secret = identity.to_string();
    let text = Secret::new(format!("{}\n", secret.expose_secret()));
    let cipher = transfer::encrypt(text.expose().as_bytes(), passphrase)?;
    let recovery = Recovery {
        recipient: identity.to_public().to_string(),
        identity: base64::Engine::encode(&base64::engine::general_purpose::STANDARD, cipher),
    };
    let json = serde_json::to_vec_pretty(&recovery).or_error(Kind::Other, || FILE.into())?;
    files::replace(&keys_dir(root).join(FILE), &json, 0o600)
}

/// Whether there is a passphrase.
pub fn has_passphrase(root: &Path) -> bool {
    keys_dir(root).join(FILE).exists()
}

/// Checks that this is the passphrase.
///
/// # Errors
/// [`Kind::Keys`]: it is another one.
pub fn check_passphrase(root: &Path, passphrase: &Passphrase) -> Result<()> {
    let Some(recovery) = read(root)? else { return Ok(()) };
    let identity = identity_of(&recovery)?;
    transfer::decrypt(&identity, passphrase, Path::new("the keys of this lab"))
        .map(drop)
        .map_err(|error| error.hint("`lap repository passphrase` sets another one for later copies"))
}

/// The keys of the workspace at `root`, sealed; `None`: there is no passphrase.
///
/// # Errors
/// [`Kind::Keys`]: a file is damaged.
pub fn seal(root: &Path) -> Result<Option<Sealed>> {
    let Some(recovery) = read(root)? else { return Ok(None) };
    let what = || "cannot encrypt the keys".to_owned();
    let recipient: age::x25519::Recipient =
        recovery.recipient.parse().map_err(|_| Error::new(Kind::Keys, format!("`{FILE}` is damaged")))?;
    let _lock = lock(root)?;
    let plain = transfer::pack(&keys_dir(root), 0)?;
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as _)).or_error(Kind::Other, what)?;
    let mut writer = encryptor.wrap_output(Vec::new()).or_error(Kind::Other, what)?;
    writer.write_all(&plain).or_error(Kind::Other, what)?;
    let keys = writer.finish().or_error(Kind::Other, what)?;
    Ok(Some(Sealed { identity: identity_of(&recovery)?, keys, digest: hex::encode(Sha256::digest(&plain)) }))
}

/// Puts sealed keys into the workspace at `root`, as an import does.
///
/// # Errors
/// [`Kind::Keys`]: the passphrase is another one, or something is damaged; [`Kind::Refused`]: other keys are there.
pub fn unseal(root: &Path, identity: &[u8], keys: &[u8], passphrase: &Passphrase) -> Result<Imported> {
    let name = Path::new("the keys in the repository");
    let identity = transfer::decrypt(identity, passphrase, name)?;
    let identity: age::x25519::Identity = std::str::from_utf8(&identity)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| transfer::damaged(name, "its identity is not valid"))?;
    let plain = transfer::decrypt_for(keys, &identity, name)?;
    transfer::take_over(root, &plain, name)
}

fn read(root: &Path) -> Result<Option<Recovery>> {
    let path = keys_dir(root).join(FILE);
    let Some(text) = files::read_private(&path)? else { return Ok(None) };
    let recovery = serde_json::from_slice(&text).or_error(Kind::Keys, || format!("`{}` is damaged", path.display()))?;
    Ok(Some(recovery))
}

fn identity_of(recovery: &Recovery) -> Result<Vec<u8>> {
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &recovery.identity)
        .or_error(Kind::Keys, || format!("`{FILE}` is damaged"))
}
