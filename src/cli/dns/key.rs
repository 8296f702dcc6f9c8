//! `lap dns key`

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Subcommand;
use lap_base::error::{Error, Kind, Result};

use crate::{
    apply::{dns_keys::deliver, master::Master},
    cli::{common::Changing, confirm::Confirm, global::Global},
    config::value::{
        duration::duration,
        name::{below, owner},
    },
    drivers,
    keys::{
        Keys,
        dns::{self, ALGORITHMS, DnsKey},
    },
    report::{
        print::{out, outln},
        table::table,
    },
    workspace::Workspace,
};

/// Keys for other programs, to update names and transfer zones (TSIG, RFC 8945)
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    New(New),
    /// List the keys with their environments and rights
    List,
    Rm(Rm),
}

/// Make a key of one environment with rights, and install it on its server if that runs
#[derive(clap::Args, Debug)]
#[command(override_usage = "lap dns key new [OPTIONS] [ENVIRONMENT] <NAME>")]
pub struct New {
    /// The environment (if it is not the default), then the key's name, e.g. `dhcp` or `dhcp.internal` (optional with
    /// `--from`, whose file contains one)
    #[arg(required_unless_present = "from", num_args = 1..=2, value_name = "NAME")]
    what: Vec<String>,
    /// A name that the key may change (`anna-meier.pc.internal`), or all names below one (`*.pc.internal`); repeat it for
    /// several
    #[arg(long, value_name = "PATTERN")]
    update: Vec<String>,
    /// It may transfer the zones (AXFR, IXFR)
    #[arg(long)]
    transfer: bool,
    /// Names expire after this time unless they are registered again, e.g. `1h`
    #[arg(long, value_name = "TIME")]
    expire: Option<String>,
    /// `hmac-sha256` or `hmac-sha512`
    #[arg(long, value_name = "NAME", default_value = ALGORITHMS[0], conflicts_with = "from")]
    algorithm: String,
    /// Take a key that `tsig-keygen` made
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Wait until the lock of the node is free
    #[arg(long)]
    wait: bool,
}

