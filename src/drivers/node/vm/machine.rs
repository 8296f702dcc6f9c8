//! Makes, starts, stops and removes a virtual machine: what Vagrant needs is written first, then Vagrant is asked. Each may be
//! killed and done again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use lap_base::error::{Error, Kind, OrError, Result};

use super::{
    known::known,
    libvirt,
    spec::{HOME, VmSpec, accelerated, boot},
    vagrant::{MISSING, vagrant},
    vagrantfile, virtualbox,
};
use crate::{
    config::model::{ForeignBox, Hypervisor},
    drivers::{
        boxes,
        command::Run,
        site::{Input, Site},
    },
    report::LineSink,
};

/// So many of the console's last lines are told when it does not come up.
const CONSOLE: usize = 8;

/// A machine that came up too late is there all the same: Vagrant would remove it, and stumble over its own lock at that.
const UP: [&str; 5] = ["up", "--no-tty", "--no-color", "--no-provision", "--no-destroy-on-error"];
/// Bytes of it that are looked at.
const CONSOLE_BYTES: u64 = 8 << 10;
/// Where a box lies until Vagrant has it. No lab has such a name.
const BOXES: &str = "/var/lib/lap/.boxes";

/// What beside the desired state a machine is made with.
pub struct Parts<'a> {
    /// `None`: a box of others takes none in.
    pub seed: Option<&'a [u8]>,
    /// The private key with which Vagrant itself logs in, on its host.
    pub key: &'a Path,
    /// A hand-written Vagrantfile of the workspace.
    pub own: Option<&'a Path>,
}

/// How long a machine may take until it answers.
///
/// # Errors
/// Its host is not reached.
pub async fn patience(site: &Site) -> Result<Duration> {
    Ok(boot(accelerated(site).await?))
}

/// Gives Vagrant a box, unless it has it.
///
/// # Errors
/// Vagrant is missing, or refuses it.
pub async fn add_box(
    site: &Site,
    hypervisor: Hypervisor,
    identity: &str,
    file: &Path,
    line: &LineSink<'_>,
) -> Result<()> {
    if known(site, hypervisor).await?.iter().any(|known| known.identities().any(|is| is == identity)) {
        return Ok(());
    }
    let sent = Path::new(BOXES).join(format!("{}-{identity}.box", hypervisor.name()));
    let file = match site {
        Site::Here => file,
        Site::There(_) => {
            line(&format!("send the box{site}"));
            site.send(file, &sent).await?;
            &sent
        }
    };
    let (name, path) = (boxes::name(identity), file.display().to_string());
    box_add(site, hypervisor, &["--name", &name, &path], line).await?;
    if *file == *sent { site.remove(&[&sent]).await } else { Ok(()) }
}

/// Has Vagrant fetch a box of others, unless it has it.
///
/// # Errors
/// There is none, or not for this hypervisor.
pub async fn fetch_box(site: &Site, hypervisor: Hypervisor, foreign: &ForeignBox, line: &LineSink<'_>) -> Result<()> {
    let wanted = foreign.to_string();
    if known(site, hypervisor).await?.iter().any(|known| known.identities().any(|is| is == wanted)) {
        return Ok(());
    }
    let version: Vec<&str> = foreign.version.iter().flat_map(|version| ["--box-version", version]).collect();
    box_add(site, hypervisor, &[&version[..], &[&foreign.name]].concat(), line).await
}

async fn box_add(site: &Site, hypervisor: Hypervisor, what: &[&str], line: &LineSink<'_>) -> Result<()> {
    let always = ["box", "add", "--no-tty", "--no-color", "--provider", hypervisor.name()];
    let run = Run::new("vagrant", always.iter().chain(what).copied());
    let run = run.missing(MISSING).variable("VAGRANT_CHECKPOINT_DISABLE", "1");
    run.at_site(site).output(Kind::Host, line).await.map(drop)
}

