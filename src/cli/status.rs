//! `lap status`

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use lap_base::{
    error::{Error, Kind, Result},
    state::Unreadable,
    words::{ago, bytes, duration, plural},
};
use lap_snapshots::Filesystem;
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    common::{print_json, runtime},
    global::Global,
    quota,
    tables::{self, StatusRow},
};
use crate::{
    apply::{admits, master::Master, options::short},
    drivers,
    keys::{self, Keys},
    release::manifest::ReleaseManifest,
    report::print::{out, outln},
    wire::protocol::NodeFacts,
    workspace::Workspace,
};

/// Show what runs. The exit code is 0 only if everything that should run is healthy
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status<'a> {
    environment: &'a str,
    node: &'a str,
    address: String,
    commit: Option<String>,
    release: Option<u64>,
    healthy: bool,
    /// What is late, damaged, full or not at its end.
    complaints: &'a [String],
    containers: &'a [StatusRow],
    facts: &'a NodeFacts,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let (facts, address, doors) = runtime()?.block_on(async {
            let host = drivers::node::observe(&workspace.lab).await?.facts;
            let master = Master::connect_on(workspace.clone(), &environment, &host, Duration::from_secs(2)).await?;
            // Of every environment: the one that still admits a removed operator is rarely the one that is looked at.
            let (facts, doors) = tokio::try_join!(master.node.facts(None), admits::ask(&workspace, &[]))?;
            Ok::<_, Error>((facts, master.address(), doors))
        })?;
        let open = admits::sentences(&doors, false);
        let rows = tables::rows(&workspace, &facts, Some(address));
        let current = facts.recorded.as_ref().value_and_complaint().0;
        let sick: Vec<&str> = rows.iter().filter(|row| !row.ok).map(|row| row.container.as_str()).collect();
        let mut complaints = late(&workspace, &facts);
        let ending = certificates(&workspace.keys()?, &facts.certificates, OffsetDateTime::now_utc())?;
        complaints.extend(ending.iter().cloned());
        complaints.extend(open.iter().cloned());
        if self.json || global.json() {
            print_json(&Status {
                environment: &environment.name,
                node: &environment.master,
                address: address.to_string(),
                commit: current.map(|current| current.commit.clone()),
                release: current.and_then(|current| current.release),
                healthy: sick.is_empty() && complaints.is_empty() && facts.docker.is_some(),
                complaints: &complaints,
                containers: &rows,
                facts: &facts,
            })?;
        } else {
            head(&environment.name, &environment.master, &facts, current);
            copies(workspace.lab.repositories.keys(), &facts);
            outln!("");
            out!("{}", tables::text(&rows));
        }
        if facts.docker.is_none() {
            return Err(Error::new(Kind::Node, format!("Docker on `{}` does not answer", environment.master))
                .hint("read /var/log/dockerd.log with `lap ssh`"));
        }
        if !facts.unreadable.is_empty() {
            return Err(unreadable(&facts.unreadable, &sick));
        }
        if sick.is_empty() && complaints.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if sick.is_empty() {
            let hint = if complaints.len() == open.len() {
                "if this lap.toml is older than the addition of the key, run `git pull` first".to_owned()
            } else if is_recovering(&facts) {
                format!(
                    "the agent tries again until it succeeds; `lap promote --resume --to {}` watches a promotion or rollback",
                    environment.name
                )
            } else if complaints.len() == ending.len() + open.len() {
                format!(
                    "`lap keys new` renews the lab's own certificates, and `lap up {}` those of the servers",
                    environment.name
                )
            } else if !facts.quota.over.is_empty() {
                quota::hint(&facts, &environment.name)
            } else if facts.data.is_low() {
                format!(
                    "find large snapshots with `lap snapshot list {0} --sizes` and remove them with `lap snapshot rm ID {0}`, or set a larger `disk` in the node's node.toml",
                    environment.name
                )
            } else {
                format!(
                    "`lap snapshot {0}` takes a snapshot now, `lap snapshot copy --due {0}` makes due copies and verifications",
                    environment.name
                )
            };
            return Err(Error::new(Kind::Unhealthy, complaints.join("; ")).hint(hint));
        }
        let mut sentences = vec![format!("not healthy: `{}`", sick.join("`, `"))];
        sentences.extend(complaints);
        let error = Error::new(Kind::Unhealthy, sentences.join("; "));
        if is_recovering(&facts) {
            return Err(error.hint(recovering(&facts, lap_base::clock::now())));
        }
        if sick.iter().any(|container| facts.quota.over.contains_key(*container)) {
            return Err(error.hint(quota::hint(&facts, &environment.name)));
        }
        Err(error.hint(format!(
            "`lap logs {1}/{2}` shows the reason; `lap up {0}` repairs it",
            environment.name, environment.name, sick[0]
        )))
    }
}

