//! The workspace that is made for it: small, since all of it may have to go through an emulated network card, and with what a node
//! needs from this very repository.

use std::{fs, net::Ipv4Addr, path::Path};

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature};
use lap_base::error::{Error, Kind, OrError, Result};

use super::scenario::On;
use crate::config::{self, model::Subnet};

/// The node that is looked at, and its environment.
pub const NODE: &str = "prod";
/// Where a promotion comes from: always a container, so that it also crosses from one kind of node to the other.
pub const OTHER: &str = "test";
/// What is served before and after the promotion.
pub const FIRST: &str = "one\n";
pub const SECOND: &str = "two\n";
/// The file that says so.
pub const SAY: &str = "containers/one/say";

/// What `NODE` is.
pub const NODE_FILE: &str = "nodes/prod/node.toml";

/// Writes it. `other`: also where a promotion comes from; `taken`: networks of this machine.
///
/// # Errors
/// A file cannot be written, or no range of addresses is free.
pub fn write(root: &Path, lab: &str, on: On, other: bool, taken: &[Subnet]) -> Result<()> {
    let template = |path: &str| {
        let text = config::template(path).and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.ok_or_else(|| Error::new(Kind::Other, format!("`{path}` is not in this binary")))
    };
    // There is no `base` here, and nothing is checked.
    let dns = template("containers/dns/container.toml")?.replace("image = \"base\"", "image = \"one\"");
    // It runs as root, and reads the secrets where they are mounted.
    let door = |name: &str| {
        template(&format!("containers/registry/{name}.yml")).map(|text| text.replace("/run/service/", "/run/secrets/"))
    };
    let (read, write) = (door("read")?, door("write")?);
    let lap = include_str!("files/lap.toml").replace("\"LAB\"", &format!("\"{lab}\""));
    let machine = machine(on, taken)?;
    let mut files = vec![
        ("lap.toml", lap.as_str()),
        (".gitignore", "/.lap\n"),
        ("nodes/rootfs.toml", template("nodes/rootfs.toml")?),
        ("containers/dns/Dockerfile", template("containers/dns/Dockerfile")?),
        ("containers/dns/container.toml", &dns),
        ("containers/one/Dockerfile", include_str!("files/one.Dockerfile")),
        ("containers/one/container.toml", include_str!("files/one.toml")),
        (SAY, FIRST),
        ("containers/registry/Dockerfile", include_str!("files/registry.Dockerfile")),
        ("containers/registry/container.toml", include_str!("files/registry.toml")),
        ("containers/registry/serve", include_str!("files/registry.serve")),
        ("containers/registry/read.yml", &read),
        ("containers/registry/write.yml", &write),
    ];
    // `lap node add` writes that of a machine that exists.
    if on != On::Ssh {
        files.push((NODE_FILE, &machine));
    }
    if other {
        files.push(("env/prod/env.toml", "description = \"under test\"\npromote_from = \"test\"\n"));
        files.push(("env/test/env.toml", "description = \"source of promotions\"\n"));
        files.push(("nodes/test/node.toml", TEST));
        // A container makes the images of what may be emulated.
        if on != On::Docker {
            files.push(("nodes/builder/node.toml", BUILDER));
        }
    } else {
        files.push(("env/prod/env.toml", "description = \"under test\"\n"));
    }
    for (path, text) in files {
        put(&root.join(path), text)?;
    }
    let mut options = RepositoryInitOptions::new();
    options.initial_head("master").external_template(false);
    Repository::init_opts(root, &options).map_err(|error| git(root, &error))?;
    commit(root)
}

const TEST: &str = "environment = \"test\"\nrole = \"master\"\naddress = \".10\"\ndisk = \"1g\"\n";
const BUILDER: &str = "environment = \"prod\"\nrole = \"builder\"\ndisk = \"1g\"\n";

