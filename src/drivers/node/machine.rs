//! The `ssh` provider: a machine that already exists. It is looked at with stock ssh before anything is put on it.

use std::collections::BTreeMap;

use lap_base::error::Result;
use sha2::{Digest, Sha256};

use crate::drivers::stock_ssh::StockSsh;

/// Where lap's own sshd listens on such a machine: reached through the machine's own, by whoever may log in there.
pub const SSHD: ([u8; 4], u16) = ([127, 0, 0, 1], 7022);
/// Where it listens on a machine that Vagrant made from a box of others, whose own sshd stays Vagrant's.
pub const SSHD_BESIDE: ([u8; 4], u16) = ([0, 0, 0, 0], SSHD.1);

/// What a node needs that is a package of the distribution: what is looked for, and the package's name.
pub const PACKAGES: [&str; 8] =
    ["apparmor", "btrfs-progs", "ca-certificates", "docker.io", "iptables", "kmod", "openssh-server", "procps"];

/// Looks without changing anything. `$1` is the disk for the pool, or nothing. Prints `key value` lines. What is on a disk is judged as the
/// agent does (`agent::disk`): one without a sign of anything that begins with data is not empty, unless it was to be btrfs and the
/// power went.
const PROBE: &str = r#"
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
. /etc/os-release
echo "id $ID"
echo "like ${ID_LIKE-}"
echo "version ${VERSION_ID-}"
echo "arch $(uname -m)"
echo "uid $(id -u)"
root=
if [ "$(id -u)" = 0 ]; then echo "root yes"
elif sudo -n true 2>/dev/null; then echo "root sudo"; root="sudo -n"
else echo "root no"; fi
[ -d /run/systemd/system ] && echo "systemd yes"
for package in apparmor btrfs-progs ca-certificates docker.io iptables kmod openssh-server procps e2fsprogs xfsprogs; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] && echo "package $package"
done
command -v dockerd >/dev/null && echo "dockerd yes"
command -v sshd >/dev/null && echo "sshd yes"
for name in btrfs xfs ext4 overlay; do
    if grep -qw "$name" /proc/filesystems || modinfo "$name" >/dev/null 2>&1; then echo "filesystem $name"; fi
done
[ -e /etc/docker/daemon.json ] && echo "daemon.json yes"
$root docker ps --all --quiet 2>/dev/null | grep -c . | sed 's/^/containers /'
$root docker ps --all --quiet --filter label=lap.container 2>/dev/null | grep -c . | sed 's/^/own /'
if [ -n "$root" ] || [ "$(id -u)" = 0 ]; then
    $root test -e /var/lib/lap/node.json && echo "node $($root sha256sum /var/lib/lap/node.json | cut -d' ' -f1)" &&
        echo "who $($root cat /var/lib/lap/node.json | tr -d '\n')"
    $root test -e /usr/local/bin/lap && echo "binary $($root sha256sum /usr/local/bin/lap | cut -d' ' -f1)"
    $root test -S /run/lap/agent.sock && [ -n "$(pgrep -f 'lap agent run')" ] && echo "agent yes"
fi
grep -qi '^ *[0-9]*: 0100007F:1B6E .* 0A ' /proc/net/tcp && echo "port taken"
echo "memory $(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
echo "disk $(df -Pk /var/lib | awk 'END { print $4 }')"
if [ -n "${1-}" ]; then
    if [ -b "$1" ]; then
        echo "device $($root lsblk -bdno SIZE "$1" 2>/dev/null)"
        on() { $root blkid -p -o value -s "$2" "$1" 2>/dev/null; }
        type=$(on "$1" TYPE)
        [ -n "$type" ] || type=$(on "$1" PTTYPE)
        if [ -z "$type" ] && [ "$($root head -c 1048576 "$1" | tr -d '\0' | head -c 1 | wc -c)" != 0 ] &&
            [ "$($root head -c 65608 "$1" | tail -c 8 | tr -d '\0')" != '!BHRfS_M' ]; then type=data; fi
        echo "on-device $type $(on "$1" LABEL)"
    fi
fi
:
"#;

/// What the probe saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineProbe {
    values: BTreeMap<String, String>,
    pub packages: Vec<String>,
    pub filesystems: Vec<String>,
}

impl MachineProbe {
    /// Of `key value` lines.
    pub fn parse(text: &str) -> Self {
        let mut probe = Self::default();
        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "package" => probe.packages.push(value.to_owned()),
                "filesystem" => probe.filesystems.push(value.to_owned()),
                _ => {
                    probe.values.insert(key.to_owned(), value.trim().to_owned());
                }
            }
        }
        probe
    }

    /// For tests: a machine that says this.
    #[cfg(test)]
    pub fn of(text: &str) -> Self {
        Self::parse(text)
    }

    /// What it said under this key; nothing if it did not.
    pub fn get(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    /// The number under this key.
    pub fn number(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap_or(0)
    }

    /// The words before a command that make it root's; `None`: there is no way.
    pub fn as_root(&self) -> Option<&'static [&'static str]> {
        match self.get("root") {
            "yes" => Some(&[]),
            "sudo" => Some(&["sudo", "-n"]),
            _ => None,
        }
    }
}

/// Looks at a machine.
///
/// # Errors
/// It does not answer, or does not let us in.
pub async fn probe_machine(machine: &StockSsh, device: Option<&str>) -> Result<MachineProbe> {
    let command = ["sh", "-s", "--", device.unwrap_or("")];
    let text = machine.done("look", &command, PROBE.as_bytes(), &|_| {}).await?;
    Ok(MachineProbe::parse(&text))
}

/// As `sha256sum` prints it.
pub fn sum(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_asks_for_these_packages() {
        assert!(PROBE.contains(&format!("for package in {} e2fsprogs xfsprogs; do", PACKAGES.join(" "))));
        assert!(PROBE.contains(&format!("0100007F:{:04X} ", SSHD.1)));
    }

    #[test]
    fn what_it_says_is_read() {
        let probe =
            MachineProbe::of("id debian\nlike \npackage kmod\nfilesystem btrfs\nroot sudo\nmemory 2048\nagent yes");
        assert_eq!((probe.get("id"), probe.get("like"), probe.get("nothing")), ("debian", "", ""));
        assert_eq!((probe.number("memory"), probe.packages.len(), probe.filesystems.len()), (2048, 1, 1));
        assert_eq!(probe.as_root(), Some(&["sudo", "-n"][..]));
    }

    /// On this very machine: the script itself is right.
    #[test]
    fn this_machine_can_be_looked_at() {
        let ran = std::process::Command::new("sh").args(["-c", PROBE, "sh", ""]).output().unwrap();
        assert!(ran.status.success());
        let probe = MachineProbe::parse(&String::from_utf8_lossy(&ran.stdout));
        assert!(!probe.get("id").is_empty() && probe.number("memory") > 0 && probe.number("disk") > 0, "{probe:?}");
    }
}
