//! Makes, starts, stops and removes a virtual machine: what Vagrant needs is written first, then Vagrant is asked. Each may be
//! killed and done again.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Spec, accelerated, libvirt, seed, vagrant_home, vagrantfile, virtualbox};
use crate::{
    config::model::Hypervisor,
    drivers::{boxes, command::Run},
    error::{Error, Kind, OrError, Result},
    report::Line,
};

/// So long a machine may take until it can be logged in to. Emulated, everything takes ten times as long.
const BOOT: Duration = Duration::from_secs(180);
const BOOT_EMULATED: Duration = Duration::from_secs(600);
/// So many of the console's last lines are told when it does not come up.
const CONSOLE: usize = 8;

/// What beside the wish a machine is made with.
pub struct Parts<'a> {
    pub seed: &'a [u8],
    /// The private key with which Vagrant itself logs in.
    pub key: &'a Path,
    /// A hand-written Vagrantfile of the workspace.
    pub own: Option<&'a Path>,
}

/// How long a machine may take until it answers.
pub fn patience() -> Duration {
    if accelerated() { BOOT } else { BOOT_EMULATED }
}

/// Gives Vagrant a box, unless it has it.
///
/// # Errors
/// Vagrant is missing, or refuses it.
pub async fn add_box(hypervisor: Hypervisor, identity: &str, file: &Path, line: &Line<'_>) -> Result<()> {
    if super::known_boxes(hypervisor).iter().any(|known| known == identity) {
        return Ok(());
    }
    let (name, file) = (boxes::name(identity), file.display().to_string());
    let arguments = ["box", "add", "--no-tty", "--no-color", "--name", &name, "--provider", hypervisor.name(), &file];
    let run = Run::new("vagrant", arguments).missing(MISSING).variable("VAGRANT_CHECKPOINT_DISABLE", "1");
    run.output(Kind::Host, line).await.map(drop)
}

const MISSING: &str = "`sudo apt-get install vagrant` (for libvirt `vagrant-libvirt`, too)";

fn vagrant(lab: &str, node: &str, hypervisor: Hypervisor, arguments: &[&str]) -> Run {
    let dir = super::dir(lab, node).display().to_string();
    Run::new("vagrant", arguments.iter().copied())
        .missing(MISSING)
        .variable("VAGRANT_DOTFILE_PATH", format!("{dir}/.vagrant"))
        .variable("VAGRANT_CWD", dir)
        .variable("VAGRANT_HOME", vagrant_home().display().to_string())
        .variable("VAGRANT_DEFAULT_PROVIDER", hypervisor.name())
        .variable("VAGRANT_CHECKPOINT_DISABLE", "1")
}

/// Makes or starts it, as its specification says, until it can be logged in to.
///
/// # Errors
/// Something is missing, or it does not come up: with what its console said last.
pub async fn up(spec: &Spec, parts: &Parts<'_>, line: &Line<'_>) -> Result<()> {
    write(spec, parts)?;
    match spec.hypervisor {
        Hypervisor::Libvirt => libvirt::provide(spec).await?,
        Hypervisor::Virtualbox => virtualbox::provide(spec).await?,
    }
    adopt(spec, line).await?;
    let patience = patience();
    let run = vagrant(&spec.lab, &spec.node, spec.hypervisor, &["up", "--no-tty", "--no-color", "--no-provision"]);
    let began = tokio::time::Instant::now();
    let error = match tokio::time::timeout(patience, run.output(Kind::Node, line)).await {
        Ok(Ok(_)) => return done(spec),
        Ok(Err(error)) if error.kind != Kind::Node => return Err(error),
        Ok(Err(error)) => error,
        Err(_) => {
            let message = format!("`{}` does not answer {} s after its start", spec.node, began.elapsed().as_secs());
            Error::new(Kind::Node, message).hint("`lap up` again waits again; it was not stopped")
        }
    };
    Err(with_console(error, &spec.lab, &spec.node))
}

/// A machine that does not come up says why on its console.
pub fn with_console(mut error: Error, lab: &str, node: &str) -> Error {
    let path = super::dir(lab, node).join("console.log");
    match console(&path) {
        Some(tail) => error.message = format!("{}\nits console's last lines:\n{tail}", error.message),
        None => error.hints.push(format!("its console is in `{}`", path.display())),
    }
    error
}

fn console(path: &Path) -> Option<String> {
    let text = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(8 << 10)..]).into_owned();
    let clean = |line: &str| -> String {
        // Without the colours and cursor movements: ESC [ … letter.
        let mut out = String::new();
        let mut inside = false;
        for c in line.chars() {
            match (inside, c) {
                (false, '\u{1b}') => inside = true,
                (false, c) if !c.is_control() => out.push(c),
                (true, c) if c.is_ascii_alphabetic() => inside = false,
                _ => {}
            }
        }
        out.trim_end().to_owned()
    };
    let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(CONSOLE)..].join("\n");
    (!tail.is_empty()).then_some(tail)
}

