//! The table of an environment's containers, and the outcome of a plan: the same after every verb.

use std::net::Ipv4Addr;

use lap_base::{
    error::Result,
    state::State,
    words::{self, ago},
};
use serde::Serialize;

use super::common::print_json;
use crate::{
    apply::outcome::Outcome,
    config::model::{Container, Protocol},
    report::{
        print::{out, outln},
        table::table,
    },
    wire::protocol::{Health, NodeFacts},
    workspace::Workspace,
};

/// One line of the table.
#[derive(Debug, Serialize)]
pub struct StatusRow {
    pub container: String,
    pub state: String,
    pub name: String,
    pub address: String,
    pub ports: Vec<String>,
    /// Seconds; `None` while it does not exist.
    pub age: Option<i64>,
    pub health: String,
    /// It runs, and its check passes.
    pub ok: bool,
}

/// What runs and what should: from what is recorded, else from the workspace.
pub fn rows(workspace: &Workspace, facts: &NodeFacts, address: Option<Ipv4Addr>) -> Vec<StatusRow> {
    let wished = match &facts.recorded {
        State::Value(current) => current.containers.clone(),
        State::Absent => workspace.lab.containers.clone(),
        // What should run is not known: the containers that are there are listed.
        State::Unreadable(_) => Default::default(),
    };
    let now = lap_base::clock::now();
    let mut rows: Vec<StatusRow> = wished
        .values()
        .filter(|container| container.scale > 0)
        .map(|container| {
            let fact = facts.containers.iter().find(|fact| fact.name == container.name);
            let state = fact.map_or("missing", |fact| fact.state.as_str());
            let frozen = facts.quota.is_frozen(&container.name);
            let health = match fact.map(|fact| fact.health) {
                Some(_) if frozen => "frozen",
                Some(Health::Healthy) => "healthy",
                Some(Health::Unhealthy) => "unhealthy",
                Some(Health::Starting) => "starting",
                _ => "-",
            };
            StatusRow {
                container: container.name.clone(),
                state: state.to_owned(),
                name: container.names.first().cloned().unwrap_or_else(|| "-".into()),
                address: address.map_or_else(|| "-".into(), |address| address.to_string()),
                ports: ports(container),
                age: fact.map(|fact| now - fact.created),
                health: health.to_owned(),
                ok: state == "running" && !frozen && (health == "healthy" || container.healthcheck.is_none()),
            }
        })
        .collect();
    for fact in &facts.containers {
        if rows.iter().any(|row| row.container == fact.name) {
            continue;
        }
        rows.push(StatusRow {
            container: fact.name.clone(),
            state: fact.state.clone(),
            name: "-".into(),
            address: "-".into(),
            ports: Vec::new(),
            age: Some(now - fact.created),
            health: if facts.recorded.unreadable().is_some() { "-" } else { "not in the workspace" }.into(),
            ok: true,
        });
    }
    rows
}

fn ports(container: &Container) -> Vec<String> {
    let port = |port: &crate::config::model::Port| {
        let address = if port.node_only { "127.0.0.1:" } else { "" };
        match port.protocol {
            Protocol::Tcp => format!("{address}{}", port.host),
            Protocol::Udp => format!("{address}{}/udp", port.host),
        }
    };
    container.ports.iter().map(port).collect()
}

/// The rows as aligned text.
pub fn text(rows: &[StatusRow]) -> String {
    let cells: Vec<[String; 7]> = rows
        .iter()
        .map(|row| {
            let ports = if row.ports.is_empty() { "-".into() } else { row.ports.join(",") };
            let age = row.age.map_or_else(|| "-".into(), ago);
            [&row.container, &row.state, &row.name, &row.address, &ports, &age, &row.health].map(Clone::clone)
        })
        .collect();
    table(["CONTAINER", "STATE", "NAME", "ADDRESS", "PORTS", "AGE", "HEALTH"], &cells)
}

/// Prints what a plan would do (`--dry-run`).
pub fn print_plan(outcome: &Outcome, json: bool) -> Result<()> {
    if json {
        return print_json(&outcome.plans);
    }
    for plan in outcome.plans.iter().filter(|plan| !plan.steps.is_empty()) {
        outln!("{} for `{}`:", words::plural(plan.steps.len(), "step"), plan.environment);
        out!("{plan}");
    }
    if outcome.idle() {
        outln!("Nothing to do.");
    }
    for note in &outcome.notes {
        outln!("{note}");
    }
    Ok(())
}

/// Prints how a verb that changes something ended.
pub fn print_done(outcome: &Outcome, dry_run: bool, json: bool, done: &str) -> Result<()> {
    if dry_run {
        return print_plan(outcome, json);
    }
    if json {
        return Ok(());
    }
    for note in &outcome.notes {
        outln!("{note}");
    }
    if !outcome.idle() {
        outln!("{done}");
    } else if outcome.notes.is_empty() {
        outln!("Nothing to do.");
    }
    Ok(())
}
