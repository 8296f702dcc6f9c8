//! `lap node list`

use std::{process::ExitCode, time::Duration};

use lap_base::error::Result;
use serde::Serialize;

use super::super::common::{print_json, runtime};
use crate::{
    cli::global::Global,
    config::model::Provider,
    drivers,
    report::{print::out, table::table},
};

/// Long enough for a machine on the other side of a jump host.
const PATIENCE: Duration = Duration::from_secs(2);

/// List the machines, and whether they answer
#[derive(clap::Args, Debug)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    node: String,
    environment: String,
    role: String,
    provider: String,
    address: String,
    state: String,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let rows = runtime()?.block_on(async {
            let facts = drivers::node::observe(&workspace.lab).await?.facts;
            let (_, addresses) = workspace.addresses(&facts)?;
            let keys = workspace.keys().ok();
            let rows = workspace.lab.nodes.values().map(|node| {
                let (workspace, facts, addresses, keys) = (&workspace, &facts, &addresses, &keys);
                async move {
                    let is = facts.nodes.get(&node.name);
                    let address = addresses.get(&node.name).copied();
                    let mut state = is.map_or("not made", |is| is.state.as_str()).to_owned();
                    if address.is_none() && is.is_some_and(|is| is.running) {
                        state = format!("{state}, has no address yet");
                    }
                    if let (Some(keys), Some(address), true) = (keys, address, is.is_some_and(|is| is.running)) {
                        state = match workspace.connect(keys, &node.name, address, PATIENCE).await {
                            Ok(_) => "answers".into(),
                            Err(_) if node.provider == Provider::Ssh => "does not answer, or is not prepared".into(),
                            Err(_) => format!("{state}, does not answer"),
                        };
                    }
                    Row {
                        node: node.name.clone(),
                        environment: node.environment.clone(),
                        role: format!("{:?}", node.role).to_lowercase(),
                        provider: format!("{:?}", node.provider).to_lowercase(),
                        address: address.map_or_else(|| "-".into(), |address| address.to_string()),
                        state,
                    }
                }
            });
            Ok::<_, lap_base::error::Error>(futures_util::future::join_all(rows).await)
        })?;
        if self.json || global.json() {
            print_json(&rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        let cells: Vec<[String; 6]> = rows
            .into_iter()
            .map(|row| [row.node, row.environment, row.role, row.provider, row.address, row.state])
            .collect();
        out!("{}", table(["NODE", "ENVIRONMENT", "ROLE", "PROVIDER", "ADDRESS", "STATE"], &cells));
        Ok(ExitCode::SUCCESS)
    }
}
