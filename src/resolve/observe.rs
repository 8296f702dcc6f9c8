//! Who resolves names on this machine, and what its files say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use lap_base::{Error, Kind, OrError, Result, nameservers::unscoped};

use super::{
    facts::{Manager, ResolverFacts, ResolverInputs},
    file,
    manager::{ANCHORS, RESOLV_CONF, RESOLVED, nameservers, own_files, values},
    record::{self, ResolverRecord},
    tree::{follow, inside},
};

const DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// Looks at the machine whose root directory is `root` (`/`, or a test's). Reads files only.
///
/// # Errors
/// [`Kind::Config`] for a lab or a zone that cannot be called so; [`Kind::Host`] when a file cannot be read;
/// [`Kind::Refused`] when a newer lap was at work here.
pub fn observe(root: &Path, inputs: &ResolverInputs) -> Result<ResolverFacts> {
    check(inputs)?;
    let owner = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let mut facts = ResolverFacts { owner, ..ResolverFacts::default() };
    records(root, &inputs.lab, &mut facts)?;
    facts.leftover = facts.record.is_none() && ResolverRecord::left_over(root, &inputs.lab);

    let resolv = Path::new(RESOLV_CONF);
    facts.resolv = follow(root, resolv)?;
    let text = text(root, &facts.resolv);
    facts.manager = manager(root, &facts.resolv, &text)?;
    facts.search = values(&text, "search").pop().unwrap_or_default();
    facts.written_by = text.lines().find(|line| says_who(line)).map(str::to_owned);
    facts.resolvconf = inside(root, Path::new("/etc/resolvconf")).is_dir();
    facts.dhclient = inside(root, Path::new("/etc/dhcp/dhclient.conf")).is_file();
    facts.upstreams = upstreams(root, &facts, &text, inputs);
    resolved(root, inputs, &mut facts);
    docker(root, &mut facts)?;

    let own = own_files(&inputs.lab).map(PathBuf::from);
    let wished = own.into_iter().chain([resolv.to_owned()]).chain(facts.docker.clone());
    let recorded = facts.record.iter().flat_map(|record| record.files.iter().map(|kept| kept.path.clone()));
    let all: BTreeSet<PathBuf> = wished.chain(recorded).collect();
    let mut missing = BTreeSet::new();
    for path in all {
        let lead = follow(root, &path)?;
        match file::read(&inside(root, &lead)) {
            Ok(Some(content)) => {
                facts.files.insert(lead.clone(), content);
            }
            // A directory that is a file is told by who has to write into it.
            Ok(None) => {
                let above = lead.ancestors().skip(1).take_while(|dir| !inside(root, dir).exists());
                missing.extend(above.map(Path::to_owned));
            }
            Err(e) => return Err(e),
        }
        facts.leads.insert(path, lead);
    }
    facts.missing = missing.into_iter().collect();
    Ok(facts)
}

/// They become parts of paths and of files: nothing but what is meant may come through.
fn check(inputs: &ResolverInputs) -> Result<()> {
    let label = |text: &str| {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
    };
    if !label(&inputs.lab) {
        return Err(Error::new(Kind::Config, format!("a lab cannot be called `{}`", inputs.lab)));
    }
    let zone = inputs.zone();
    if zone.len() > 253 || !zone.split('.').all(label) {
        return Err(Error::new(Kind::Config, format!("`{}` is not a zone", inputs.zone))
            .hint("a zone is a domain name in lower case: `internal`"));
    }
    Ok(())
}

fn records(root: &Path, lab: &str, facts: &mut ResolverFacts) -> Result<()> {
    let dir = Path::new(record::DIRECTORY);
    let entries = match fs::read_dir(inside(root, dir)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).or_error(Kind::Host, || format!("cannot read `{}`", dir.display())),
    };
    let mut names: Vec<_> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for name in names {
        let Some(of) = name.strip_suffix(".json").filter(|_| !name.starts_with('.')) else { continue };
        let path = dir.join(&name);
        match fs::read(inside(root, &path)) {
            Ok(bytes) if of == lab => facts.record = Some(ResolverRecord::parse(&path, &bytes)?),
            Ok(bytes) => facts.others.push(ResolverRecord::parse(&path, &bytes)?),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => facts.hidden = true,
            Err(e) => return Err(e).or_error(Kind::Host, || format!("cannot read `{}`", path.display())),
        }
    }
    Ok(())
}

/// In this order: systemd-resolved, NetworkManager, the plain file.
fn manager(root: &Path, resolv: &Path, text: &str) -> Result<Manager> {
    let there = |path: &str| fs::symlink_metadata(inside(root, Path::new(path))).is_ok();
    // systemd-resolved.service(8), "/etc/resolv.conf": its stub, its list of servers, or the one that never changes.
    let stub = resolv.starts_with("/run/systemd/resolve")
        || resolv.ends_with("lib/systemd/resolv.conf")
        || nameservers(text).iter().any(|server| server == "127.0.0.53");
    // Running without its stub it is asked only through its NSS module; otherwise programs read the file that is there.
    let nss =
        values(&self::text(root, Path::new("/etc/nsswitch.conf")), "hosts:").iter().flatten().any(|w| w == "resolve");
    if stub || (nss && there("/run/systemd/units/invocation:systemd-resolved.service")) {
        return Ok(Manager::Resolved);
    }
    let by_it = resolv.starts_with("/run/NetworkManager") || text.contains("Generated by NetworkManager");
    if !by_it || !there("/run/NetworkManager") {
        return Ok(Manager::File);
    }
    Ok(match network_manager_dns(root).as_str() {
        "dnsmasq" => Manager::Dnsmasq,
        "none" => Manager::File,
        "systemd-resolved" => Manager::Resolved,
        _ => Manager::NetworkManager,
    })
}

