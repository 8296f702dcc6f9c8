//! What to change, in which order. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use lap_base::{Error, Kind, Result};

use super::{
    block::{self, Cut},
    diff::diff,
    facts::{Manager, ResolverFacts, ResolverInputs},
    file::Content,
    manager::{self, MOST_SERVERS, ManagedFile, RESOLV_CONF},
    record::{Kept, OwnedPart, ResolverRecord},
};

/// What will be done, and what to know about it.
#[derive(Clone, Debug, Default)]
pub struct ResolverPlan {
    /// In their order; none: nothing to do.
    pub steps: Vec<ResolverStep>,
    /// Each one sentence for people.
    pub notes: Vec<String>,
    /// What is left to do by hand.
    pub next: Vec<String>,
}

/// One step; prints as what is changed, its lines below it. Paths as seen from the machine's root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolverStep {
    /// Write down what was there, before it is changed.
    Remember(ResolverRecord),
    /// Make a directory.
    MakeDirectory(PathBuf),
    /// Change a file from what was seen; `None`: no file.
    Put { path: PathBuf, from: Option<Content>, to: Option<Content> },
    /// Remove a directory that we made, if it is empty.
    RemoveDirectory(PathBuf),
    /// Run a command.
    Run(Vec<String>),
    /// Nothing of this lab is left.
    Forget(ResolverRecord),
}

impl fmt::Display for ResolverStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remember(record) if record.pending => {
                write!(f, "keep    {}", ResolverRecord::path(&record.lab).display())
            }
            // The same file once more, to say that all is done: of no interest to anybody.
            Self::Remember(_) => Ok(()),
            Self::Forget(record) => write!(f, "remove  {}", ResolverRecord::path(&record.lab).display()),
            Self::MakeDirectory(path) => write!(f, "make    {}/", path.display()),
            Self::RemoveDirectory(path) => write!(f, "remove  {}/", path.display()),
            Self::Run(words) => write!(f, "run     {}", words.join(" ")),
            Self::Put { path, from, to } => {
                let verb = match (from, to) {
                    (None, _) => "write ",
                    (Some(_), Some(_)) => "change",
                    (Some(_), None) => "remove",
                };
                write!(f, "{verb}  {}", path.display())?;
                let text = |content: &Option<Content>| content.as_ref().map(Content::text).unwrap_or_default();
                diff(&text(from), &text(to)).iter().try_for_each(|line| write!(f, "\n          {line}"))
            }
        }
    }
}

/// The steps that make this machine resolve the lab's names, or take that back.
///
/// # Errors
/// [`Kind::Refused`]: another lab is in the way, or somebody changed our part of a file. [`Kind::Config`]: a file is not
/// what its reader would take. [`Kind::Host`]: the lab has no server. Nothing is to be done then.
pub fn plan(inputs: &ResolverInputs, facts: &ResolverFacts) -> Result<ResolverPlan> {
    let old = match &facts.record {
        Some(record) => Some(record.clone()),
        None => found(inputs, facts)?,
    };
    if !inputs.undo {
        possible(inputs, facts)?;
    }
    let wanted = if inputs.undo { Vec::new() } else { manager::wanted(inputs, facts) };
    let wanted: BTreeMap<PathBuf, &ManagedFile> = wanted.iter().map(|w| (lead(facts, &w.path), w)).collect();
    let kept: BTreeMap<PathBuf, &Kept> = old.iter().flat_map(|r| &r.files).map(|k| (k.path.clone(), k)).collect();

    let mut record = ResolverRecord::new(&inputs.lab, inputs.zone(), facts.manager.name());
    let (mut puts, pending) = (Vec::new(), old.as_ref().is_some_and(|record| record.pending));
    for path in kept.keys().chain(wanted.keys()).collect::<BTreeSet<_>>() {
        let (now, kept) = (facts.files.get(path), kept.get(path).copied());
        let base = match kept {
            Some(kept) => kept.without(&inputs.lab, pending, now)?,
            None => now.cloned(),
        };
        let mut to = base.clone();
        if let Some(wanted) = wanted.get(path) {
            let (content, part) = manager::render(inputs, facts, wanted, base.as_ref())?;
            let earlier = kept.into_iter().flat_map(|kept| kept.written.clone());
            let written = std::iter::once(content.clone()).chain(earlier.filter(|c| *c != content)).collect();
            record.files.push(Kept { path: path.clone(), before: base, written, part });
            to = Some(content);
        } else {
            // Until it is as it was, what it was is kept.
            record.files.extend(kept.cloned());
        }
        if now != to.as_ref() {
            puts.push(ResolverStep::Put { path: path.clone(), from: now.cloned(), to });
        }
    }
    let mut out = ResolverPlan { next: docker_changes(facts, &puts).into_iter().collect(), ..ResolverPlan::default() };
    if inputs.undo {
        out.steps = undo_steps(facts, old.as_ref(), record, puts);
    } else {
        let wanted = wanted.into_keys().collect();
        out.steps = install_steps(facts, old.as_ref(), record, puts, &wanted);
        notes(inputs, facts, &mut out.notes);
    }
    if facts.hidden {
        out.notes.push("Only root can read the record of earlier changes: with `sudo`, this plan may differ.".into());
    }
    Ok(out)
}

