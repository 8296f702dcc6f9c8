//! A machine of a box of others, just after Vagrant made it: how it is reached until lap's own sshd is there, and what must not open
//! it any longer.

use std::path::PathBuf;

use lap_base::error::{Error, Kind, Result};

use super::{spec::VmSpec, vagrant::vagrant};
use crate::{
    drivers::{
        site::Site,
        stock_ssh::{ALIAS, StockSsh},
    },
    report::LineSink,
};

/// The keys that Vagrant's boxes come with: everybody has their private halves.
const INSECURE: [&str; 2] = [
    "AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUF\
     tdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFY\
     bAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ==",
    "AAAAC3NzaC1lZDI1NTE5AAAAIN1YdxBpNlzxDqfJyw/QKow1F+wvG9hXGoqiysfJOn5Y",
];

/// As root; `$@` are those keys. Passwords that come with a box are everybody's, too: whoever logs in has a key. A key that is the only one
/// stays, since nobody could log in without it.
const CLOSE: &str = r#"
set -eu
shadow=$(getent shadow)
printf '%s\n' "$shadow" | while IFS=: read -r user password _; do
    case $password in '*'* | '!'*) ;; *) usermod -p '*' -- "$user" && echo "lock the password of $user" >&2 ;; esac
done
getent passwd | while IFS=: read -r user _ _ _ _ home _; do
    file=$home/.ssh/authorized_keys
    [ -f "$file" ] || continue
    for key; do
        grep -qF -e "$key" -- "$file" || continue
        if ! grep -vF -e "$key" -- "$file" | grep -q '^[^#[:space:]]'; then
            [ "$user" = root ] || { echo "the key that everybody has is the only one of $user" >&2; exit 1; }
        fi
        cp -p -- "$file" "$file.lap-new"
        grep -vF -e "$key" -- "$file" >"$file.lap-new" || :
        mv -f -- "$file.lap-new" "$file"
        echo "take the key that everybody has from $user" >&2
    done
done"#;

/// The host key a machine showed at first.
pub fn known_hosts(spec: &VmSpec) -> PathBuf {
    spec.dir().join("known_hosts")
}

/// The way to a machine that Vagrant has just started: as Vagrant itself logs in. The host key it shows at first is the only one from then
/// on; what is between is a network that its host made for it, and nobody else is in it yet.
///
/// # Errors
/// Vagrant does not say how it logs in.
pub async fn reach(spec: &VmSpec, line: &LineSink<'_>) -> Result<StockSsh> {
    let site = spec.site();
    line("read Vagrant's login settings");
    let run = vagrant(&site, &spec.lab, &spec.node, spec.hypervisor, &["ssh-config", "--no-tty", "--no-color"]);
    let said = run.quiet(Kind::Node).await?;
    let text = config(spec, &said).ok_or_else(|| {
        Error::new(
            Kind::Node,
            format!("Vagrant does not report its login settings for `{}`: {}", spec.node, said.trim()),
        )
    })?;
    let file = spec.dir().join("ssh_config");
    site.write(&file, text.as_bytes(), 0o644).await?;
    let from = match site {
        Site::Here => None,
        Site::There(host) => Some(Box::new(host)),
    };
    Ok(StockSsh { config: Some(file), from, ..StockSsh::known(&spec.node, &spec.node) })
}

/// ssh_config(5), of what Vagrant says with one that believes every host key.
fn config(spec: &VmSpec, said: &str) -> Option<String> {
    let value = |key: &str| {
        let mut lines = said.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
        lines.find(|(is, _)| is.eq_ignore_ascii_case(key)).map(|(_, value)| value.trim())
    };
    Some(format!(
        "# Written by `lap`.\n\
         Host {node}\n  HostName {host}\n  User {user}\n  Port {port}\n  IdentityFile {key}\n  IdentitiesOnly yes\n  \
         HostKeyAlias {ALIAS}\n  UserKnownHostsFile \"{known}\"\n  GlobalKnownHostsFile /dev/null\n  CheckHostIP no\n  \
         UpdateHostKeys no\n  StrictHostKeyChecking accept-new\n",
        node = spec.node,
        host = value("HostName")?,
        user = value("User")?,
        port = value("Port")?,
        key = value("IdentityFile")?,
        known = known_hosts(spec).display(),
    ))
}

