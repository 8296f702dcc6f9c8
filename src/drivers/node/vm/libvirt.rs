//! libvirt's own tool, virsh(1), for what Vagrant does not do: the data disk, the network, and looking.

use std::{collections::BTreeSet, net::Ipv4Addr, path::Path, time::Duration};

use lap_base::error::{Error, Kind, Result};

use super::spec::VmSpec;
use crate::{
    config::model::Subnet,
    drivers::{command::Run, site::Site},
};

/// The host's machines, not a person's own.
pub const URI: &str = "qemu:///system";
/// Where the pool's disks lie. No lab has such a name.
const DISKS: &str = "/var/lib/lap/.disks";

/// The network of a lab's machines.
pub fn network_name(lab: &str) -> String {
    format!("lap-{lab}")
}

/// The data disk's name in the pool.
pub fn disk_name(lab: &str, node: &str) -> String {
    format!("{lab}-{node}-data.qcow2")
}

async fn virsh(site: &Site, arguments: &[&str]) -> Result<String> {
    let run = Run::new("virsh", ["--quiet", "--connect", URI].iter().chain(arguments).copied())
        .missing("`sudo apt-get install libvirt-daemon-system libvirt-clients vagrant-libvirt qemu-system-x86`");
    run.at_site(site).quiet(Kind::Host).await.map_err(|error| {
        if error.message.contains("failed to connect to the hypervisor") {
            let place = site.host().map_or("this machine".into(), |host| format!("`{host}`"));
            return Error::new(Kind::Host, format!("libvirt does not answer on {place}"))
                .hint("start it with `sudo systemctl start libvirtd`; users need the group `libvirt`")
                .hint("`lap host install` prepares a machine to run nodes");
        }
        error
    })
}

/// The lab's machines with their state, and the nodes with a data disk.
///
/// # Errors
/// libvirt does not answer.
pub async fn list(site: &Site, lab: &str) -> Result<(Vec<(String, String)>, BTreeSet<String>)> {
    let ours = format!("lap-{lab}-");
    let domains = virsh(site, &["list", "--all"]).await?;
    let domains = domains.lines().filter_map(parse_domain).filter(|(name, _)| name.starts_with(&ours)).collect();
    // No pool: no disks.
    let volumes = virsh(site, &["vol-list", POOL]).await.unwrap_or_default();
    let node = |line: &str| {
        let name = line.split_whitespace().next()?.strip_prefix(&format!("{lab}-"))?;
        name.strip_suffix("-data.qcow2").map(str::to_owned)
    };
    Ok((domains, volumes.lines().filter_map(node).collect()))
}

/// ` 3   name   shut off`
fn parse_domain(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let (_, name) = (words.next()?, words.next()?);
    Some((name.to_owned(), words.collect::<Vec<_>>().join(" ")))
}

/// Whether there is a machine of this name.
///
/// # Errors
/// libvirt does not answer.
pub async fn exists(site: &Site, domain: &str) -> Result<bool> {
    let names = virsh(site, &["list", "--all", "--name"]).await?;
    Ok(names.lines().any(|name| name.trim() == domain))
}

/// So long a machine may take to say its address: one that hangs keeps nobody waiting.
const ANSWER: Duration = Duration::from_secs(3);

/// The address of a machine's network card, as the machine says (`agent::guest`); `None`: it has none.
///
/// # Errors
/// It does not say anything: it boots, or hangs.
pub async fn address(site: &Site, domain: &str, mac: &str) -> Result<Option<Ipv4Addr>> {
    let asked = tokio::time::timeout(ANSWER, virsh(site, &["domifaddr", domain, "--full", "--source", "agent"])).await;
    let silent = |_| Error::new(Kind::Node, format!("`{domain}` does not report its address"));
    Ok(asked.map_err(silent)??.lines().find_map(|line| parse_address(line, mac)))
}

/// ` eth1       52:54:00:0e:7f:90    ipv4         192.168.1.57/24`
fn parse_address(line: &str, mac: &str) -> Option<Ipv4Addr> {
    let mut words = line.split_whitespace().skip(1);
    let (_, _) = (words.next().filter(|is| *is == mac)?, words.next().filter(|is| *is == "ipv4")?);
    let address: Ipv4Addr = words.next()?.split('/').next()?.parse().ok()?;
    // Such a one is nobody's in a network.
    let nobodys =
        address.is_loopback() || address.is_link_local() || address.is_multicast() || address.is_unspecified();
    (!nobodys && !address.is_broadcast()).then_some(address)
}