/// `record`: what is here of us; `puts`: the changes of files.
fn undo_steps(
    facts: &ResolverFacts,
    old: Option<&ResolverRecord>,
    mut record: ResolverRecord,
    puts: Vec<ResolverStep>,
) -> Vec<ResolverStep> {
    let Some(old) = old else { return facts.leftover.then_some(ResolverStep::Forget(record)).into_iter().collect() };
    let pending = old.pending || !puts.is_empty();
    let own = |kept: &Kept| manager::is_own(&kept.path, &old.lab);
    (record.made, record.reload) = (old.made.clone(), old.reload.clone());
    if facts.record.is_none() && record.files.iter().any(own) {
        record.reload = command(facts.manager).into_iter().collect();
    }
    let mut steps = Vec::new();
    if !puts.is_empty() && (!old.pending || facts.record.is_none()) {
        steps.push(ResolverStep::Remember(record.clone()));
    }
    steps.extend(puts);
    // What is below a directory comes behind it: they are sorted.
    steps.extend(record.made.iter().rev().cloned().map(ResolverStep::RemoveDirectory));
    if pending {
        steps.extend(record.reload.iter().cloned().map(ResolverStep::Run));
    }
    steps.push(ResolverStep::Forget(record));
    steps
}

/// `wanted`: the files that are ours when all is done; `record` may tell of more, which are put back.
fn install_steps(
    facts: &ResolverFacts,
    old: Option<&ResolverRecord>,
    mut record: ResolverRecord,
    puts: Vec<ResolverStep>,
    wanted: &BTreeSet<PathBuf>,
) -> Vec<ResolverStep> {
    let parents: BTreeSet<PathBuf> = wanted.iter().flat_map(|p| p.ancestors().skip(1)).map(PathBuf::from).collect();
    let missing: Vec<PathBuf> = facts.missing.iter().filter(|dir| parents.contains(*dir)).cloned().collect();
    // A directory that another lab made goes with whoever is the last in it.
    let shared = facts.others.iter().flat_map(|other| &other.made).filter(|dir| parents.contains(*dir));
    let earlier = old.into_iter().flat_map(|record| &record.made);
    record.made = earlier.chain(&missing).chain(shared).cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let mut settled = record.clone();
    settled.pending = false;
    settled.files.retain(|kept| wanted.contains(&kept.path));
    settled.files.iter_mut().for_each(|kept| kept.written.truncate(1));
    settled.reload = command(facts.manager).into_iter().collect();
    // Who read the files that go has to hear of it, too.
    let reload: BTreeSet<_> =
        old.into_iter().flat_map(|record| &record.reload).chain(&settled.reload).cloned().collect();
    record.reload = reload.into_iter().collect();

    let pending = old.is_some_and(|record| record.pending) || !puts.is_empty();
    if !pending && facts.record.as_ref() == Some(&settled) {
        return Vec::new();
    }
    let commands = if pending { record.reload.clone() } else { Vec::new() };
    let mut steps = vec![ResolverStep::Remember(record)];
    steps.extend(missing.into_iter().map(ResolverStep::MakeDirectory));
    steps.extend(puts);
    steps.extend(commands.into_iter().map(ResolverStep::Run));
    steps.push(ResolverStep::Remember(settled));
    steps
}

fn command(manager: Manager) -> Option<Vec<String>> {
    let words: Vec<String> = manager.reload().iter().map(|word| (*word).to_owned()).collect();
    (!words.is_empty()).then_some(words)
}

fn lead(facts: &ResolverFacts, path: &str) -> PathBuf {
    let path = PathBuf::from(path);
    facts.leads.get(&path).cloned().unwrap_or(path)
}

/// What is here of this lab without a record: our comments tell.
fn found(inputs: &ResolverInputs, facts: &ResolverFacts) -> Result<Option<ResolverRecord>> {
    let mut record = ResolverRecord::new(&inputs.lab, inputs.zone(), facts.manager.name());
    record.pending = false;
    for path in manager::own_files(&inputs.lab).iter().map(String::as_str).chain([RESOLV_CONF]) {
        let path = lead(facts, path);
        let Some(now) = facts.files.get(&path) else { continue };
        let before = match block::cut(&now.bytes, &inputs.lab) {
            Cut::None => continue,
            Cut::Clean { rest, .. } if rest.is_empty() && manager::is_own(&path, &inputs.lab) => None,
            Cut::Clean { rest, .. } => Some(now.with(rest)),
            Cut::Unclear => {
                let message = format!("`{}` does not contain each of lap's comments exactly once", path.display());
                return Err(Error::new(Kind::Refused, message)
                    .hint(format!("remove lap's lines (`lap {}: begin` to `end`) by hand", inputs.lab)));
            }
        };
        record.files.push(Kept { path, before, written: vec![now.clone()], part: OwnedPart::Block });
    }
    Ok((!record.files.is_empty()).then_some(record))
}

