//! What each manager's files have to say. Pure.

use std::{net::Ipv4Addr, path::Path};

use lap_base::{Error, Kind, Result};

use super::{
    block, daemon,
    facts::{Manager, ResolverFacts, ResolverInputs},
    file::Content,
    record::OwnedPart,
};

/// As many servers as resolv.conf(5) takes (MAXNS), and so as many as containers ask.
pub const MOST_SERVERS: usize = 3;

pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// resolved.conf(5)
pub const RESOLVED: &str = "/etc/systemd/resolved.conf.d";
/// dnssec-trust-anchors.d(5)
pub const ANCHORS: &str = "/etc/dnssec-trust-anchors.d";
/// NetworkManager.conf(5)
pub const DNSMASQ: &str = "/etc/NetworkManager/dnsmasq.d";
pub const NETWORK_MANAGER: &str = "/etc/NetworkManager/conf.d";

/// Domains that systemd-resolved does not validate, as long as nobody has a file of such domains. As it lists them in its
/// log when it starts (version 252), together with [`reverse_not_validated`].
const NOT_VALIDATED: [&str; 9] =
    ["home.arpa", "corp", "home", "internal", "intranet", "lan", "local", "private", "test"];

/// A file as it should be.
pub struct ManagedFile {
    /// As people call it; where it leads is among the facts.
    pub path: String,
    pub style: EditStyle,
}

/// How our part is put into what is there.
pub enum EditStyle {
    /// Lines, before what is there or behind it.
    Lines { mark: char, lines: Vec<String>, first: bool },
    /// Name servers, before what is there.
    Nameservers,
    /// The key `dns`.
    Dns,
}

/// The files a lab has of its own, whatever manages names here: for what is there without a record.
pub fn own_files(lab: &str) -> [String; 4] {
    [
        format!("{RESOLVED}/lap-{lab}.conf"),
        format!("{ANCHORS}/lap-{lab}.negative"),
        format!("{DNSMASQ}/lap-{lab}.conf"),
        format!("{NETWORK_MANAGER}/lap-{lab}.conf"),
    ]
}

/// The files that make this machine ask the lab.
pub fn wanted(inputs: &ResolverInputs, facts: &ResolverFacts) -> Vec<ManagedFile> {
    let [resolved, anchors, dnsmasq, network_manager] = own_files(&inputs.lab);
    let lines = |path, mark, lines| ManagedFile { path, style: EditStyle::Lines { mark, lines, first: false } };
    let mut out = match facts.manager {
        Manager::Resolved => {
            let mut out = vec![lines(resolved, '#', resolved_lines(inputs, facts))];
            out.extend(anchor_lines(inputs, facts).map(|all| lines(anchors, ';', all)));
            out
        }
        Manager::Dnsmasq => vec![lines(dnsmasq, '#', dnsmasq_lines(inputs))],
        Manager::NetworkManager => vec![lines(network_manager, '#', network_manager_lines(inputs, facts))],
        Manager::File => vec![ManagedFile { path: RESOLV_CONF.into(), style: EditStyle::Nameservers }],
    };
    if let Some(path) = facts.docker.as_ref().filter(|_| docker_needs_it(facts)) {
        out.push(ManagedFile { path: path.display().to_string(), style: EditStyle::Dns });
    }
    out
}

/// dockerd gives its containers the servers of resolv.conf, without those on loopback: the stub's, or dnsmasq's. A list of
/// its own counts instead.
pub fn docker_needs_it(facts: &ResolverFacts) -> bool {
    let Some(path) = facts.docker.as_ref().filter(|_| !facts.docker_flag) else { return false };
    // Two labs cannot share one list: its first server that answers is believed.
    let taken = facts.others.iter().any(|other| other.files.iter().any(|f| f.path == *path));
    let ours = facts.record.iter().flat_map(|r| &r.files).find(|f| f.path == *path);
    let own = match ours {
        Some(kept) => matches!(kept.part, OwnedPart::Dns { was: Some(_), .. }),
        None => facts.files.get(path).is_some_and(|c| !matches!(daemon::read(&c.text()), Ok(None))),
    };
    !taken && (own || matches!(facts.manager, Manager::Resolved | Manager::Dnsmasq))
}

