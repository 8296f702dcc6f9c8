//! What `[grants]` in `lap.toml` may hold: the privileges of one container beyond its own data.

use super::{capability::capability, path::absolute};
use crate::config::problem::shown;

/// Brings a grant into the one form that checks compare: a path, or `key: value`.
pub fn grant(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return absolute(text).map(|path| path.display().to_string());
    }
    match text.split_once(':').map(|(key, value)| (key.trim(), value.trim())) {
        Some(("network_mode", "host")) => Ok("network_mode: host".to_owned()),
        Some(("privileged", "true")) => Ok("privileged: true".to_owned()),
        Some(("cap_add", value)) => Ok(format!("cap_add: {}", capability(value)?)),
        Some(("security_opt", value)) if !value.is_empty() => Ok(format!("security_opt: {}", security_opt(value)?)),
        _ => Err(format!(
            "{} is not a grant: write a path of the node or one of `network_mode: host`, `privileged: true`, \
             `cap_add: NAME`, `security_opt: VALUE`",
            shown(text)
        )),
    }
}

/// `seccomp:unconfined` is an old way to write `seccomp=unconfined`.
pub fn security_opt(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("{} is not an option: write e.g. `no-new-privileges:true`", shown(text)));
    }
    Ok(text.replacen(':', "=", if text.contains('=') { 0 } else { 1 }))
}

/// True for options that only take something away.
pub fn is_harmless(option: &str) -> bool {
    matches!(option, "no-new-privileges" | "no-new-privileges=true")
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn grants() {
        for (text, want) in [
            ("/srv//x/", "/srv/x"),
            ("network_mode:host", "network_mode: host"),
            ("cap_add: CAP_NET_ADMIN", "cap_add: NET_ADMIN"),
            ("security_opt: seccomp:unconfined", "security_opt: seccomp=unconfined"),
        ] {
            assert_eq!(grant(text).unwrap(), want);
        }
        let wrong = |text: &str| {
            format!(
                "`{text}` is not a grant: write a path of the node or one of `network_mode: host`, `privileged: true`, \
                 `cap_add: NAME`, `security_opt: VALUE`"
            )
        };
        messages(
            grant,
            &[
                ("everything", &wrong("everything")),
                ("pid: host", &wrong("pid: host")),
                ("cap_add: NET_ADMN", "`NET_ADMN` is not a capability; did you mean `NET_ADMIN`?"),
                ("/a/../b", "`/a/../b` contains `.` or `..`: write the resolved path"),
            ],
        );
    }
}