/// Remove a key in the workspace, and on its environment's server if that runs
#[derive(clap::Args, Debug)]
pub struct Rm {
    /// Its name
    name: String,
    #[command(flatten)]
    confirm: Confirm,
    /// Wait until the lock of the node is free
    #[arg(long)]
    wait: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        match self.verb {
            Verb::New(new) => new.run(global, &workspace)?,
            Verb::List => list(&workspace)?,
            Verb::Rm(rm) => {
                // A workspace without keys says so.
                workspace.keys()?;
                rm.confirm.ask(&format!("Remove the key `{}`? No copy of it is kept.", rm.name))?;
                let environment = dns::remove(&workspace.lab.root, &rm.name)?;
                outln!("Removed the key `{}`.", rm.name);
                bring(global, &workspace, environment.as_deref(), rm.wait)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl New {
    fn run(self, global: &Global, workspace: &Arc<Workspace>) -> Result<()> {
        workspace.keys()?;
        let (environment, name) = self.named(workspace)?;
        let zone = &workspace.lab.dns.zone;
        let update: Vec<String> = self.update.iter().map(|text| pattern(text, zone)).collect::<Result<_>>()?;
        let expire = self.expire.as_deref().map(seconds).transpose()?;
        let key = match &self.from {
            Some(file) => {
                let key = DnsKey::from_file(file)?;
                if let Some(name) = name { key.named(name)? } else { key }
            }
            None => DnsKey::generate(name.unwrap_or_default(), &self.algorithm)?,
        };
        if dns::is_own(key.name()) {
            let message = format!("`{}` is lap's own key: choose another name", key.name());
            return Err(Error::new(Kind::Refused, message));
        }
        let idle = update.is_empty() && !self.transfer;
        let key = key.with_rights(update, self.transfer, expire).of(environment);
        dns::add(&workspace.lab.root, &key)?;
        let path = dns::write_file(&workspace.lab.root, &key)?;
        let here = std::env::current_dir().unwrap_or_default();
        let short = path.strip_prefix(&here).unwrap_or(&path).display();
        outln!("Made the key `{}` of `{environment}`: {}.", key.name(), rights(&key));
        if idle {
            outln!(
                "It has no rights yet: run `lap dns key rm {}`, then make it again with `--update` or `--transfer`.",
                key.name()
            );
        }
        outln!("Other programs can read it from `{short}` (0600), in the format of `tsig-keygen`:");
        outln!("  nsupdate -k {short}");
        outln!(
            "  include \"{}\";    # in named.conf or dhcpd.conf; on another machine, include a copy",
            path.display()
        );
        bring(global, workspace, Some(environment), self.wait)
    }

    /// `[ENVIRONMENT] NAME`
    fn named<'a>(&'a self, workspace: &'a Workspace) -> Result<(&'a str, Option<&'a str>)> {
        let default = workspace.lab.default_environment.as_str();
        match self.what.as_slice() {
            [] => Ok((default, None)),
            [word] if !workspace.lab.environments.contains_key(word) => Ok((default, Some(word))),
            [environment] if self.from.is_some() => Ok((environment, None)),
            [environment] => {
                Err(Error::new(Kind::Usage, format!("name the new key for `{environment}`")).hint(format!(
                    "`{environment}` is the name of an environment: write e.g. `lap dns key new {environment} dhcp`"
                )))
            }
            [environment, name, ..] => Ok((&workspace.environment(Some(environment))?.name, Some(name))),
        }
    }
}

/// `*.pc.internal`, `anna-meier.pc.internal`, or the same of a reverse zone.
fn pattern(text: &str, zone: &str) -> Result<String> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_suffix('.').unwrap_or(&lower);
    let reverse = ["in-addr.arpa", "ip6.arpa"].iter().any(|arpa| below(bare, arpa).is_some());
    let wrong = |why: String| Error::new(Kind::Usage, format!("`--update`: {why}"));
    if !reverse && bare != zone && below(bare, zone).is_none() {
        let help = format!("write e.g. `*.pc.{zone}`, or `*.in-addr.arpa` for reverse records");
        return Err(wrong(format!("`{}` is not in the zone `{zone}`: {help}", text.escape_debug())));
    }
    owner(bare, if reverse { "arpa" } else { zone }).map_err(wrong)
}

fn seconds(text: &str) -> Result<u32> {
    let wrong = |why: String| Error::new(Kind::Usage, format!("`--expire`: {why}"));
    let time = duration(text).map_err(wrong)?.as_secs();
    match u32::try_from(time) {
        Ok(time) if time > 0 => Ok(time),
        _ => Err(wrong(format!("`{text}` is not a valid lifetime of a name: write e.g. `1h`"))),
    }
}

/// What a key may do, in words.
fn rights(key: &DnsKey) -> String {
    let entry = key.entry();
    let mut words = Vec::new();
    if !entry.update.is_empty() {
        words.push(format!("may update `{}`", entry.update.join("`, `")));
    }
    if entry.transfer {
        words.push("may transfer the zones".to_owned());
    }
    if words.is_empty() {
        words.push("no rights".to_owned());
    }
    words.extend(entry.expire.map(|seconds| format!("its names expire after {}", lasting(seconds))));
    words.join(", ")
}

/// As it may be written: `90s`, `5m`, `1h`.
fn lasting(seconds: u32) -> String {
    match seconds {
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

fn list(workspace: &Workspace) -> Result<()> {
    let keys: Keys = workspace.keys()?;
    let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let rows: Vec<[String; 6]> = keys
        .dns()
        .iter()
        .map(|key| {
            let environment = key.environment().unwrap_or(&workspace.lab.default_environment).to_owned();
            let mut key = key.entry_in(&workspace.lab.dns.zone);
            zeroize::Zeroize::zeroize(&mut key.secret);
            let transfer = if key.transfer { "yes" } else { "-" };
            let expire = dash(key.expire.map(lasting).unwrap_or_default());
            [key.name, environment, key.algorithm, dash(key.update.join(" ")), transfer.to_owned(), expire]
        })
        .collect();
    out!("{}", table(["KEY", "ENVIRONMENT", "ALGORITHM", "UPDATE", "TRANSFER", "EXPIRE"], &rows));
    Ok(())
}

/// Brings its keys to the master of this environment, or to all that run, and says where they are not yet.
fn bring(global: &Global, workspace: &Arc<Workspace>, only: Option<&str>, wait: bool) -> Result<()> {
    let environments = workspace.lab.environments.values();
    let environments: Vec<_> =
        environments.filter(|environment| only.is_none_or(|only| environment.name == only)).cloned().collect();
    let changing = Changing { dry_run: false, wait };
    let (done, left) = global.work("dns key", &changing, |options| {
        let workspace = workspace.clone();
        let environments = environments.clone();
        async move {
            let (mut done, mut left) = (Vec::new(), Vec::new());
            for environment in &environments {
                let name = environment.name.clone();
                let deliver = async {
                    let host = drivers::node::observe(&workspace.lab).await?.facts;
                    let patience = Duration::from_secs(2);
                    let master = Master::connect_on(workspace.clone(), environment, &host, patience).await?;
                    deliver(&master, &options).await
                };
                match deliver.await {
                    Ok(()) => done.push(name),
                    Err(error) if error.kind == Kind::Interrupted => return Err(error),
                    Err(error) => left.push((name, error)),
                }
            }
            Ok((done, left))
        }
    })?;
    if !done.is_empty() {
        outln!("The change is active on the DNS server of `{}`.", done.join("`, `"));
    }
    for (name, error) in left {
        outln!("Run `lap up {name}` to install it on `{name}` ({error}).");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_of_the_zone_or_of_a_reverse_zone() {
        for (text, want) in [
            ("*.PC.internal.", "*.pc.internal"),
            ("anna-meier.pc.internal", "anna-meier.pc.internal"),
            ("*.internal", "*.internal"),
            ("*.0.168.192.in-addr.arpa", "*.0.168.192.in-addr.arpa"),
            ("*.in-addr.arpa", "*.in-addr.arpa"),
        ] {
            assert_eq!(pattern(text, "internal").unwrap(), want);
        }
        for (text, want) in [
            (
                "*",
                "`--update`: `*` is not in the zone `internal`: write e.g. `*.pc.internal`, or `*.in-addr.arpa` for reverse records",
            ),
            (
                "*.example.com",
                "`--update`: `*.example.com` is not in the zone `internal`: write e.g. `*.pc.internal`, or `*.in-addr.arpa` for reverse records",
            ),
            (
                "a*.internal",
                "`--update`: `a*.internal` has `*` in a place other than the first label: write e.g. `*.apps.internal`",
            ),
        ] {
            assert_eq!(pattern(text, "internal").unwrap_err().message, want);
        }
    }

    #[test]
    fn rights_in_words() {
        let key = DnsKey::generate("dhcp", "hmac-sha256").unwrap();
        assert_eq!(rights(&key), "no rights");
        let key = key.with_rights(vec!["*.pc.internal".into(), "a.internal".into()], true, Some(5400));
        assert_eq!(
            rights(&key),
            "may update `*.pc.internal`, `a.internal`, may transfer the zones, its names expire after 90m"
        );
        assert_eq!([seconds("1h").unwrap(), seconds("1m30s").unwrap()], [3600, 90]);
        assert!(seconds("0s").is_err() && seconds("500ms").is_err() && seconds("1").is_err());
        assert_eq!([lasting(3600), lasting(90), lasting(120)], ["1h", "90s", "2m"]);
    }
}