/// What Vagrant reads, and the seed. Only what changed is written.
fn write(spec: &Spec, parts: &Parts<'_>) -> Result<()> {
    let dir = spec.dir();
    fs::create_dir_all(&dir).map_err(|error| {
        Error::new(Kind::Host, format!("cannot make `{}`: {error}", dir.display()))
            .hint(format!("`sudo install -d -o $USER {}`, once, or run as root", super::HOME))
    })?;
    // The hypervisor's own user looks up the seed's path, nobody lists what is there.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))
        .or_error(Kind::Host, || format!("cannot protect `{}`", dir.display()))?;
    seed::write(&dir.join("seed.iso"), parts.seed)?;
    let text = vagrantfile::text(spec, parts.key, parts.own, accelerated());
    put(&dir.join("Vagrantfile"), &text)
}

fn put(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|is| is == text) {
        return Ok(());
    }
    crate::agent::install::write_file(path, text.as_bytes(), 0o644)
}

/// The last step: from here on the machine is what its specification says.
fn done(spec: &Spec) -> Result<()> {
    let text = serde_json::to_string_pretty(spec).or_error(Kind::Other, || "made.json".into())?;
    put(&made(&spec.lab, &spec.node), &text)
}

fn made(lab: &str, node: &str) -> PathBuf {
    super::dir(lab, node).join("made.json")
}

/// A machine that Vagrant was killed at: Vagrant goes on with the one it has written down, and would stumble over another.
async fn adopt(spec: &Spec, line: &Line<'_>) -> Result<()> {
    let id = spec.dir().join(".vagrant/machines").join(&spec.node).join(spec.hypervisor.name()).join("id");
    let known = fs::metadata(&id).is_ok_and(|meta| meta.len() > 0);
    match spec.hypervisor {
        Hypervisor::Libvirt if known && libvirt::exists(&spec.domain()).await? => Ok(()),
        Hypervisor::Virtualbox if known => Ok(()),
        Hypervisor::Libvirt => {
            line("clean what is half made");
            let _ = fs::remove_file(&id);
            libvirt::clean(spec).await
        }
        Hypervisor::Virtualbox => virtualbox::clean(spec).await,
    }
}

/// Stops it in good order.
///
/// # Errors
/// Vagrant fails.
pub async fn stop(lab: &str, node: &str, hypervisor: Hypervisor, line: &Line<'_>) -> Result<()> {
    vagrant(lab, node, hypervisor, &["halt", "--no-tty", "--no-color"]).output(Kind::Node, line).await.map(drop)
}

/// Removes it. Its data disk is detached first, and stays.
///
/// # Errors
/// Vagrant fails, or the hypervisor refuses.
pub async fn remove(spec: &Spec, running: bool, line: &Line<'_>) -> Result<()> {
    if running && let Err(error) = stop(&spec.lab, &spec.node, spec.hypervisor, line).await {
        // It goes anyway, and its data are on a disk that outlives a power cut.
        line(&format!("it does not stop by itself: {error}"));
    }
    let _ = fs::remove_file(made(&spec.lab, &spec.node));
    match spec.hypervisor {
        Hypervisor::Libvirt => libvirt::detach(&spec.domain(), &spec.lab, &spec.node).await?,
        Hypervisor::Virtualbox => virtualbox::detach(&spec.domain()).await?,
    }
    let destroy = vagrant(&spec.lab, &spec.node, spec.hypervisor, &["destroy", "--force", "--no-tty", "--no-color"]);
    destroy.output(Kind::Node, line).await?;
    // What Vagrant did not know of.
    match spec.hypervisor {
        Hypervisor::Libvirt => libvirt::clean(spec).await,
        Hypervisor::Virtualbox => virtualbox::clean(spec).await,
    }
}

/// Removes its data, and what was written for it.
///
/// # Errors
/// The hypervisor refuses.
pub async fn remove_data(lab: &str, node: &str, hypervisor: Hypervisor) -> Result<()> {
    match hypervisor {
        Hypervisor::Libvirt => libvirt::remove_data(lab, node).await?,
        Hypervisor::Virtualbox => virtualbox::remove_data(lab, node).await?,
    }
    let dir = super::dir(lab, node);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::new(Kind::Host, format!("cannot remove `{}`: {error}", dir.display())));
        }
        _ => {}
    }
    if let Some(parent) = dir.parent() {
        let _ = fs::remove_file(parent.join("network.xml"));
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_told_without_its_colours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        fs::write(&path, "\u{1b}[H\u{1b}[J\u{1b}[1;1H\r\none\r\n\u{1b}[0;32mtwo\u{1b}[0m\r\n\r\n").unwrap();
        assert_eq!(console(&path).as_deref(), Some("one\ntwo"));
        assert_eq!(console(&dir.path().join("nothing")), None);
    }
}
