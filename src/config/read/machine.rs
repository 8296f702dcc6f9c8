//! The tables of a `node.toml` that belong to one provider.

use crate::config::{
    document::{Item, Schema, schema::key},
    model::{ForeignBox, Hypervisor, SshMachine, Vm},
    problem::shown,
    value::public_key::public_key,
};

/// The keys of `[ssh]`.
pub const SSH: Schema = Schema {
    keys: &[
        key("destination", r#""admin@server""#),
        key("host_key", r#""ssh-ed25519 AAAA…""#),
        key("device", r#""/dev/disk/by-id/…""#),
    ],
    refused: &[],
};

/// Reads `[ssh]`.
pub fn ssh(item: &Item<'_>) -> Option<SshMachine> {
    let table = item.table()?.with(&SSH);
    let host_key = table.get("host_key").and_then(|item| item.parse(public_key));
    let device = table.get("device").and_then(|item| item.parse(device));
    let destination = table.require("destination").and_then(|item| item.parse(destination))?;
    Some(SshMachine { destination, host_key, device })
}

/// The keys of `[vm]`.
pub const VM: Schema = Schema {
    keys: &[
        key("host", r#""office2""#),
        key("hypervisor", r#""libvirt""#),
        key("bridge", r#""br0""#),
        key("box", r#""debian/bookworm64""#),
        key("box_version", r#""12.20250126.1""#),
    ],
    refused: &[],
};

/// Reads `[vm]`.
pub fn vm(item: &Item<'_>) -> Option<Vm> {
    let table = item.table()?.with(&VM);
    let hypervisor = table.get("hypervisor").and_then(|item| item.parse(hypervisor)).unwrap_or_default();
    let host = table.get("host").and_then(|item| item.parse(destination));
    let bridge = table.get("bridge").and_then(|item| item.parse(bridge));
    let (item, version) = (table.get("box"), table.get("box_version"));
    if let (None, Some(version)) = (&item, &version) {
        version.problem("is the version of `box`: write `box`, too");
    }
    let version = version.and_then(|item| item.parse(box_version));
    let name = item.as_ref().and_then(|item| item.parse(box_name));
    if let (Some(item), Hypervisor::Virtualbox) = (&item, hypervisor) {
        item.problem("a third-party box needs libvirt: remove `box` to use lap's own box");
    }
    Some(Vm { host, hypervisor, bridge, foreign: name.map(|name| ForeignBox { name, version }) })
}

/// A box as Vagrant lists it. It is a word of Vagrant's command line and of its file.
fn box_name(text: &str) -> Result<String, String> {
    let part = |part: &str| !part.starts_with(['-', '.']) && plain(part);
    if text.starts_with("lap/") {
        return Err(format!("{} is a box that lap makes: remove `box`", shown(text)));
    }
    let good = text.split('/').all(part) && text.split('/').count() <= 2;
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{} is not a box: write its name, e.g. `debian/bookworm64`", shown(text)))
}

/// One version, so that the same file means the same machine.
fn box_version(text: &str) -> Result<String, String> {
    let good = text.starts_with(|c: char| c.is_ascii_digit()) && plain(text);
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{} is not a version: write one of the box's, e.g. `12.20250126.1`", shown(text)))
}

fn plain(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn hypervisor(text: &str) -> Result<Hypervisor, String> {
    match text {
        "libvirt" => Ok(Hypervisor::Libvirt),
        "virtualbox" => Ok(Hypervisor::Virtualbox),
        _ => Err(format!("{} is not a hypervisor: write `libvirt` or `virtualbox`", shown(text))),
    }
}

/// A network interface's name. VirtualBox' ones may have spaces and more behind a colon.
fn bridge(text: &str) -> Result<String, String> {
    let good = !text.is_empty()
        && text.len() <= 64
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" ._-:()".contains(&b));
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{} is not a bridge: write its name, e.g. `br0` (`ip link` lists them)", shown(text)))
}

/// What ssh(1) takes as its destination. It becomes a word of a command line: nothing that could be an option, nothing
/// that a shell would see (a `ProxyCommand` is one).
pub fn destination(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("ssh://").unwrap_or(text);
    let good = !bare.is_empty()
        && !bare.starts_with(['-', '@', ':', '.'])
        && bare.chars().filter(|c| *c == '@').count() <= 1
        && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:[]".contains(&b))
        && !bare.split('@').next_back().is_some_and(|host| host.is_empty() || host.starts_with('-'));
    if good {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a machine: write what `ssh` takes, e.g. `admin@server`, `ssh://admin@server:2222`, or a name of \
         `~/.ssh/config`",
        shown(text)
    ))
}

fn device(text: &str) -> Result<String, String> {
    let good = text.starts_with("/dev/") && !text.contains("/../") && !text.chars().any(char::is_whitespace);
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{} is not a device: write its path, e.g. `/dev/disk/by-id/…`", shown(text)))
}