/// The pool, the lab's network with the machine's address in it, and its data disk: each made where it is missing.
///
/// # Errors
/// libvirt refuses.
pub async fn provide(spec: &VmSpec) -> Result<()> {
    let site = &spec.site();
    pool(site).await?;
    if let (None, Some(address), Some(range)) = (&spec.bridge, spec.address, spec.network()) {
        network(site, spec, address, range).await?;
    }
    let (name, size) = (disk_name(&spec.lab, &spec.node), format!("{}B", spec.disk));
    match volume(site, &name).await? {
        None => virsh(site, &["vol-create-as", POOL, &name, &size, "--format", "qcow2"]).await.map(drop),
        Some(is) if is < spec.disk => virsh(site, &["vol-resize", "--pool", POOL, &name, &size]).await.map(drop),
        Some(_) => Ok(()),
    }
}

async fn pool(site: &Site) -> Result<()> {
    if let Ok(info) = virsh(site, &["pool-info", POOL]).await {
        if !info.lines().any(|line| line.starts_with("State:") && line.ends_with("running")) {
            site.make_dir(Path::new(DISKS), 0o755).await?;
            virsh(site, &["pool-start", POOL]).await?;
        }
        return Ok(());
    }
    site.make_dir(Path::new(DISKS), 0o755).await?;
    // Another lab may be at it, too.
    let _ = virsh(site, &["pool-define-as", POOL, "dir", "--target", DISKS]).await;
    let _ = virsh(site, &["pool-autostart", POOL]).await;
    virsh(site, &["pool-start", POOL]).await.map(drop).or_else(|error| match error.message.contains("already active") {
        true => Ok(()),
        false => Err(error),
    })
}

/// So long another machine's disk may be on its way into the pool, which cannot be looked at meanwhile.
const BUSY: Duration = Duration::from_secs(300);

async fn refresh(site: &Site) -> Result<()> {
    let until = tokio::time::Instant::now() + BUSY;
    loop {
        match virsh(site, &["pool-refresh", POOL]).await {
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            answered => return answered.map(drop),
        }
    }
}

fn is_busy(error: &Error) -> bool {
    error.message.contains("has asynchronous jobs running")
}

