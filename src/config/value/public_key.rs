//! Operators' public keys, in OpenSSH's one-line format.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::config::problem::shown;

const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// `ssh-ed25519 AAAA… [comment]`, one line and no options: it becomes a line of `authorized_keys`.
pub fn public_key(text: &str) -> Result<String, String> {
    // The text is not shown: it must not be copied into logs.
    if text.contains("PRIVATE KEY") {
        return Err("this is a private key, which must not be in a workspace: make a new pair, and write the line of its `.pub` file"
            .to_owned());
    }
    let text = text.trim();
    if text.contains('\n') {
        return Err("a key is one line: write the line of a `.pub` file".to_owned());
    }
    let mut words = text.split_whitespace();
    let kind = words.next().unwrap_or_default();
    if !TYPES.contains(&kind) {
        // Something long may be the inside of a private key.
        let what = if kind.len() > 40 { "this".to_owned() } else { shown(kind) };
        return Err(format!(
            "{what} is not a type of public key: write the line of a `.pub` file, e.g. `ssh-ed25519 AAAA… anna`"
        ));
    }
    let blob = words.next().and_then(|word| STANDARD.decode(word).ok()).unwrap_or_default();
    match fields(&blob).as_deref() {
        Some([first, _, ..]) if *first == kind.as_bytes() => Ok(text.to_owned()),
        _ => Err(format!("the `{kind}` key is damaged: copy the whole line of its `.pub` file")),
    }
}

/// The fields of an SSH structure: each with its length before it, to the very end.
fn fields(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut out = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        out.push(field);
        blob = rest;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    const GOOD: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ anna";

    #[test]
    fn keys() {
        assert_eq!(public_key(&format!("{GOOD}\n")).unwrap(), GOOD);
        let short = GOOD.replace("OIeZJ", "OIe");
        messages(
            public_key,
            &[
                ("", "`` is not a type of public key: write the line of a `.pub` file, e.g. `ssh-ed25519 AAAA… anna`"),
                (
                    "command=\"sh\" ssh-ed25519 AAAA",
                    "`command=\"sh\"` is not a type of public key: write the line of a `.pub` file, e.g. `ssh-ed25519 \
                     AAAA… anna`",
                ),
                ("ssh-ed25519", "the `ssh-ed25519` key is damaged: copy the whole line of its `.pub` file"),
                (&short, "the `ssh-ed25519` key is damaged: copy the whole line of its `.pub` file"),
                (
                    &GOOD.replace("ssh-ed25519", "ssh-rsa"),
                    "the `ssh-rsa` key is damaged: copy the whole line of its `.pub` file",
                ),
                (&format!("{GOOD}\nssh-rsa AAAA"), "a key is one line: write the line of a `.pub` file"),
                (
                    "-----BEGIN OPENSSH PRIVATE KEY-----",
                    "this is a private key, which must not be in a workspace: make a new pair, and write the line of its `.pub` file",
                ),
            ],
        );
    }
}