/// `node.toml` of the node that is looked at.
fn machine(on: On, taken: &[Subnet]) -> Result<String> {
    if on == On::Docker {
        return Ok(TEST.replace("\"test\"", "\"prod\"").replace("\".10\"", "\".11\""));
    }
    // All of them are in the range that VirtualBox allows without being asked.
    let free = (57..64).rev().map(|third| Ipv4Addr::new(192, 168, third, 10));
    let address = free.into_iter().find(|address| !taken.iter().any(|route| route.holds(*address)));
    let address = address.ok_or_else(|| {
        Error::new(Kind::Host, "all networks from 192.168.57.0/24 to 192.168.63.0/24 are in use on this machine")
    })?;
    Ok(format!(
        "environment = \"prod\"\nrole = \"master\"\nprovider = \"vagrant\"\naddress = \"{address}\"\ncpus = 2\n\
         memory = \"1g\"\ndisk = \"1g\"\n\n[vm]\nhypervisor = \"{}\"\n",
        on.name()
    ))
}

/// Writes a file of the workspace.
///
/// # Errors
/// It cannot be written.
pub fn put(path: &Path, text: &str) -> Result<()> {
    let what = || format!("cannot write `{}`", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).or_error(Kind::Host, what)?;
    }
    fs::write(path, text).or_error(Kind::Host, what)
}

/// Commits all of it.
///
/// # Errors
/// git refuses.
pub fn commit(root: &Path) -> Result<()> {
    let done = || -> Result<(), git2::Error> {
        let repository = Repository::open(root)?;
        let mut index = repository.index()?;
        index.add_all(["*"], IndexAddOption::DEFAULT, None)?;
        index.write()?;
        let tree = repository.find_tree(index.write_tree()?)?;
        let who = Signature::now("lap", "lap@internal")?;
        let parent = repository.head().ok().and_then(|head| head.peel_to_commit().ok());
        let parents: Vec<_> = parent.iter().collect();
        repository.commit(Some("HEAD"), &who, &who, "conformance", &tree, &parents).map(drop)
    };
    done().map_err(|error| git(root, &error))
}

fn git(root: &Path, error: &git2::Error) -> Error {
    Error::new(Kind::Host, format!("cannot commit in `{}`: {}", root.display(), error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::machine_file,
        conformance::{bare::Bare, scenario::On},
    };

    const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0a+cXpwzvxUZ6hmpdGGgLAP6zYMHZKdDP0zX0yUuZ0";

    #[test]
    fn the_workspace_is_right_for_every_kind_of_node() {
        for on in [On::Docker, On::Libvirt, On::Virtualbox, On::Ssh] {
            for other in [true, false] {
                let dir = tempfile::tempdir().unwrap();
                write(dir.path(), "lab-name", on, other, &[]).unwrap();
                if on == On::Ssh {
                    let machine = machine_file(NODE, "master", [10, 0, 0, 1].into(), "server", HOST_KEY, None);
                    put(&dir.path().join(NODE_FILE), &Bare::small(&machine)).unwrap();
                }
                let lab = config::load(dir.path(), None).unwrap();
                assert_eq!((lab.name.as_str(), lab.default_environment.as_str()), ("lab-name", NODE));
                assert_eq!(lab.environments.contains_key(OTHER), other);
                assert_eq!(lab.containers.len(), 3);
                assert_eq!(lab.environments[NODE].builder.is_some(), other && on != On::Docker);
            }
        }
    }

    #[test]
    fn its_addresses_are_nobody_elses() {
        let taken = |prefix| Subnet { base: [192, 168, 63, 0].into(), prefix };
        assert!(machine(On::Libvirt, &[]).unwrap().contains("\"192.168.63.10\""));
        assert!(machine(On::Libvirt, &[taken(24)]).unwrap().contains("\"192.168.62.10\""));
        let all = Subnet { base: [192, 168, 0, 0].into(), prefix: 16 };
        assert!(machine(On::Libvirt, &[all]).unwrap_err().message.contains("are in use on this machine"));
        assert!(machine(On::Docker, &[all]).unwrap().contains("\".11\""));
    }
}