/// Puts our part into what is there without us.
///
/// # Errors
/// [`Kind::Config`]: the file is not what its reader would take.
pub fn render(
    inputs: &ResolverInputs,
    facts: &ResolverFacts,
    wanted: &ManagedFile,
    base: Option<&Content>,
) -> Result<(Content, OwnedPart)> {
    // What lap makes, everybody may read: systemd-resolved does not run as root.
    let own = Content { bytes: Vec::new(), mode: 0o644, uid: facts.owner.0, gid: facts.owner.1 };
    let base_content = base.unwrap_or(&own);
    let put = |mark, lines: &[String], first| {
        let part = block::block(&inputs.lab, mark, lines).into_bytes();
        let mut bytes = base_content.bytes.clone();
        if first {
            bytes.splice(..0, part);
        } else {
            if !bytes.is_empty() && !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
            bytes.extend(part);
        }
        Ok((base_content.with(bytes), OwnedPart::Block))
    };
    match &wanted.style {
        EditStyle::Lines { mark, lines, first } => put(*mark, lines, *first),
        EditStyle::Nameservers => {
            let others = nameservers(&base_content.text());
            let lines: Vec<_> = ours(inputs, others.len()).iter().map(|s| format!("nameserver {s}")).collect();
            put('#', &lines, true)
        }
        EditStyle::Dns => {
            let text = base_content.text();
            let path = &wanted.path;
            let was = daemon::read(&text).map_err(|why| {
                Error::new(Kind::Config, format!("`{path}`: {why}"))
                    .hint("correct it first; `dockerd --validate` checks it")
            })?;
            let others = was.as_ref().map_or(&facts.upstreams, |dns| &dns.list);
            let list = before(inputs, others, was.is_none());
            let bytes = daemon::set(&text, Some(&daemon::value(&list)));
            Ok((base_content.with(bytes), OwnedPart::Dns { list, was: was.map(|dns| dns.raw) }))
        }
    }
}

/// The lab's servers where as many others stand behind them: one other at least stays within what is asked, so that names
/// elsewhere are found while the lab is down, also by the `lap up` that ends this. glibc and Docker ask in this order; musl
/// (Alpine) asks all at once and believes the first, which is the lab unless it is far away.
pub fn ours(inputs: &ResolverInputs, others: usize) -> &[Ipv4Addr] {
    let most = MOST_SERVERS - usize::from(others > 0);
    &inputs.servers[..inputs.servers.len().min(most)]
}

/// The lab's servers before others; `cut`: no more than are asked.
fn before(inputs: &ResolverInputs, others: &[String], cut: bool) -> Vec<String> {
    let mut all: Vec<String> = ours(inputs, others.len()).iter().map(ToString::to_string).collect();
    let others: Vec<_> = others.iter().filter(|other| !all.contains(other)).cloned().collect();
    all.extend(others);
    if cut {
        all.truncate(MOST_SERVERS);
    }
    all
}

/// `nameserver` of a resolv.conf(5).
pub fn nameservers(text: &str) -> Vec<String> {
    lap_base::nameservers::all(text.as_bytes()).iter().map(ToString::to_string).collect()
}

/// The words behind each line that begins with `key`.
pub fn values(text: &str, key: &str) -> Vec<Vec<String>> {
    let lines = text.lines().map(|line| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|words| words.first().is_some_and(|word| word == key)).map(|words| words[1..].to_vec()).collect()
}