/// The size of a disk in the pool.
async fn volume(site: &Site, name: &str) -> Result<Option<u64>> {
    refresh(site).await?;
    match virsh(site, &["vol-info", "--bytes", "--pool", POOL, name]).await {
        Ok(text) => Ok(parse_capacity(&text)),
        Err(error) if error.message.contains("failed to get vol") => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_capacity(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Capacity:")?.split_whitespace().next()?.parse().ok())
}

async fn network(site: &Site, spec: &VmSpec, address: Ipv4Addr, range: Subnet) -> Result<()> {
    let name = network_name(&spec.lab);
    if !listed(site, &name, &["net-list", "--all", "--name"]).await? {
        // Beside this machine: another one may be made at the same time.
        let file = spec.dir().join("network.xml").display().to_string();
        site.write(Path::new(&file), network_text(spec, address, range).as_bytes(), 0o644).await?;
        // Its nodes may be made at the same time: the others find it.
        if let Err(error) = virsh(site, &["net-define", &file]).await
            && !listed(site, &name, &["net-list", "--all", "--name"]).await?
        {
            return Err(error.hint("choose another `address`: another network of this machine may use that range"));
        }
        virsh(site, &["net-autostart", &name]).await?;
    }
    if !listed(site, &name, &["net-list", "--name"]).await? {
        let started = virsh(site, &["net-start", &name]).await;
        if let Err(error) = started
            && !listed(site, &name, &["net-list", "--name"]).await?
        {
            return Err(error.hint("choose another `address`: another network of this machine may use that range"));
        }
    }
    let is = virsh(site, &["net-dumpxml", &name]).await?;
    if !is.contains(&format!("<ip address='{}'", range.router())) {
        let message = format!("the network `{name}` does not contain {address}");
        return Err(
            Error::new(Kind::Config, message).hint("all nodes of a lab without a bridge need addresses in one network")
        );
    }
    if let Some(rest) = rest(&is, range)
        && let Err(error) =
            virsh(site, &["net-update", &name, "add-last", "ip-dhcp-range", &rest, "--live", "--config"]).await
        // Another machine may have been first.
        && !virsh(site, &["net-dumpxml", &name]).await?.contains(&rest)
    {
        return Err(error);
    }
    reserve(site, spec, address, &name, &is).await
}

/// What its DHCP server may give away. libvirt lets it have as many machines as there are addresses here, those with a reservation counted.
fn leases(range: Subnet) -> (Ipv4Addr, Ipv4Addr) {
    let last = u32::from(range.base) + (u32::MAX >> range.prefix) - 1;
    (Ipv4Addr::from(u32::from(range.router()) + 1), Ipv4Addr::from(last))
}

/// What the range lacks in a network that an earlier lap made, with one address in it; `None`: nothing, or it was added.
fn rest(is: &str, range: Subnet) -> Option<String> {
    let (first, last) = leases(range);
    let rest = range_text(first, Ipv4Addr::from(u32::from(last) - 1));
    (is.contains(&range_text(last, last)) && !is.contains(&rest)).then_some(rest)
}

fn range_text(first: Ipv4Addr, last: Ipv4Addr) -> String {
    format!("<range start='{first}' end='{last}'/>")
}

async fn listed(site: &Site, name: &str, question: &[&str]) -> Result<bool> {
    Ok(virsh(site, question).await?.lines().any(|line| line.trim() == name))
}

/// The machine's card gets the machine's address.
async fn reserve(site: &Site, spec: &VmSpec, address: Ipv4Addr, network: &str, is: &str) -> Result<()> {
    let (mac, host) = (spec.mac(0), host_text(spec, address));
    if is.contains(&host) {
        return Ok(());
    }
    let update = async |verb, host: &str| {
        virsh(site, &["net-update", network, verb, "ip-dhcp-host", host, "--live", "--config"]).await.map(drop)
    };
    if let Some(old) = reserved(is, address) {
        update("delete", old).await?;
    }
    update(if is.contains(&mac) { "modify" } else { "add-last" }, &host).await
}

fn host_text(spec: &VmSpec, address: Ipv4Addr) -> String {
    format!("<host mac='{}' ip='{address}'/>", spec.mac(0))
}

/// Who had this address before: a node that is gone, or has another one now. Within a lab each has its own.
fn reserved(is: &str, address: Ipv4Addr) -> Option<&str> {
    is.lines().map(str::trim).find(|line| line.starts_with("<host ") && line.contains(&format!("ip='{address}'")))
}

/// Machines reach the world through this one. Each has a reservation.
fn network_text(spec: &VmSpec, address: Ipv4Addr, range: Subnet) -> String {
    let (first, last) = leases(range);
    format!(
        "<network>\n  <name>{}</name>\n  <forward mode='nat'/>\n  <bridge stp='off' delay='0'/>\n  \
         <ip address='{}' prefix='{}'>\n    <dhcp>\n      {}\n      {}\n    \
         </dhcp>\n  </ip>\n</network>\n",
        network_name(&spec.lab),
        range.router(),
        range.prefix,
        range_text(first, last),
        host_text(spec, address),
    )
}

/// Takes the data disk out of a machine that is about to be removed, so that nothing can remove it along with it.
///
/// # Errors
/// libvirt refuses.
pub async fn detach(site: &Site, domain: &str, lab: &str, node: &str) -> Result<()> {
    let name = disk_name(lab, node);
    let blocks = virsh(site, &["domblklist", domain]).await?;
    let Some(target) = blocks.lines().find(|line| line.trim_end().ends_with(&format!("/{name}"))) else {
        return Ok(());
    };
    let target = target.split_whitespace().next().unwrap_or_default();
    virsh(site, &["detach-disk", domain, target, "--config"]).await.map(drop)
}

/// Its host's next boot does not start it. Vagrant starts it as one that is started.
///
/// # Errors
/// libvirt refuses.
pub async fn stay_down(site: &Site, domain: &str) -> Result<()> {
    virsh(site, &["autostart", "--disable", domain]).await.map(drop)
}

/// Removes a machine that Vagrant knows nothing of, and the root disk of one that is gone. Its data stay.
///
/// # Errors
/// libvirt refuses.
pub async fn clean(spec: &VmSpec) -> Result<()> {
    let (site, domain) = (&spec.site(), spec.domain());
    if exists(site, &domain).await? {
        let _ = virsh(site, &["destroy", &domain]).await;
        detach(site, &domain, &spec.lab, &spec.node).await?;
        virsh(site, &["undefine", &domain, "--managed-save"]).await?;
    }
    let root = format!("{domain}.img");
    if volume(site, &root).await?.is_some() {
        virsh(site, &["vol-delete", "--pool", POOL, &root]).await?;
    }
    Ok(())
}

/// Removes the data disk; with the lab's last one its network.
///
/// # Errors
/// libvirt refuses.
pub async fn remove_data(site: &Site, lab: &str, node: &str) -> Result<()> {
    let name = disk_name(lab, node);
    if volume(site, &name).await?.is_some() {
        virsh(site, &["vol-delete", "--pool", POOL, &name]).await?;
    }
    let (domains, disks) = list(site, lab).await?;
    let network = network_name(lab);
    if domains.is_empty() && disks.is_empty() && listed(site, &network, &["net-list", "--all", "--name"]).await? {
        let _ = virsh(site, &["net-destroy", &network]).await;
        virsh(site, &["net-undefine", &network]).await?;
    }
    Ok(())
}

/// The storage pool of libvirt where the machines' disks are.
pub const POOL: &str = "lap";

#[cfg(test)]
mod tests {
    use super::{super::tests::spec, *};
    use crate::config::model::Hypervisor;

    #[test]
    fn what_virsh_says_is_read() {
        assert_eq!(
            parse_domain(" -     lap-office-prod   shut off"),
            Some(("lap-office-prod".into(), "shut off".into()))
        );
        assert_eq!(
            parse_domain(" 3     lap-office-test   running"),
            Some(("lap-office-test".into(), "running".into()))
        );
        assert_eq!(parse_domain(""), None);
        let info =
            "Name:           a\nType:           file\nCapacity:       21474836480 bytes\nAllocation:     1 bytes\n";
        assert_eq!(parse_capacity(info), Some(20 << 30));
    }

    #[test]
    fn a_machine_says_which_address_its_card_has() {
        let mac = "52:54:00:0e:7f:90";
        let of = |line: &str| parse_address(line, mac).map(|address| address.to_string());
        assert_eq!(of(" eth1  52:54:00:0e:7f:90  ipv4   192.168.1.57/24").as_deref(), Some("192.168.1.57"));
        for other in [
            " eth0  52:54:00:0e:7f:91  ipv4   192.168.1.57/24",
            " eth1  52:54:00:0e:7f:90  ipv6   fe80::1/64",
            " eth1  52:54:00:0e:7f:90  ipv4   169.254.3.4/16",
            " eth1  52:54:00:0e:7f:90  N/A    N/A",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    /// As it was said when the disk of another lab's machine was being made.
    #[test]
    fn a_pool_that_is_busy_is_waited_for() {
        let said = "`virsh --quiet --connect qemu:///system pool-refresh lap` ended with exit status: 1\nerror: Failed to \
                    refresh pool lap\nerror: internal error: pool 'lap' has asynchronous jobs running.";
        assert!(is_busy(&Error::new(Kind::Host, said)));
        assert!(!is_busy(&Error::new(Kind::Host, "error: failed to get pool 'lap'")));
    }

    #[test]
    fn an_address_is_taken_from_who_had_it() {
        let is = "<dhcp>\n  <range start='10.0.0.254' end='10.0.0.254'/>\n  <host mac='a' ip='10.0.0.10'/>\n</dhcp>\n";
        assert_eq!(reserved(is, Ipv4Addr::new(10, 0, 0, 10)), Some("<host mac='a' ip='10.0.0.10'/>"));
        assert_eq!(reserved(is, Ipv4Addr::new(10, 0, 0, 1)), None);
    }

    #[test]
    fn as_many_machines_as_there_are_addresses_get_one() {
        let spec = spec(Hypervisor::Libvirt);
        let text = network_text(&spec, spec.address.unwrap(), spec.network().unwrap());
        assert!(text.contains("<ip address='192.168.57.1' prefix='24'>"), "{text}");
        assert!(text.contains("<range start='192.168.57.2' end='192.168.57.254'/>"), "{text}");
        assert_eq!(rest(&text, spec.network().unwrap()), None);
        let older = text.replace("start='192.168.57.2'", "start='192.168.57.254'");
        let missing = "<range start='192.168.57.2' end='192.168.57.253'/>";
        assert_eq!(rest(&older, spec.network().unwrap()).as_deref(), Some(missing));
        // Once only: libvirt refuses it a second time.
        assert_eq!(rest(&format!("{older}{missing}"), spec.network().unwrap()), None);
        assert!(text.contains("<host mac='52:54:00:c3:2f:f9' ip='192.168.57.10'/>"), "{text}");
    }
}
