//! Files on the operator's machine that stock programs need to reach the lab: known host keys, the upload password for
//! curl, and the keys of the DNS servers for `nsupdate`. All in `.lap`, all may be deleted: the next `up` writes them again.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::TryStreamExt;
use lap_base::{
    durable::write_file,
    error::{Kind, OrError, Result},
};

use super::master::Master;
use crate::{
    keys::{self, known_hosts},
    wire::protocol::NodeFacts,
    workspace::Workspace,
};

/// Where the git server keeps its own host key, inside its container.
const GIT_HOST_KEY: &str = "/data/ssh/ssh_host_ed25519_key.pub";
/// The git server's port on its node.
const GIT_PORT: u16 = 2200;

/// `.lap/known_hosts`
pub fn known_hosts_file(workspace: &Workspace) -> PathBuf {
    workspace.lab.root.join(".lap/known_hosts")
}

/// `.lap/<environment>.netrc`
fn netrc_file(workspace: &Workspace, environment: &str) -> PathBuf {
    workspace.lab.root.join(format!(".lap/{environment}.netrc"))
}

/// Writes them for an environment that is up. Asks the node only for what is not there yet.
///
/// # Errors
/// A file cannot be written.
pub async fn write(master: &Master) -> Result<()> {
    let (workspace, environment, keys, address) =
        (&*master.workspace, &master.environment, master.keys()?, master.address());
    let zone = &workspace.lab.dns.zone;
    let mut machines: Vec<String> = ["artifact", "maven"].map(|name| format!("{name}.{zone}")).into();
    machines.push(address.to_string());
    write_if_changed(
        &netrc_file(workspace, &environment.name),
        keys.upload_netrc(&environment.name, &machines)?.expose(),
        0o600,
    )?;

    // For `docker login`: a store of an earlier version has no such file.
    keys.write_registry_password(&environment.name)?;
    let names = [format!("{}.node.{zone}", environment.master)];
    let path = known_hosts_file(workspace);
    let old = read(&path)?.unwrap_or_default();
    let mut lines: Vec<String> = old.lines().map(str::to_owned).collect();
    let port = workspace.lab.nodes.get(&environment.master).map_or(22, Workspace::port);
    let node = known_hosts(&names, &[IpAddr::V4(address)], port, keys.host_key(&environment.master)?.public())?;
    replace(&mut lines, node.trim());
    let git = format!("[{address}]:{GIT_PORT}");
    if !lines.iter().any(|line| line.split([' ', ',']).any(|word| word == git))
        && let Some(key) = git_host_key(master).await
    {
        lines.push(format!("[git.{}.{zone}]:{GIT_PORT},{git} {key}", environment.name));
    }
    for key in keys.dns() {
        keys::dns::write_file(&workspace.lab.root, key)?;
    }
    write_if_changed(&path, &(lines.join("\n") + "\n"), 0o644)
}

/// A line for the same machines takes the place of an older one.
fn replace(lines: &mut Vec<String>, line: &str) {
    let machines = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    lines.retain(|old| machines(old) != machines(line));
    lines.push(line.to_owned());
}

/// A text file of the workspace; `None`: there is none. One that is there and cannot be read is never taken for none: it would be
/// overwritten.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).or_error(Kind::Host, || format!("cannot read `{}`", path.display())),
    }
}

fn write_if_changed(path: &Path, text: &str, mode: u32) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    write_file(path, text.as_bytes(), mode).map_err(|error| lap_base::Error { kind: Kind::Host, ..error })
}

/// A tar archive of a public key is much smaller.
const MOST_OF_A_KEY: usize = 64 << 10;

/// Comes over the node's SSH connection, whose host key is known: so this key can be believed.
async fn git_host_key(master: &Master) -> Option<String> {
    let docker = master.node.client.docker(None).ok()?;
    let options = DownloadFromContainerOptionsBuilder::new().path(GIT_HOST_KEY).build();
    let mut chunks = docker.download_from_container("infra_git", Some(options));
    let mut tar = Vec::new();
    while let Some(chunk) = chunks.try_next().await.ok()? {
        tar.extend_from_slice(&chunk);
        // The container decides what lies there.
        if tar.len() > MOST_OF_A_KEY {
            return None;
        }
    }
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut entry, &mut text).ok()?;
    let mut words = text.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

/// The things to try next, each as it works here: by address, with what it needs to trust the lab.
pub fn hints(workspace: &Workspace, environment: &str, address: Ipv4Addr, facts: &NodeFacts) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let shown = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
    let whole = |path: &Path| match path.strip_prefix(&here) {
        Ok(below) => format!("$PWD/{}", below.display()),
        Err(_) => path.display().to_string(),
    };
    let lap = workspace.lab.root.join(".lap");
    let (key, known) = (whole(&lap.join("keys/admin")), whole(&known_hosts_file(workspace)));
    let (root, netrc) = (shown(&lap.join("keys/root.crt")), shown(&netrc_file(workspace, environment)));
    let mut out = String::from("\nTry next:\n");
    let runs = |name: &str| facts.containers.iter().any(|fact| fact.name == name);
    if runs("git") {
        out.push_str(&format!(
            "  GIT_SSH_COMMAND=\"ssh -i {key} -o IdentitiesOnly=yes -o UserKnownHostsFile={known}\" git clone ssh://git@{address}:{GIT_PORT}/hello\n"
        ));
    }
    let commit = facts.recorded.as_ref().value_and_complaint().0.map(|current| &current.commit);
    if let Some(commit) = commit.filter(|_| runs("registry")) {
        let lap = program();
        out.push_str(&format!("  sudo {lap} keys trust && docker pull {address}:5000/infra/{commit}/base\n"));
    }
    if runs("artifact") {
        out.push_str(&format!(
            "  curl --cacert {root} --netrc-file {netrc} -T README.md https://{address}:8443/README.md\n"
        ));
    }
    out
}

/// How a person calls this very program: by its name where that finds it, else by its path.
fn program() -> String {
    let Ok(this) = std::env::current_exe() else { return "lap".into() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("lap")).find(|path| path.is_file());
    if found.and_then(|path| path.canonicalize().ok()).is_some_and(|path| path == this) {
        return "lap".into();
    }
    this.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_not_one_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        assert_eq!(read(&path).unwrap(), None);
        fs::write(&path, "one\n").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("one\n"));
        fs::write(&path, b"\xff").unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.kind, Kind::Host);
        assert!(error.message.contains("known_hosts"), "{error}");
    }
}