/// Only the first server: systemd-resolved stays with the next one when a server was silent once, and `git.internal` would
/// be another environment's from then on. `DNS=` without a value drops servers of other files, which know nothing of the
/// lab; they come behind ours. What is not in `Domains=` is asked of the links' servers as well, and whoever answers first
/// is believed: the lab's server forwards such names.
fn resolved_lines(inputs: &ResolverInputs, facts: &ResolverFacts) -> Vec<String> {
    let mut lines = vec!["[Resolve]".to_owned()];
    let mut servers: Vec<String> = inputs.servers.iter().take(1).map(ToString::to_string).collect();
    if !facts.global.is_empty() {
        lines.push("DNS=".into());
        servers.extend(facts.global.iter().cloned());
    }
    lines.push(format!("DNS={}", servers.join(" ")));
    let domains: Vec<_> = zones(inputs).iter().map(|zone| format!("~{zone}")).collect();
    lines.push(format!("Domains={}", domains.join(" ")));
    lines
}

/// The zones the lab answers for.
fn zones(inputs: &ResolverInputs) -> Vec<String> {
    let reverse = inputs.reverse();
    let reverse = reverse.iter().map(|[a, b, c]| format!("{c}.{b}.{a}.in-addr.arpa"));
    std::iter::once(inputs.zone().to_owned()).chain(reverse).collect()
}

/// Nobody signs the lab's zone, and the root denies that it is. A file of such domains switches off the list that is built
/// in; so there is one only where it is needed, and then it brings the list along if nobody else has a file.
fn anchor_lines(inputs: &ResolverInputs, facts: &ResolverFacts) -> Option<Vec<String>> {
    let zone = inputs.zone();
    let built_in = NOT_VALIDATED.iter().any(|n| zone == *n || zone.ends_with(&format!(".{n}")));
    if facts.anchors {
        return Some(zones(inputs));
    }
    let names = NOT_VALIDATED.iter().map(|name| (*name).to_owned());
    (!built_in).then(|| std::iter::once(zone.to_owned()).chain(names).chain(reverse_not_validated()).collect())
}

/// Private addresses, and those of RFC 7050.
fn reverse_not_validated() -> impl Iterator<Item = String> {
    let v4 = ["10".to_owned(), "168.192".to_owned(), "170.0.0.192".to_owned(), "171.0.0.192".to_owned()];
    let v4 = v4.into_iter().chain((16..32).map(|n| format!("{n}.172")));
    v4.map(|n| format!("{n}.in-addr.arpa")).chain(["d.f.ip6.arpa".to_owned(), "ipv4only.arpa".to_owned()])
}

/// Only the first server, too: dnsmasq asks all and takes whoever is quickest.
fn dnsmasq_lines(inputs: &ResolverInputs) -> Vec<String> {
    let (zone, mut lines) = (inputs.zone(), Vec::new());
    for server in inputs.servers.iter().take(1) {
        lines.push(format!("server=/{zone}/{server}"));
        lines.extend(inputs.reverse().iter().map(|[a, b, c]| format!("rev-server={a}.{b}.{c}.0/24,{server}")));
    }
    // The lab's addresses are private: with `stop-dns-rebind` such an answer would be thrown away.
    lines.push(format!("rebind-domain-ok=/{zone}/"));
    lines
}

/// Global servers count instead of every connection's, and so do global search domains: both are kept as they are now.
fn network_manager_lines(inputs: &ResolverInputs, facts: &ResolverFacts) -> Vec<String> {
    let mut lines = Vec::new();
    if !facts.search.is_empty() {
        lines.extend(["[global-dns]".to_owned(), format!("searches={}", facts.search.join(","))]);
    }
    lines.push("[global-dns-domain-*]".into());
    lines.push(format!("servers={}", before(inputs, &facts.upstreams, true).join(",")));
    lines
}

/// Whether this is a directory of files that are read with others: a name of our own there may go when it is empty.
pub fn is_own(path: &Path, lab: &str) -> bool {
    own_files(lab).iter().any(|own| Path::new(own) == path)
}