/// The key with which Vagrant logs in to a machine on another host: made there, it opens this machine only, and does not
/// travel. Gives its public half.
///
/// # Errors
/// It cannot be made.
pub async fn make_key(spec: &VmSpec) -> Result<String> {
    make_dir(spec).await?;
    let (site, path) = (spec.site(), key(spec).display().to_string());
    let out = site.script("make a key for Vagrant", KEY, &[&path], Input::Bytes(&[])).await?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Where that key is.
pub fn key(spec: &VmSpec) -> PathBuf {
    spec.dir().join("vagrant_key")
}

/// The public half has its name first: whoever finds the other one finds both.
const KEY: &str = r#"
set -eu
if [ ! -e "$1" ]; then
    rm -f -- "$1.lap-new" "$1.lap-new.pub"
    ssh-keygen -q -t ed25519 -N '' -C vagrant -f "$1.lap-new" >&2
    mv -f -- "$1.lap-new.pub" "$1.pub"; mv -f -- "$1.lap-new" "$1"
fi
cat -- "$1.pub""#;

/// Makes or starts it, as its specification says, until it can be logged in to.
///
/// # Errors
/// Something is missing, or it does not come up: with what its console said last.
pub async fn up(spec: &VmSpec, parts: &Parts<'_>, line: &LineSink<'_>) -> Result<()> {
    write(spec, parts).await?;
    match spec.hypervisor {
        Hypervisor::Libvirt => libvirt::provide(spec).await?,
        Hypervisor::Virtualbox => virtualbox::provide(spec).await?,
    }
    let site = &spec.site();
    if adopt(spec, line).await? {
        return ask(site, spec, line).await;
    }
    match ask(site, spec, line).await {
        Err(error) if error.message.contains(LOST) => {
            line("libvirt lost an answer, trying again");
            site.remove(&[&id(spec)]).await?;
            adopt(spec, line).await?;
            ask(site, spec, line).await
        }
        made => made,
    }
}

/// What libvirt says of an error that it has lost itself. Seen when five machines were made at once on two cores: its look at what qemu can
/// do had failed, and the next one did not.
const LOST: &str = "An error occurred, but the cause is unknown";

/// Has Vagrant start it, and make it before if there is none.
async fn ask(site: &Site, spec: &VmSpec, line: &LineSink<'_>) -> Result<()> {
    let patience = patience(site).await?;
    let run = vagrant(site, &spec.lab, &spec.node, spec.hypervisor, &UP);
    let began = tokio::time::Instant::now();
    let error = match tokio::time::timeout(patience, run.output(Kind::Node, line)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) if !error.kind.is_of_node() => return Err(error),
        Ok(Err(error)) => error,
        Err(_) => {
            let message = format!("`{}` does not answer {} s after its start", spec.node, began.elapsed().as_secs());
            Error::new(Kind::Node, message).hint("the machine was not stopped: run `lap up` again to wait for it")
        }
    };
    Err(with_console(error, site, &spec.lab, &spec.node).await)
}

/// A machine that does not come up says why on its console.
pub async fn with_console(mut error: Error, site: &Site, lab: &str, node: &str) -> Error {
    let path = super::spec::dir(lab, node).join("console.log");
    let text = site.read(&path, CONSOLE_BYTES).await.ok().flatten();
    match text.as_deref().and_then(console) {
        Some(tail) => error.message = format!("{}\nits console's last lines:\n{tail}", error.message),
        None => error.hints.push(format!("its console is in `{}`{site}", path.display())),
    }
    error
}

