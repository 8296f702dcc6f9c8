//! A machine that runs nodes as virtual machines: what is on it, and what brings them up after it was booted.

use lap_base::error::Result;

use super::{
    node::machine::MachineProbe,
    site::{Input, Site},
};

/// What brings nodes up after a boot, and the unit that runs it.
pub const START: &str = "/usr/local/lib/lap/start-nodes";
pub const START_TEXT: &str = include_str!("start-nodes.sh");
pub const UNIT: &str = "/etc/systemd/system/lap-nodes.service";
pub const UNIT_TEXT: &str = include_str!("lap-nodes.service");

/// Looks without changing anything. Its arguments are the packages that are asked about. Prints `key value` lines.
const PROBE: &str = r#"
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
. /etc/os-release
echo "id $ID"
echo "like ${ID_LIKE-}"
echo "arch $(uname -m)"
echo "user $(id -un)"
if [ "$(id -u)" = 0 ]; then echo "root yes"
elif sudo -n true 2>/dev/null; then echo "root sudo"
else echo "root no"; fi
[ -d /run/systemd/system ] && echo "systemd yes"
for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] && echo "package $package"
done
command -v VBoxManage >/dev/null && echo "virtualbox yes"
id -nG | grep -qw libvirt && echo "group yes"
if [ -d /var/lib/lap ]; then
    echo "home $(stat -c %U /var/lib/lap)"
    [ -w /var/lib/lap ] && echo "writable yes"
fi
for file in /usr/local/lib/lap/start-nodes /etc/systemd/system/lap-nodes.service; do
    [ -r "$file" ] && echo "sum-${file##*/} $(sha256sum <"$file" | cut -d' ' -f1)"
done
systemctl --quiet is-enabled lap-nodes.service 2>/dev/null && echo "enabled yes"
if virsh --quiet --connect qemu:///system uri >/dev/null 2>&1; then echo "libvirt yes"; fi
if grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo && [ -e /dev/kvm ]; then echo "able yes"; fi
:
"#;

/// Looks at a host.
///
/// # Errors
/// It does not answer, or does not let us in.
pub async fn probe_host(site: &Site, packages: &[&str]) -> Result<MachineProbe> {
    let out = site.script("look", PROBE, packages, Input::Bytes(&[])).await?;
    Ok(MachineProbe::parse(&String::from_utf8_lossy(&out)))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::*;

    /// On this very machine: the script itself is right, and asks for the files that are written.
    #[tokio::test]
    async fn this_machine_can_be_looked_at() {
        let look = probe_host(&Site::Here, &["dash", "no-such-package"]).await.unwrap();
        assert!(!look.get("id").is_empty() && !look.get("user").is_empty(), "{look:?}");
        assert!(PROBE.contains(START) && PROBE.contains(UNIT));
        assert!(UNIT_TEXT.contains(&format!("\nExecStart={START}\n")));
    }

    #[test]
    fn systemd_takes_the_unit() {
        let dir = tempfile::tempdir().unwrap();
        let unit = dir.path().join("lap-nodes.service");
        // The program it starts must be there.
        fs::write(&unit, UNIT_TEXT.replace(START, "/bin/true")).unwrap();
        let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output() else {
            eprintln!("not looked at: there is no systemd-analyze");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("lap-nodes.service:"), "{said}");
    }

    /// Written by a process of its own: what this one has open for writing, another test's child may have, too, and then nobody can run it.
    fn program(dir: &Path, name: &str, text: &str) {
        let write = ["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh"];
        let written = Command::new("sh").args(write).arg(dir.join(name)).arg(text).status();
        assert!(written.unwrap().success());
    }

    /// The hypervisors' tools are not here: what they are asked is what counts.
    #[test]
    fn after_a_boot_those_come_up_that_were_not_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, home, log) = (dir.path().join("bin"), dir.path().join("home"), dir.path().join("log"));
        fs::create_dir(&bin).unwrap();
        let told = format!("echo \"${{0##*/}} $*\" >>'{}'", log.display());
        let virsh = format!("{told}\ncase $* in *--name*) printf 'lap-office-prod\\nother\\n' ;; esac");
        program(&bin, "virsh", &virsh);
        program(&bin, "VBoxManage", &format!("{told}\ncase $* in *broken*) exit 1 ;; esac"));
        program(&bin, "runuser", &format!("{told}\nshift 3; exec \"$@\""));
        for (node, hypervisor) in
            [("one", "virtualbox"), ("down", "virtualbox"), ("broken", "virtualbox"), ("three", "libvirt")]
        {
            let node = home.join("office").join(node);
            fs::create_dir_all(&node).unwrap();
            fs::write(node.join("made.json"), format!("{{\"hypervisor\":\"{hypervisor}\"}}")).unwrap();
        }
        fs::write(home.join("office/down/stopped"), "").unwrap();
        let start = dir.path().join("start");
        fs::write(&start, START_TEXT).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").arg(&start).arg(&home).env("PATH", path).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "one of them does not start");
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
        let run = |node: &str| {
            format!(
                "runuser -u {user} -- VBoxManage startvm lap-office-{node} --type headless\n\
                 VBoxManage startvm lap-office-{node} --type headless\n"
            )
        };
        assert_eq!(
            fs::read_to_string(&log).unwrap(),
            format!(
                "virsh --quiet --connect qemu:///system list --all --autostart --state-shutoff --name\n\
                 virsh --quiet --connect qemu:///system start lap-office-prod\n{}{}",
                run("broken"),
                run("one")
            )
        );
    }
}
