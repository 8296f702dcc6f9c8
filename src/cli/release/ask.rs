//! Asks a node for its releases.

use std::time::Duration;

use lap_base::error::Result;

use crate::{
    apply::{
        master::Master,
        promote::{Releases, releases},
    },
    cli::{common::runtime, global::Global},
};

/// The environment's name, its releases, and the number of the one that runs.
pub fn ask(global: &Global, environment: Option<&str>) -> Result<(String, Releases, Option<u64>)> {
    let workspace = global.workspace()?;
    let environment = crate::cli::promote::target(&workspace.lab, environment)?.clone();
    runtime()?.block_on(async {
        let master = Master::connect(workspace, &environment, Duration::from_secs(2)).await?;
        let facts = master.node.facts(None).await?;
        let (runs, _) = facts.recorded.value_and_complaint();
        Ok((environment.name, releases(&master).await?, runs.and_then(|runs| runs.release)))
    })
}