/// State files that cannot be read, each with what puts it right; and the containers that are not as they should be.
fn unreadable(all: &[Unreadable], sick: &[&str]) -> Error {
    let mut sentences: Vec<String> = all.iter().map(Unreadable::sentence).collect();
    if !sick.is_empty() {
        sentences.push(format!("not healthy: `{}`", sick.join("`, `")));
    }
    let mut hints: Vec<String> = all.iter().flat_map(|unreadable| unreadable.hints.clone()).collect();
    hints.dedup();
    Error { kind: Kind::Unhealthy, message: sentences.join("; "), hints }
}

fn head(environment: &str, node: &str, facts: &NodeFacts, current: Option<&ReleaseManifest>) {
    let runs = match current {
        Some(ReleaseManifest { release: Some(number), commit, .. }) => format!("release {number} ({})", short(commit)),
        Some(current) => short(&current.commit),
        None if facts.recorded.unreadable().is_some() => "the record of what runs cannot be read".into(),
        None => "nothing yet".into(),
    };
    let mut free =
        format!("{} of {} free on {}", bytes(facts.data.free), bytes(facts.data.size), facts.data.filesystem);
    if let Some(cost) = Filesystem::named(&facts.data.filesystem).and_then(Filesystem::cost) {
        free = format!("{free}; {cost}");
    }
    outln!("`{environment}` on node `{node}`: {runs}; {free}");
    let now = lap_base::clock::now();
    if let Some(newest) = facts.snapshots.newest {
        outln!("snapshots: {}, the newest {} old", facts.snapshots.count, ago(now - newest));
    }
    if let Some(push) = &facts.push {
        let (commit, ago) = (short(&push.commit), ago(now - push.at));
        match &push.result {
            None => outln!("push: {commit} by {}, build in progress since {ago}", push.by),
            Some(Ok(())) => outln!("push: {commit} by {} runs and passed its checks, {ago} ago", push.by),
            Some(Err(why)) => outln!("push: {commit} by {} failed {ago} ago: {why}", push.by),
        }
    }
    if let Some((holder, since)) = &facts.lock {
        outln!("locked by {} for `lap {}`, since {}", holder.who, holder.verb, ago(now - since));
    }
    if let Some(unfinished) = &facts.unfinished {
        let step = unfinished.step.as_deref().map(|step| format!(" in \"{step}\"")).unwrap_or_default();
        let why = unfinished.error.as_deref().unwrap_or("it was interrupted");
        outln!(
            "the last `lap {}` ({}, {} ago) did not end{step}: {why}",
            unfinished.holder.verb,
            unfinished.holder.who,
            ago(now - unfinished.since)
        );
    }
}

/// What is known of the copies in each repository of lap.toml.
fn copies<'a>(repositories: impl Iterator<Item = &'a String>, facts: &NodeFacts) {
    let now = lap_base::clock::now();
    for name in repositories {
        let Some(known) = facts.copies.get(name) else {
            outln!("copies in `{name}`: none known");
            continue;
        };
        let newest =
            known.newest.as_ref().map_or_else(|| "none".into(), |(_, at)| format!("the newest {} old", ago(now - at)));
        let verified = known.verified.as_ref().map_or_else(
            || "never verified".into(),
            |last| match last.faults {
                0 => format!("verified {} ago", ago(now - last.at)),
                faults => format!("{} found {} ago", plural(faults, "fault"), ago(now - last.at)),
            },
        );
        let drilled = known.drilled.as_ref().map_or_else(String::new, |last| {
            let how = if last.failed.is_none() { "drilled" } else { "a drill failed" };
            format!(", {how} {} ago ({})", ago(now - last.at), duration(last.seconds))
        });
        outln!("copies in `{name}`: {newest}, {verified}{drilled}");
        if known.shared {
            outln!(
                "  `{name}` is shared by all environments: the node of each can write copies of all (`lap repository`)"
            );
        }
    }
}

