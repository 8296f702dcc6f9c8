//! What the lab needs, and how this machine resolves names.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use super::{file::Content, record::ResolverRecord};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct ResolverInputs {
    /// The lab's name.
    pub lab: String,
    /// The lab's zone; with or without its final dot.
    pub zone: String,
    /// The lab's name servers, the default environment's first.
    pub servers: Vec<Ipv4Addr>,
    /// Addresses that have names in the lab: their reverse zones are the lab's, too.
    pub addresses: Vec<Ipv4Addr>,
    /// Take it back instead. Needs nothing but the lab's name.
    pub undo: bool,
}

/// Who turns names into addresses on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manager {
    /// systemd-resolved, which programs ask through resolv.conf or the NSS module `resolve`.
    Resolved,
    /// NetworkManager with `dns=dnsmasq`: a dnsmasq of its own on loopback.
    Dnsmasq,
    /// NetworkManager, which writes the servers into resolv.conf.
    NetworkManager,
    /// Nobody that lap knows: programs read resolv.conf(5), whoever wrote it.
    #[default]
    File,
}

/// What is on this machine. All paths as seen from its root directory, symbolic links followed.
#[derive(Clone, Debug, Default)]
pub struct ResolverFacts {
    pub manager: Manager,
    /// User and group of files that are made.
    pub owner: (u32, u32),
    /// `/etc/resolv.conf`, or where it leads.
    pub resolv: PathBuf,
    /// Servers that are asked now, without those on loopback: behind the stub, if there is one.
    pub upstreams: Vec<String>,
    /// `search` of resolv.conf.
    pub search: Vec<String>,
    /// Who says in resolv.conf to have written it: that line.
    pub written_by: Option<String>,
    /// resolv.conf is made anew by these, as their directory or file shows.
    pub resolvconf: bool,
    pub dhclient: bool,
    /// `DNS=` of systemd-resolved, other than ours.
    pub global: Vec<String>,
    /// Somebody has negative trust anchors: systemd-resolved then forgets those that are built in.
    pub anchors: bool,
    /// systemd-resolved has to use TLS.
    pub tls: bool,
    /// Docker's `daemon.json`, if Docker is here.
    pub docker: Option<PathBuf>,
    /// dockerd runs with `--dns`: with the same in `daemon.json` it would not start.
    pub docker_flag: bool,
    /// Where the wanted paths lead; content of what is there.
    pub leads: BTreeMap<PathBuf, PathBuf>,
    pub files: BTreeMap<PathBuf, Content>,
    /// Directories above them that are not there yet.
    pub missing: Vec<PathBuf>,
    /// This lab's record.
    pub record: Option<ResolverRecord>,
    /// A run was killed before its record was whole: then nothing else was done.
    pub leftover: bool,
    /// There is one, but only root may read it.
    pub hidden: bool,
    /// Records of other labs.
    pub others: Vec<ResolverRecord>,
}

impl Manager {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolved => "systemd-resolved",
            Self::Dnsmasq => "NetworkManager's dnsmasq",
            Self::NetworkManager => "NetworkManager",
            Self::File => "resolv.conf",
        }
    }

    /// What makes it read its files again.
    pub(super) fn reload(self) -> &'static [&'static str] {
        match self {
            // Up to version 255 it cannot read its files again while it runs.
            Self::Resolved => &["systemctl", "reload-or-restart", "systemd-resolved"],
            // nmcli(1): dnsmasq itself has to be started again for its files.
            Self::Dnsmasq => &["nmcli", "general", "reload", "dns-full"],
            Self::NetworkManager => &["nmcli", "general", "reload", "conf"],
            Self::File => &[],
        }
    }
}

impl ResolverInputs {
    /// Without its final dot.
    pub(super) fn zone(&self) -> &str {
        self.zone.trim_end_matches('.')
    }

    /// `214.86.10`: the /24 networks whose reverse zone is the lab's, as its server has it. Of public addresses none.
    pub(super) fn reverse(&self) -> Vec<[u8; 3]> {
        let private = |a: &&Ipv4Addr| a.is_private() || (a.octets()[0] == 100 && a.octets()[1] & 0xc0 == 64); // RFC 6598
        let addresses = self.servers.iter().chain(&self.addresses).filter(private);
        let mut all: Vec<[u8; 3]> = addresses.map(|a| [a.octets()[0], a.octets()[1], a.octets()[2]]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