/// `dns` of `[main]`, as NetworkManager.conf(5) says: a file of the same name in /etc hides one in /run, and that one in
/// /usr/lib; then in the order of directories and names, the last one counts.
fn network_manager_dns(root: &Path) -> String {
    let (usr, run, etc) =
        ("/usr/lib/NetworkManager/conf.d", "/run/NetworkManager/conf.d", "/etc/NetworkManager/conf.d");
    let mut files = Vec::new();
    for (dir, hidden_by) in [(usr, &[run, etc][..]), (run, &[etc][..])] {
        let shadowed = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            hidden_by.iter().any(|other| inside(root, &Path::new(other).join(name)).exists())
        };
        files.extend(list(root, dir, ".conf").into_iter().filter(|path| !shadowed(path)));
    }
    files.push("/etc/NetworkManager/NetworkManager.conf".into());
    files.extend(list(root, etc, ".conf"));
    files.iter().filter_map(|path| setting(&text(root, path), "main", "dns").pop()).next_back().unwrap_or_default()
}

/// Every value of a key in an INI file's section, in their order.
fn setting(text: &str, section: &str, key: &str) -> Vec<String> {
    let (mut here, mut out) = (false, Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = name == section;
        } else if here
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            out.push(value.trim().to_owned());
        }
    }
    out
}

/// resolved.conf(5): the main file first, then drop-ins by name, wherever they are.
fn resolved(root: &Path, inputs: &ResolverInputs, facts: &mut ResolverFacts) {
    let ours = format!("lap-{}.conf", inputs.lab);
    let mut drop_ins = BTreeMap::new();
    for dir in ["/usr/lib/systemd/resolved.conf.d", "/run/systemd/resolved.conf.d", RESOLVED] {
        for path in list(root, dir, ".conf") {
            drop_ins.insert(path.file_name().unwrap_or_default().to_owned(), path);
        }
    }
    let main = PathBuf::from("/etc/systemd/resolved.conf");
    let files = std::iter::once(&main).chain(drop_ins.values().filter(|p| !p.ends_with(&ours)));
    for path in files {
        let text = text(root, path);
        for value in setting(&text, "Resolve", "DNS") {
            match value.as_str() {
                "" => facts.global.clear(),
                value => facts.global.extend(value.split_ascii_whitespace().map(str::to_owned)),
            }
        }
        if let Some(tls) = setting(&text, "Resolve", "DNSOverTLS").pop() {
            facts.tls = matches!(tls.as_str(), "yes" | "true" | "on" | "1");
        }
    }
    let ours = format!("lap-{}.negative", inputs.lab);
    let all = [ANCHORS, "/run/dnssec-trust-anchors.d", "/usr/lib/dnssec-trust-anchors.d"];
    facts.anchors = all.iter().flat_map(|dir| list(root, dir, ".negative")).any(|p| !p.ends_with(&ours));
}

/// Servers others can ask, too: behind the stub, if there is one, and not the lab's own.
fn upstreams(root: &Path, facts: &ResolverFacts, resolv: &str, inputs: &ResolverInputs) -> Vec<String> {
    let usable = |text: &str| -> Vec<String> {
        let all = unscoped(text.as_bytes()).into_iter().filter(|server| match server {
            IpAddr::V4(address) => !address.is_loopback() && !inputs.servers.contains(address),
            // A link-local one would need its zone (`%eth0`), which daemon.json has no place for.
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        });
        all.map(|server| server.to_string()).collect()
    };
    let behind = match facts.manager {
        Manager::Resolved => "/run/systemd/resolve/resolv.conf",
        Manager::Dnsmasq => "/run/NetworkManager/no-stub-resolv.conf",
        Manager::NetworkManager | Manager::File => return usable(resolv),
    };
    usable(&text(root, Path::new(behind)))
}

/// Docker is here where its directory or its daemon is.
fn docker(root: &Path, facts: &mut ResolverFacts) -> Result<()> {
    let here = ["/etc/docker", "/usr/bin/dockerd", "/usr/sbin/dockerd", "/run/docker.sock", "/run/docker.pid"];
    if !here.iter().any(|path| inside(root, Path::new(path)).exists()) {
        return Ok(());
    }
    let pid = text(root, Path::new("/run/docker.pid"));
    let line = match pid.trim().parse::<u32>() {
        Ok(pid) => text(root, &PathBuf::from(format!("/proc/{pid}/cmdline"))),
        Err(_) => String::new(),
    };
    let words: Vec<&str> = line.split('\0').collect();
    facts.docker_flag = words.iter().any(|word| *word == "--dns" || word.starts_with("--dns="));
    let named = words.iter().enumerate().find_map(|(n, word)| match word.strip_prefix("--config-file") {
        Some("") => words.get(n + 1).copied(),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    let path = named.filter(|path| path.starts_with('/')).unwrap_or(DAEMON_JSON);
    facts.docker = Some(follow(root, Path::new(path))?);
    Ok(())
}

fn says_who(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.starts_with(['#', ';'])
        && ["generated by", "managed by", "dynamic resolv.conf"].iter().any(|w| line.contains(w))
}

/// What is in a file; nothing when it cannot be read: it then tells nothing.
fn text(root: &Path, path: &Path) -> String {
    let path = follow(root, path).unwrap_or_else(|_| path.to_owned());
    fs::read(inside(root, &path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The files of a directory that end so, by name; none when there is no directory.
fn list(root: &Path, dir: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(inside(root, Path::new(dir))).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut paths: Vec<_> =
        names.filter(|n| n.ends_with(end) && !n.starts_with('.')).map(|n| Path::new(dir).join(n)).collect();
    paths.sort();
    paths
}
