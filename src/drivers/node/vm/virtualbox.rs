//! VirtualBox' own tool, VBoxManage, for what Vagrant does not do: the data disk, and looking.

use std::{collections::BTreeSet, path::PathBuf};

use lap_base::error::{Kind, Result};

use super::spec::{HOME, VmSpec, dir};
use crate::drivers::{command::Run, site::Site};

async fn manage(site: &Site, arguments: &[&str]) -> Result<String> {
    let run = Run::new("VBoxManage", arguments.iter().copied());
    let run = run.at_site(site);
    run.missing("install VirtualBox 6.1 or newer, from Oracle or your distribution").quiet(Kind::Host).await
}

/// The machine's data disk.
pub fn disk(lab: &str, node: &str) -> PathBuf {
    dir(lab, node).join("data.vdi")
}

/// The lab's machines with their state, and the nodes with a data disk.
///
/// # Errors
/// VirtualBox is not installed.
pub async fn list(site: &Site, lab: &str) -> Result<(Vec<(String, String)>, BTreeSet<String>)> {
    let ours = format!("lap-{lab}-");
    let all = names(&manage(site, &["list", "vms"]).await?);
    let running = names(&manage(site, &["list", "runningvms"]).await?);
    let state = |name: String| {
        let state = if running.contains(&name) { "running" } else { "powered off" };
        (name, state.to_owned())
    };
    let disks = site.having(&format!("{HOME}/{lab}"), "data.vdi").await?.into_iter().collect();
    Ok((all.into_iter().filter(|name| name.starts_with(&ours)).map(state).collect(), disks))
}

/// `"name" {uuid}`
fn names(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| Some(line.strip_prefix('"')?.rsplit_once('"')?.0.to_owned())).collect()
}

/// Whether there is a machine of this name.
///
/// # Errors
/// VirtualBox is not installed.
pub async fn exists(site: &Site, domain: &str) -> Result<bool> {
    Ok(names(&manage(site, &["list", "vms"]).await?).contains(domain))
}

/// The data disk, made where it is missing, larger where it should be.
///
/// # Errors
/// VirtualBox refuses.
pub async fn provide(spec: &VmSpec) -> Result<()> {
    let site = &spec.site();
    let path = disk(&spec.lab, &spec.node).display().to_string();
    let size = (spec.disk >> 20).to_string();
    if has_disk(site, &spec.lab, &spec.node).await? {
        return manage(site, &["modifymedium", "disk", &path, "--resize", &size]).await.map(drop);
    }
    manage(site, &["createmedium", "disk", "--filename", &path, "--size", &size, "--format", "VDI"]).await.map(drop)
}

async fn has_disk(site: &Site, lab: &str, node: &str) -> Result<bool> {
    Ok(site.having(&format!("{HOME}/{lab}"), "data.vdi").await?.iter().any(|name| name == node))
}

/// Takes the data disk out of a machine that is about to be removed: VirtualBox removes what is attached along with it.
///
/// # Errors
/// VirtualBox refuses.
pub async fn detach(site: &Site, domain: &str) -> Result<()> {
    let empty = ["--storagectl", "sataController0", "--port", "1", "--device", "0", "--medium", "none"];
    manage(site, &[&["storageattach", domain][..], &empty].concat()).await.map(drop)
}

/// Removes a machine that Vagrant knows nothing of. Its data stay.
///
/// # Errors
/// VirtualBox refuses.
pub async fn clean(spec: &VmSpec) -> Result<()> {
    let (site, domain) = (&spec.site(), spec.domain());
    if !exists(site, &domain).await? {
        return Ok(());
    }
    let _ = manage(site, &["controlvm", &domain, "poweroff"]).await;
    detach(site, &domain).await?;
    manage(site, &["unregistervm", &domain, "--delete"]).await.map(drop)
}

/// Removes the data disk.
///
/// # Errors
/// VirtualBox refuses: a machine still has it.
pub async fn remove_data(site: &Site, lab: &str, node: &str) -> Result<()> {
    let path = disk(lab, node);
    if !has_disk(site, lab, node).await? {
        return Ok(());
    }
    manage(site, &["closemedium", "disk", &path.display().to_string(), "--delete"]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_listed() {
        let text = "\"lap-office-prod\" {3d3…}\n\"a \"quoted\" one\" {4}\n";
        assert_eq!(names(text).into_iter().collect::<Vec<_>>(), ["a \"quoted\" one", "lap-office-prod"]);
    }
}
