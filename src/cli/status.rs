//! `lap status`

mod complaint;
mod complaints;
mod quota;

use std::{process::ExitCode, time::Duration};

use lap_base::{
    error::{Error, Kind, Result},
    words::{ago, bytes, duration, plural},
};
use lap_snapshots::Filesystem;
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    common::{print_json, runtime},
    global::Global,
    tables::{self, StatusRow},
};
use crate::{
    apply::{admits, master::Master, options::short},
    drivers,
    release::manifest::ReleaseManifest,
    report::print::{out, outln},
    wire::protocol::NodeFacts,
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
    complaints: &'a [&'a str],
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
            let (facts, doors) = tokio::try_join!(master.node.facts(None), admits::ask_on(&workspace, &host, &[]))?;
            Ok::<_, Error>((facts, master.address(), doors))
        })?;
        let rows = tables::rows(&workspace, &facts, Some(address));
        let current = facts.recorded.as_ref().value_and_complaint().0;
        let sick: Vec<&str> = rows.iter().filter(|row| !row.ok).map(|row| row.container.as_str()).collect();
        let mut all = complaints::late(&workspace, &environment.name, &facts);
        all.extend(complaints::certificates(
            &workspace.keys()?,
            &environment.name,
            &facts.certificates,
            OffsetDateTime::now_utc(),
        )?);
        all.extend(complaints::open(admits::sentences(&doors, false)));
        let texts: Vec<&str> = all.iter().map(|complaint| complaint.text.as_str()).collect();
        if self.json || global.json() {
            print_json(&Status {
                environment: &environment.name,
                node: &environment.master,
                address: address.to_string(),
                commit: current.map(|current| current.commit.clone()),
                release: current.and_then(|current| current.release),
                healthy: sick.is_empty() && texts.is_empty() && facts.docker.is_some(),
                complaints: &texts,
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
        let sick = complaints::sick(&environment.name, &sick, &facts);
        if sick.is_none() && all.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(complaint::error(sick.into_iter().chain(all).collect()))
    }
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
