//! `lap dns install`

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use lap_base::error::Result;

use super::super::{common::runtime, value};
use crate::{
    cli::global::Global,
    config::model::{Dns, Lab},
    drivers, names,
    report::print::{out, outln},
    resolve::{self, ResolverPlan, facts::ResolverInputs},
    workspace::Workspace,
};

/// getaddrinfo(3) asks each server twice, 5 s each (resolv.conf(5)); longer nobody waits.
const PATIENCE: Duration = Duration::from_secs(12);
/// NetworkManager's dnsmasq answers again within a second.
const WARM_UP: Duration = Duration::from_secs(3);

/// Make this machine, and its Docker, resolve the lab's names
///
/// The command uses systemd-resolved, NetworkManager or resolv.conf, as this machine does.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Undo exactly
    #[arg(long)]
    undo: bool,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// A name server to use instead of every environment's; repeat it for several
    #[arg(long, value_name = "ADDRESS", value_parser = value::ipv4, conflicts_with = "undo")]
    server: Vec<Ipv4Addr>,
}

/// Where the lab's name servers are.
#[derive(Default)]
struct Servers {
    /// For this machine.
    here: Vec<Ipv4Addr>,
    /// For every machine of the office.
    office: Vec<Ipv4Addr>,
    /// All addresses that have names.
    named: Vec<Ipv4Addr>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let root = Path::new("/");
        let lock = if self.dry_run { None } else { Some(resolve::lock(root)?) };
        // Taking back needs only the name: the workspace may be gone.
        let (lab, zone, servers) = match (&global.lab, self.undo) {
            // What is taken back was written down then, with its zone.
            (Some(lab), true) => (lab.clone(), Dns::default().zone, Servers::default()),
            (None, true) => {
                let lab = &global.workspace()?.lab;
                (lab.name.clone(), lab.dns.zone.clone(), Servers::default())
            }
            (_, false) => {
                let workspace = global.workspace()?;
                let Lab { name, dns, .. } = &workspace.lab;
                (name.clone(), dns.zone.clone(), servers(&workspace, &self.server)?)
            }
        };
        let zone = zone.as_str();
        let Servers { here, office, named } = servers;
        let inputs = ResolverInputs { lab, zone: zone.into(), servers: here, addresses: named, undo: self.undo };
        let facts = resolve::observe(root, &inputs)?;
        let plan = resolve::plan(&inputs, &facts)?;
        if plan.steps.is_empty() {
            outln!("Nothing to do.");
        } else {
            outln!("This machine resolves names with {}.\n", facts.manager.name());
            show(&plan);
        }
        if !self.dry_run {
            resolve::apply(root, &plan.steps, &mut resolve::run_command)?;
            drop(lock);
            if !plan.steps.is_empty() {
                outln!(
                    "\nDone. {}",
                    if self.undo { "The former state is restored." } else { "Undo this with `--undo`." }
                );
            }
            if !self.undo {
                outln!("{}", verified(zone, &inputs.servers));
            }
        }
        for next in &plan.next {
            outln!("\nNext, by hand:\n  {next}");
        }
        if !self.undo {
            for_the_office(zone, &office);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(plan: &ResolverPlan) {
    for line in plan.steps.iter().map(ToString::to_string).filter(|line| !line.is_empty()) {
        outln!("  {line}");
    }
    if !plan.notes.is_empty() {
        outln!("");
    }
    for note in &plan.notes {
        outln!("note: {note}");
    }
}

/// What the system's resolver says now. Not a failure: a lab that is down resolves tomorrow.
fn verified(zone: &str, servers: &[Ipv4Addr]) -> String {
    let name = format!("ns.{zone}");
    let began = Instant::now();
    let mut said = resolve::look_up(&name, PATIENCE);
    // Whoever reads its files anew may be starting again just now.
    while said.is_err() && began.elapsed() < WARM_UP {
        thread::sleep(WARM_UP / 10);
        said = resolve::look_up(&name, PATIENCE);
    }
    match said {
        Ok(found) if found.iter().any(|address| servers.iter().any(|server| address == server)) => {
            format!("`{name}` is {}: this machine resolves the lab's names.", found[0])
        }
        Ok(found) => {
            let found = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            // Through `publish` a server is asked elsewhere than where it is.
            format!(
                "`{name}` is {found}: the answer comes from the lab's server behind `publish`, or from another server for `{zone}`."
            )
        }
        Err(why) => format!("`{name}` does not resolve yet ({why}): check with `lap status` that the lab runs."),
    }
}

fn for_the_office(zone: &str, servers: &[Ipv4Addr]) {
    outln!("");
    if servers.is_empty() {
        outln!(
            "Other machines do not reach the lab's name server: set `publish` in node.toml to an address of this machine."
        );
        return;
    }
    outln!("For all other machines, on the office's DHCP server:\n");
    for line in resolve::dhcp(zone, servers).lines() {
        out!("{}", if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") });
    }
    if servers.len() > 1 {
        outln!(
            "\nnote: `git.{zone}` depends on the environment whose server answers; `git.<environment>.{zone}` is the same on all servers."
        );
    }
}

/// Every environment's name server, the default one's first. On the machine that runs the lab these are its nodes; on
/// others, the addresses they are published on.
fn servers(workspace: &Workspace, named: &[Ipv4Addr]) -> Result<Servers> {
    let lab = &workspace.lab;
    let mut environments: Vec<_> = lab.environments.values().collect();
    environments.sort_by_key(|environment| environment.name != lab.default_environment);
    let published = environments.iter().filter_map(|e| lab.nodes.get(&e.master)?.publish);
    let published: Vec<Ipv4Addr> = published.collect();
    let (mut nodes, mut subnet) = (BTreeMap::new(), None);
    if named.is_empty() {
        let host = runtime()?.block_on(async { drivers::node::observe(lab).await.map(|machines| machines.facts) });
        match host {
            // Only of networks that exist: another's addresses may be somebody else's tomorrow.
            Ok(host) if host.subnet.is_some() => (nodes, subnet) = (workspace.addresses(&host)?.1, host.subnet),
            Ok(_) => {}
            Err(error) if published.is_empty() => return Err(error),
            Err(_) => {}
        }
    }
    let inputs = names::NameInputs {
        lab,
        environment: &lab.default_environment,
        nodes: &nodes,
        subnet,
        upstreams: &[],
        runs: None,
    };
    let all = names::names(&inputs).hosts.into_iter().map(|(_, address)| address).collect();
    let masters = environments.iter().filter_map(|e| nodes.get(&e.master)).copied();
    let here: Vec<Ipv4Addr> = match named {
        [] if nodes.is_empty() => published.clone(),
        [] => masters.collect(),
        named => named.to_vec(),
    };
    let office =
        if named.is_empty() { published } else { named.iter().filter(|a| !a.is_loopback()).copied().collect() };
    Ok(Servers { here, office, named: all })
}