/// Takes away what opens every machine of this box.
///
/// # Errors
/// Vagrant has put no key of its own into it.
pub async fn close(machine: &StockSsh, root: &[&str], line: &LineSink<'_>) -> Result<()> {
    let keys = INSECURE;
    let command = [root, &["sh", "-s", "--"], &keys[..]].concat();
    machine
        .done("remove the well-known credentials of the box", &command, CLOSE.as_bytes(), line)
        .await
        .map(drop)
        .map_err(|error| {
            error.hint("Vagrant replaces the well-known key unless a Vagrantfile sets `config.ssh.insert_key = false`")
        })
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::{super::tests::spec, *};
    use crate::config::model::Hypervisor;

    #[test]
    fn what_vagrant_says_is_not_believed_about_host_keys() {
        let said = "Host prod\n  HostName 192.168.57.10\n  User vagrant\n  Port 22\n  UserKnownHostsFile /dev/null\n  \
                    StrictHostKeyChecking no\n  PasswordAuthentication no\n  IdentityFile \"/m/a b/private_key\"\n  \
                    IdentitiesOnly yes\n  LogLevel FATAL\n\n";
        let text = config(&spec(Hypervisor::Libvirt), said).unwrap();
        assert!(text.contains("User vagrant\n  Port 22\n  IdentityFile \"/m/a b/private_key\"\n"), "{text}");
        assert!(text.contains("  UserKnownHostsFile \"/var/lib/lap/office/prod/known_hosts\"\n"), "{text}");
        assert!(text.contains("StrictHostKeyChecking accept-new") && !text.contains("Checking no"), "{text}");
        assert_eq!(config(&spec(Hypervisor::Libvirt), "Host prod\n"), None);
    }

    /// A made-up machine: what `getent` says, and whose password is taken.
    fn closed(authorized: &str) -> (std::process::Output, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir_all(home.join(".ssh")).unwrap();
        let file = home.join(".ssh/authorized_keys");
        fs::write(&file, authorized).unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("shadow"), "root:*:1\nvagrant:$y$j9T$x:1:0\nnobody::1\nsshd:!:1\n").unwrap();
        fs::write(path("passwd"), format!("vagrant:x:1000:1000::{}:/bin/sh\n", home.display())).unwrap();
        let head = format!(
            "getent() {{ cat '{0}'/$1; }}; usermod() {{ shift 3; echo \"$1\" >>'{0}'/locked; }}\n",
            dir.path().display()
        );
        let script = format!("{head}{CLOSE}");
        let output = Command::new("sh").args(["-c", &script, "sh"]).args(INSECURE).output().unwrap();
        let read = |path: String| fs::read_to_string(path).unwrap_or_default();
        (output, read(file.display().to_string()), read(path("locked")))
    }

    #[test]
    fn nothing_that_everybody_has_opens_the_machine() {
        let (rsa, ed25519) = (format!("ssh-rsa {} vagrant", INSECURE[0]), format!("ssh-ed25519 {}", INSECURE[1]));
        let (output, keys, locked) = closed(&format!("{rsa}\nssh-rsa AAAA own\n{ed25519}\n"));
        assert!(output.status.success(), "{output:?}");
        assert_eq!((keys.as_str(), locked.as_str()), ("ssh-rsa AAAA own\n", "vagrant\nnobody\n"));
        let (output, keys, _) = closed("ssh-rsa AAAA own\n");
        assert!(output.status.success() && keys == "ssh-rsa AAAA own\n");
        // Without it nobody could log in.
        let (output, keys, _) = closed(&format!("# none of ours\n{rsa}\n"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && keys.contains(&rsa) && said.contains("is the only one of vagrant"),
            "{said}"
        );
    }

    #[test]
    fn they_are_whole() {
        use russh::keys::PublicKey;
        for (kind, key) in ["ssh-rsa", "ssh-ed25519"].into_iter().zip(INSECURE) {
            PublicKey::from_openssh(&format!("{kind} {key}")).unwrap();
        }
        // As Vagrant itself has it, where that is installed.
        if let Ok(text) = fs::read_to_string("/usr/share/vagrant/keys/vagrant.pub") {
            assert!(text.contains(INSECURE[0]));
        }
    }
}
