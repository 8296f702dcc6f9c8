//! Whether an operator's SSH key signed a commit: as `git verify-commit` finds out, with keys that the working tree names.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use git2::{Oid, Repository};
use lap_base::error::{Kind, OrError, Result};
use russh::keys::PublicKey;

use crate::keys;

const BEGIN: &[u8] = b"-----BEGIN SSH SIGNATURE-----";
/// What a key is called in the file that `ssh-keygen` reads; each file has one key.
const PRINCIPAL: &str = "operator";

/// The name of the key that signed it; `None`: none of these did, or this machine has no `ssh-keygen`.
///
/// # Errors
/// No temporary file can be written.
pub fn by(repository: &Repository, id: Oid, keys: &[(String, PublicKey)]) -> Result<Option<String>> {
    let Ok((signature, content)) = repository.extract_signature(&id, None) else { return Ok(None) };
    if !signature.starts_with(BEGIN) {
        return Ok(None);
    }
    let what = || "cannot verify a signature".to_owned();
    let dir = tempfile::tempdir().or_error(Kind::Host, what)?;
    let (file, allowed) = (dir.path().join("signature"), dir.path().join("allowed"));
    std::fs::write(&file, &*signature).or_error(Kind::Host, what)?;
    for (name, key) in keys {
        let line = format!("{PRINCIPAL} namespaces=\"git\" {}\n", keys::public_line(key, ""));
        std::fs::write(&allowed, line).or_error(Kind::Host, what)?;
        if is_by(&allowed, &file, &content) {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

fn is_by(allowed: &Path, signature: &Path, content: &[u8]) -> bool {
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-n", "git", "-I", PRINCIPAL, "-f"]).arg(allowed).arg("-s").arg(signature);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    // A program that ends early has seen enough to say no.
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(content);
    }
    child.wait().is_ok_and(|status| status.success())
}
