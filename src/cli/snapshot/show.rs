//! `lap snapshot show`

use std::{collections::BTreeMap, process::ExitCode};

use lap_base::{
    clock::now,
    error::Result,
    words::{ago, bytes},
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::texts::{felt, kept, ran};
use crate::{
    apply::snapshot::Snapshots,
    cli::{
        common::{print_json, runtime},
        global::Global,
    },
    report::{
        print::{out, outln},
        table::table,
    },
    wire::protocol::ListedSnapshot,
};

/// Show one snapshot: time, reason, release, content, cost
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A snapshot, or `latest`
    id: String,
    /// The environment [default: `default` in lap.toml]
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    snapshot: &'a ListedSnapshot,
    /// Bytes that only this one holds of a container's data, and all of it.
    containers: &'a BTreeMap<String, (u64, u64)>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let (snapshot, containers) =
            runtime()?.block_on(async { Snapshots::of(workspace, &environment).await?.show(&self.id).await })?;
        if self.json || global.json() {
            print_json(&Shown { snapshot: &snapshot, containers: &containers })?;
            return Ok(ExitCode::SUCCESS);
        }
        let meta = &snapshot.meta;
        let at = OffsetDateTime::from_unix_timestamp(meta.at).ok().and_then(|at| at.format(&Rfc3339).ok());
        let at = at.unwrap_or_else(|| meta.at.to_string());
        let age = if snapshot.ahead { "in the future".into() } else { format!("{} ago", ago(now() - meta.at)) };
        outln!("Snapshot {} of `{}`, taken {at} ({age}) by {}.", meta.id, environment.name, meta.by);
        if let Some(note) = &meta.note {
            outln!("Note: {note}");
        }
        outln!("Running at that time: {}", ran(meta));
        outln!("Stays: {}", kept(&snapshot));
        if !meta.nested.kept.is_empty() {
            let all = meta.nested.kept.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
            outln!("Subvolumes that containers made, each with its own time: {all}");
        }
        meta.nested.complaints().iter().for_each(|why| outln!("Attention: {why}"));
        meta.pause.iter().flat_map(felt).for_each(|line| outln!("{line}"));
        let sizes = |(own, total): (u64, u64)| [bytes(own), bytes(total)];
        let mut rows: Vec<[String; 3]> = Vec::new();
        for (name, numbers) in &containers {
            let [own, total] = sizes(*numbers);
            rows.push([name.clone(), own, total]);
        }
        if let Some(all) = snapshot.sizes {
            let [own, total] = sizes(all);
            rows.push(["all".into(), own, total]);
        }
        outln!("");
        out!("{}", table(["CONTAINER", "OWN", "TOTAL"], &rows));
        Ok(ExitCode::SUCCESS)
    }
}