fn console(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
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
async fn write(spec: &VmSpec, parts: &Parts<'_>) -> Result<()> {
    let (site, dir) = (spec.site(), spec.dir());
    make_dir(spec).await?;
    if let Some(seed) = parts.seed {
        // The host key is in it.
        site.write(&dir.join("seed.iso"), seed, 0o600).await?;
    }
    let copy = dir.join("Vagrantfile.own");
    let own = match (parts.own, &site) {
        (Some(path), Site::There(_)) => {
            let text = std::fs::read(path).or_error(Kind::Config, || format!("cannot read `{}`", path.display()))?;
            site.write(&copy, &text, 0o644).await?;
            Some(copy.as_path())
        }
        (own, _) => own,
    };
    let text = vagrantfile::text(spec, parts.key, own, accelerated(&site).await?);
    site.write(&dir.join("Vagrantfile"), text.as_bytes(), 0o644).await
}

/// The hypervisor's own user looks up the seed's path, nobody lists what is there.
async fn make_dir(spec: &VmSpec) -> Result<()> {
    spec.site().make_dir(&spec.dir(), 0o711).await.map_err(|error| {
        let host = spec.host.as_deref().map(|host| format!(" {host}")).unwrap_or_default();
        error.hint(format!("run `lap host install{host}` to make `{HOME}` for you there, or use root"))
    })
}

/// The last step: from here on the machine is what its specification says.
///
/// # Errors
/// It cannot be written down.
pub async fn done(spec: &VmSpec) -> Result<()> {
    let text = serde_json::to_string(spec).or_error(Kind::Other, || "made.json".into())?;
    let site = spec.site();
    site.remove(&[&stopped(&spec.lab, &spec.node)]).await?;
    site.write(&made(&spec.lab, &spec.node), text.as_bytes(), 0o644).await
}

fn made(lab: &str, node: &str) -> PathBuf {
    super::spec::dir(lab, node).join("made.json")
}

/// What the machines of a lab were made from, by node; nothing, where one was not made to its end.
///
/// # Errors
/// The host is not reached.
pub async fn specs(site: &Site, lab: &str) -> Result<BTreeMap<String, String>> {
    let dir = format!("{HOME}/{lab}");
    let out = site.script(&format!("list `{dir}`"), MADE, &[&dir], Input::Bytes(&[])).await?;
    let text = String::from_utf8_lossy(&out);
    let specs = text.split('\0').filter_map(|part| part.split_once('\n'));
    Ok(specs.map(|(node, spec)| (node.to_owned(), spec.to_owned())).collect())
}

/// Each after the name of its node, and a zero byte between them.
const MADE: &str = r#"
for dir in "$1"/*/; do
    [ -d "$dir" ] || continue
    node=${dir%/}; printf '%s\n' "${node##*/}"; [ ! -e "$dir/made.json" ] || cat -- "$dir/made.json"; printf '\0'
done"#;

/// Where Vagrant has written down which machine it made.
fn id(spec: &VmSpec) -> PathBuf {
    spec.dir().join(".vagrant/machines").join(&spec.node).join(spec.hypervisor.name()).join("id")
}

/// A machine that Vagrant was killed at: Vagrant goes on with the one it has written down, and would stumble over another. `false`: there
/// is none now.
async fn adopt(spec: &VmSpec, line: &LineSink<'_>) -> Result<bool> {
    let (site, id) = (&spec.site(), id(spec));
    let known = site.read(&id, 1).await?.is_some_and(|text| !text.is_empty());
    match spec.hypervisor {
        Hypervisor::Libvirt if known && libvirt::exists(site, &spec.domain()).await? => return Ok(true),
        Hypervisor::Virtualbox if known => return Ok(true),
        Hypervisor::Libvirt => {
            line("remove an incomplete machine");
            // A new machine has a new host key.
            site.remove(&[&id, &super::foreign::known_hosts(spec)]).await?;
            libvirt::clean(spec).await?;
        }
        Hypervisor::Virtualbox => virtualbox::clean(spec).await?,
    }
    Ok(false)
}

/// Stops it in good order.
///
/// # Errors
/// Vagrant fails.
pub async fn stop(site: &Site, lab: &str, node: &str, hypervisor: Hypervisor, line: &LineSink<'_>) -> Result<()> {
    let halt = vagrant(site, lab, node, hypervisor, &["halt", "--no-tty", "--no-color"]);
    halt.output(Kind::Node, line).await?;
    // It stays down when its host boots; the next start takes that back.
    match hypervisor {
        Hypervisor::Libvirt => libvirt::stay_down(site, &super::spec::domain(lab, node)).await,
        Hypervisor::Virtualbox => site.write(&stopped(lab, node), b"", 0o644).await,
    }
}

