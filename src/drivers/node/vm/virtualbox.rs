//! VirtualBox' own tool, VBoxManage, for what Vagrant does not do: the data disk, and looking.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::{HOME, Spec, dir};
use crate::{
    drivers::command::Run,
    error::{Kind, Result},
};

async fn manage(arguments: &[&str]) -> Result<String> {
    let run = Run::new("VBoxManage", arguments.iter().copied());
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
pub async fn list(lab: &str) -> Result<(Vec<(String, String)>, BTreeSet<String>)> {
    let ours = format!("lap-{lab}-");
    let all = names(&manage(&["list", "vms"]).await?);
    let running = names(&manage(&["list", "runningvms"]).await?);
    let state = |name: String| {
        let state = if running.contains(&name) { "running" } else { "powered off" };
        (name, state.to_owned())
    };
    let nodes = fs::read_dir(format!("{HOME}/{lab}")).into_iter().flatten().flatten();
    let nodes = nodes.filter(|entry| entry.path().join("data.vdi").exists());
    let disks = nodes.filter_map(|entry| entry.file_name().into_string().ok()).collect();
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
pub async fn exists(domain: &str) -> Result<bool> {
    Ok(names(&manage(&["list", "vms"]).await?).contains(domain))
}

/// The data disk, made where it is missing, larger where it should be.
///
/// # Errors
/// VirtualBox refuses.
pub async fn provide(spec: &Spec) -> Result<()> {
    let path = disk(&spec.lab, &spec.node).display().to_string();
    let size = (spec.disk >> 20).to_string();
    if std::path::Path::new(&path).exists() {
        return manage(&["modifymedium", "disk", &path, "--resize", &size]).await.map(drop);
    }
    manage(&["createmedium", "disk", "--filename", &path, "--size", &size, "--format", "VDI"]).await.map(drop)
}

/// Takes the data disk out of a machine that is about to be removed: VirtualBox removes what is attached along with it.
///
/// # Errors
/// VirtualBox refuses.
pub async fn detach(domain: &str) -> Result<()> {
    let empty = ["--storagectl", "sataController0", "--port", "1", "--device", "0", "--medium", "none"];
    manage(&[&["storageattach", domain][..], &empty].concat()).await.map(drop)
}

/// Removes a machine that Vagrant knows nothing of. Its data stay.
///
/// # Errors
/// VirtualBox refuses.
pub async fn clean(spec: &Spec) -> Result<()> {
    let domain = spec.domain();
    if !exists(&domain).await? {
        return Ok(());
    }
    let _ = manage(&["controlvm", &domain, "poweroff"]).await;
    detach(&domain).await?;
    manage(&["unregistervm", &domain, "--delete"]).await.map(drop)
}

/// Removes the data disk.
///
/// # Errors
/// VirtualBox refuses: a machine still has it.
pub async fn remove_data(lab: &str, node: &str) -> Result<()> {
    let path = disk(lab, node);
    if !path.exists() {
        return Ok(());
    }
    manage(&["closemedium", "disk", &path.display().to_string(), "--delete"]).await.map(drop)
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
