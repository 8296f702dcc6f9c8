//! Linux capabilities.

use crate::config::problem::{did_you_mean, shown};

/// What Docker gives every container: asking for these needs no grant.
pub const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

const OTHER: [&str; 28] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "NET_ADMIN",
    "NET_BROADCAST",
    "PERFMON",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// `NET_ADMIN`, also written `CAP_NET_ADMIN` or in lower case; `ALL`.
pub fn capability(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if DEFAULT.contains(&name) || OTHER.contains(&name) {
        return Ok(name.to_owned());
    }
    let guess = did_you_mean(name, DEFAULT.into_iter().chain(OTHER));
    let help = if guess.is_empty() { ": write e.g. `NET_ADMIN`" } else { &guess };
    Err(format!("{} is not a capability{help}", shown(text)))
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn capabilities() {
        assert_eq!(capability("cap_net_admin").unwrap(), "NET_ADMIN");
        messages(
            capability,
            &[
                ("NET_ADMN", "`NET_ADMN` is not a capability; did you mean `NET_ADMIN`?"),
                ("root", "`root` is not a capability: write e.g. `NET_ADMIN`"),
            ],
        );
    }
}