/// What a VirtualBox machine has that stays down; others come up with their host.
fn stopped(lab: &str, node: &str) -> PathBuf {
    super::spec::dir(lab, node).join("stopped")
}

/// Removes it. Its data disk is detached first, and stays.
///
/// # Errors
/// Vagrant fails, or the hypervisor refuses.
pub async fn remove(spec: &VmSpec, running: bool, line: &LineSink<'_>) -> Result<()> {
    let site = &spec.site();
    if running && let Err(error) = stop(site, &spec.lab, &spec.node, spec.hypervisor, line).await {
        // It goes anyway, and its data are on a disk that outlives a power cut.
        line(&format!("it does not shut down: {error}"));
    }
    site.remove(&[&made(&spec.lab, &spec.node)]).await?;
    match spec.hypervisor {
        Hypervisor::Libvirt => libvirt::detach(site, &spec.domain(), &spec.lab, &spec.node).await?,
        Hypervisor::Virtualbox => virtualbox::detach(site, &spec.domain()).await?,
    }
    let force = ["destroy", "--force", "--no-tty", "--no-color"];
    let destroy = vagrant(site, &spec.lab, &spec.node, spec.hypervisor, &force);
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
pub async fn remove_data(site: &Site, lab: &str, node: &str, hypervisor: Hypervisor) -> Result<()> {
    match hypervisor {
        Hypervisor::Libvirt => libvirt::remove_data(site, lab, node).await?,
        Hypervisor::Virtualbox => virtualbox::remove_data(site, lab, node).await?,
    }
    let dir = super::spec::dir(lab, node);
    let lab = Path::new(HOME).join(lab);
    // Of an earlier lap.
    site.remove(&[&dir, &lab.join("network.xml")]).await?;
    site.remove_empty(&lab).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_told_without_its_colours() {
        let text = b"\x1b[H\x1b[J\x1b[1;1H\r\none\r\n\x1b[0;32mtwo\x1b[0m\r\n\r\n";
        assert_eq!(console(text).as_deref(), Some("one\ntwo"));
        assert_eq!(console(b"\r\n"), None);
    }

    /// What is read of several machines at once is told apart.
    #[tokio::test]
    async fn what_machines_were_made_from_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for (node, text) in [("one", "{\n\"a\": 1}"), ("two", "{}")] {
            std::fs::create_dir(dir.path().join(node)).unwrap();
            std::fs::write(dir.path().join(node).join("made.json"), text).unwrap();
        }
        std::fs::create_dir(dir.path().join("half")).unwrap();
        let dir = dir.path().to_str().unwrap();
        let out = Site::Here.script("look", MADE, &[dir], Input::Bytes(&[])).await.unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "half\n\0one\n{\n\"a\": 1}\0two\n{}\0");
        let out = Site::Here.script("look", MADE, &["/nowhere"], Input::Bytes(&[])).await.unwrap();
        assert!(out.is_empty());
    }

    #[tokio::test]
    async fn a_key_for_vagrant_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vagrant_key");
        let path = path.to_str().unwrap();
        let make = async || {
            let out = Site::Here.script("make a key", KEY, &[path], Input::Bytes(&[])).await.unwrap();
            String::from_utf8(out).unwrap()
        };
        let first = make().await;
        assert!(first.starts_with("ssh-ed25519 AAAA") && first.lines().count() == 1, "{first}");
        // Killed in the middle of it.
        std::fs::write(format!("{path}.lap-new"), "").unwrap();
        assert_eq!(make().await, first);
        std::fs::remove_file(path).unwrap();
        let second = make().await;
        assert_ne!(second, first);
        let read = std::process::Command::new("ssh-keygen").args(["-yf", path]).output().unwrap();
        assert!(second.starts_with(String::from_utf8_lossy(&read.stdout).trim()), "both halves are of one key");
    }
}
