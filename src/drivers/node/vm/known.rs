//! The boxes that Vagrant has: looked at, since asking it takes a second.

use lap_base::error::Result;

use crate::{
    config::model::Hypervisor,
    drivers::site::{Input, Site},
};

/// A box that Vagrant has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VagrantBox {
    name: String,
    version: String,
    /// As Vagrant calls it (`amd64`); `None`: nobody says.
    arch: Option<String>,
}

/// Prints a line a box: its path below Vagrant's own directory, with the architecture since Vagrant 2.4, and what it says itself.
/// `$1` is the hypervisor.
const LOOK: &str = r#"
dir=${VAGRANT_HOME:-$HOME/.vagrant.d}/boxes
for path in "$dir"/*/*/"$1" "$dir"/*/*/*/"$1"; do
    [ -e "$path/metadata.json" ] || continue
    said=$(sed -n 's/.*"architecture" *: *"\([a-z0-9_]*\)".*/\1/p' "$path/metadata.json" | head -n 1)
    printf '%s %s\n' "${path#"$dir/"}" "$said"
done"#;

/// The boxes that Vagrant has for this hypervisor.
///
/// # Errors
/// The host is not reached.
pub async fn known(site: &Site, hypervisor: Hypervisor) -> Result<Vec<VagrantBox>> {
    let out = site.script("list Vagrant's boxes", LOOK, &[hypervisor.name()], Input::Bytes(&[])).await?;
    Ok(String::from_utf8_lossy(&out).lines().filter_map(parse).collect())
}

/// `debian-VAGRANTSLASH-bookworm64/12.1/libvirt`, or with `/amd64` before its last part
fn parse(line: &str) -> Option<VagrantBox> {
    let (path, said) = line.split_once(' ')?;
    let parts: Vec<&str> = path.split('/').collect();
    let (name, version, arch) = match parts[..] {
        [name, version, _] => (name, version, None),
        [name, version, arch, _] => (name, version, Some(arch).filter(|arch| *arch != "unknown")),
        _ => return None,
    };
    let arch = arch.or(Some(said).filter(|said| !said.is_empty()));
    Some(VagrantBox {
        name: name.replace("-VAGRANTSLASH-", "/"),
        version: version.to_owned(),
        arch: arch.map(str::to_owned),
    })
}

impl VagrantBox {
    /// What a machine may be said to be made from: this box as lap made it, or of others with its version and without.
    pub fn identities(&self) -> impl Iterator<Item = String> {
        let foreign = [self.name.clone(), format!("{} {}", self.name, self.version)];
        let own = self.name.strip_prefix("lap/").map(str::to_owned);
        let foreign = foreign.into_iter().filter({
            let none = own.is_none();
            move |_| none
        });
        own.clone().into_iter().chain(foreign)
    }

    /// Whether it is for this architecture, as far as anybody knows.
    pub fn is_for(&self, arch: &str) -> bool {
        let names = match arch {
            "x86_64" => ["amd64", "x86_64"],
            "aarch64" => ["arm64", "aarch64"],
            other => [other, other],
        };
        self.arch.as_deref().is_none_or(|is| names.contains(&is))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_known_by_its_name_and_version() {
        let own = parse("lap-VAGRANTSLASH-0123/0/libvirt ").unwrap();
        assert_eq!(own.identities().collect::<Vec<_>>(), ["0123"]);
        let foreign = parse("debian-VAGRANTSLASH-bookworm64/12.1/amd64/libvirt ").unwrap();
        assert_eq!(foreign.identities().collect::<Vec<_>>(), ["debian/bookworm64", "debian/bookworm64 12.1"]);
        assert!(foreign.is_for("x86_64") && !foreign.is_for("aarch64"));
        let said = parse("bare/1/libvirt arm64").unwrap();
        assert!(said.is_for("aarch64") && !said.is_for("x86_64"));
        let silent = parse("bare/1/unknown/libvirt ").unwrap();
        assert!(silent.is_for("aarch64") && silent.is_for("x86_64"));
    }

    /// Both ways in which Vagrant keeps them.
    #[tokio::test]
    async fn they_are_found_where_vagrant_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("a-VAGRANTSLASH-b/1.0/libvirt", "{\"provider\":\"libvirt\",\"architecture\":\"arm64\"}"),
            ("a-VAGRANTSLASH-b/2.0/amd64/libvirt", "{}"),
            ("a-VAGRANTSLASH-b/3.0/virtualbox", "{}"),
        ] {
            let path = dir.path().join("boxes").join(path);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("metadata.json"), text).unwrap();
        }
        let mut look = tokio::process::Command::new("sh");
        let out = look.args(["-c", LOOK, "lap", "libvirt"]).env("VAGRANT_HOME", dir.path()).output().await.unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(text, "a-VAGRANTSLASH-b/1.0/libvirt arm64\na-VAGRANTSLASH-b/2.0/amd64/libvirt \n");
    }
}