/// Whether it can be done at all.
fn possible(inputs: &ResolverInputs, facts: &ResolverFacts) -> Result<()> {
    if inputs.servers.is_empty() {
        return Err(Error::new(Kind::Host, format!("the name server of the lab `{}` is not known", inputs.lab))
            .hint("run `lap up` first, or name one with `--server`"));
    }
    for other in &facts.others {
        let hint = format!("run `lap --lab {} dns install --undo` first", other.lab);
        if other.zone == inputs.zone() {
            let message = format!("the lab `{}` is installed here with the same zone `{}`", other.lab, other.zone);
            return Err(Error::new(Kind::Refused, message).hint(hint));
        }
        // dnsmasq has servers by domain. The rest has one list, and believes whoever answers.
        if facts.manager != Manager::Dnsmasq {
            let message =
                format!("the lab `{}` is installed here, and {} can use only one lab", other.lab, facts.manager.name());
            return Err(Error::new(Kind::Refused, message).hint(hint));
        }
    }
    if facts.manager == Manager::File && !facts.files.contains_key(&facts.resolv) {
        let message = match facts.resolv.to_str() {
            Some(RESOLV_CONF) => format!("there is no `{RESOLV_CONF}`"),
            _ => format!("`{RESOLV_CONF}` links to `{}`, which does not exist", facts.resolv.display()),
        };
        return Err(
            Error::new(Kind::Host, message).hint("set up the name resolution of this machine first: resolv.conf(5)")
        );
    }
    Ok(())
}

/// What else to know.
fn notes(inputs: &ResolverInputs, facts: &ResolverFacts, out: &mut Vec<String>) {
    let list = inputs.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match facts.manager {
        Manager::File => {
            let now = facts.files.get(&facts.resolv).map(Content::text).unwrap_or_default();
            let theirs: Vec<_> = manager::nameservers(&now)
                .into_iter()
                .filter(|s| !inputs.servers.iter().any(|own| own.to_string() == *s))
                .collect();
            let ours = manager::ours(inputs, theirs.len()).len();
            let dropped = inputs.servers[ours..].iter().map(ToString::to_string);
            let dropped: Vec<_> = dropped.chain(theirs.into_iter().skip(MOST_SERVERS - ours)).collect();
            if !dropped.is_empty() {
                out.push(format!(
                    "resolv.conf(5) uses only {MOST_SERVERS} servers, so not: {}.",
                    dropped.join(", ")
                ));
            }
            if let Some(line) = &facts.written_by {
                out.push(format!("Another program may overwrite {}, which says: {line}", facts.resolv.display()));
            } else if facts.resolv.starts_with("/run") {
                out.push(format!("{} is lost at a reboot.", facts.resolv.display()));
            }
            if facts.resolvconf {
                let path = "/etc/resolvconf/resolv.conf.d/head";
                out.push(format!("To keep it, put the `nameserver` lines into {path} and run `resolvconf -u`."));
            } else if facts.dhclient {
                let line = format!("prepend domain-name-servers {list};");
                out.push(format!("To keep it with dhclient, add to /etc/dhcp/dhclient.conf: {line}"));
            }
        }
        Manager::NetworkManager => {
            out.push("As long as it is installed, this machine does not use servers and search domains from DHCP.".into());
        }
        Manager::Resolved if facts.tls => {
            out.push(
                "DNSOverTLS=yes: the lab's server has no TLS; set `opportunistic` to use it.".into(),
            );
        }
        Manager::Resolved if !facts.global.is_empty() => out.push(
            "If the lab's server does not answer for a time, systemd-resolved stays with another server: run `systemctl restart systemd-resolved`."
                .into(),
        ),
        Manager::Resolved | Manager::Dnsmasq => {}
    }
    if let Some(path) = facts.docker.as_ref().filter(|_| !manager::docker_needs_it(facts)) {
        let other = facts.others.iter().find(|other| other.files.iter().any(|kept| kept.path == *path));
        out.push(match other {
            _ if facts.docker_flag => {
                format!(
                    "dockerd runs with `--dns`, and does not start with `dns` in {} as well: change the option.",
                    path.display()
                )
            }
            Some(other) => format!("Docker's containers use the lab `{}`: its daemon has only one list.", other.lab),
            None => "Docker gives containers the servers in /etc/resolv.conf at their start: nothing to change.".into(),
        });
    }
}

/// dockerd reads `dns` only when it starts.
fn docker_changes(facts: &ResolverFacts, puts: &[ResolverStep]) -> Option<String> {
    let path = facts.docker.as_ref()?;
    puts.iter().any(|step| matches!(step, ResolverStep::Put { path: changed, .. } if changed == path)).then(|| {
        "systemctl restart docker    # Docker reads `dns` only at its start; without `live-restore` its containers stop".to_owned()
    })
}