/// Something was interrupted, and the agent has not finished it, or not taken it back, yet: what runs now may be neither what ran before
/// nor what is to run.
fn is_recovering(facts: &NodeFacts) -> bool {
    facts.recovery.is_some() || facts.lock.as_ref().is_some_and(|(holder, _)| holder.is_recovery())
}

/// The same as a sentence: how often it was tried, and why it failed last.
fn recovering(facts: &NodeFacts, now: i64) -> String {
    let mut said = "the agent completes an interrupted operation".to_owned();
    let known = facts.recovery.as_ref();
    if let Some((known, error)) = known.and_then(|known| Some((known, known.error.as_ref()?))) {
        let tries = plural(usize::try_from(known.tries).unwrap_or(usize::MAX), "failed attempt");
        said = format!(
            "{said}: {tries} in {}, the last one: {}",
            ago(now - known.since),
            error.lines().next().unwrap_or_default()
        );
    }
    said
}

/// The certificates that end soon, a sentence each: of servers with less than a third of their life left, of authorities within a year.
fn certificates(keys: &Keys, servers: &BTreeMap<String, String>, now: OffsetDateTime) -> Result<Vec<String>> {
    let servers = servers.iter().filter_map(|(container, pem)| {
        let end = keys::ends_soon(pem, now)?;
        let verb = if end < now { "ended" } else { "ends" };
        Some(format!("the certificate of `{container}` {verb} on {}", end.date()))
    });
    let authorities = keys.ending(now)?;
    Ok(servers.chain(authorities.iter().map(|ending| ending.sentence(now))).collect())
}

/// What is late, damaged, full or not at its end, a sentence each.
fn late(workspace: &Workspace, facts: &NodeFacts) -> Vec<String> {
    let (snapshots, lab, now) = (&facts.snapshots, &workspace.lab, lap_base::clock::now());
    let age = now - snapshots.newest.unwrap_or(0).max(snapshots.since);
    let late = snapshots.policy.patience().is_some_and(|patience| age > patience.cast_signed());
    let mut all: Vec<String> = facts.unreadable.iter().map(Unreadable::sentence).collect();
    if is_recovering(facts) {
        all.push(recovering(facts, now));
    }
    all.extend(quota::over(facts, now));
    if facts.data.is_low() {
        all.push(format!("`/data` is full: {} of {} are free", bytes(facts.data.free), bytes(facts.data.size)));
        all.extend(quota::largest(facts));
    }
    if late {
        all.push("the newest snapshot is older than the schedule allows".into());
    }
    all.extend(snapshots.incomplete.iter().map(|why| format!("the newest snapshot: {why}")));
    // Before that there was no node that could be copied.
    let since = if snapshots.since > 0 { snapshots.since } else { now };
    all.extend(lab.copies.complaints(lab.repositories.keys(), &facts.copies, since, now));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_end_soon_are_complaints() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), "office", "internal", &["test".into()]).unwrap().keys;
        let now = OffsetDateTime::now_utc();
        let leaf = keys.issue("test", &["git.internal".into()], &[], now).unwrap();
        let servers = BTreeMap::from([("git".to_owned(), leaf.chain)]);
        let after = |days| certificates(&keys, &servers, now + time::Duration::days(days)).unwrap();
        assert!(after(0).is_empty() && after(264).is_empty());
        assert_eq!(after(265), [format!("the certificate of `git` ends on {}", leaf.not_after.date())]);
        assert_eq!(after(398), [format!("the certificate of `git` ended on {}", leaf.not_after.date())]);
        assert!(after(3290)[1].starts_with("the certificate `.lap/keys/test/issuing.crt` ends on "));
    }
}
