//! `lap check`: the environment's agent runs the checks, this watches.

use std::{sync::Arc, time::Duration};

use lap_base::error::Result;

use super::{master::Master, options::Options, responses::unexpected};
use crate::{
    config::model::Environment,
    wire::protocol::{CheckResult, Request, Response},
    workspace::Workspace,
};

/// Runs the checks of these containers (none: all).
///
/// # Errors
/// The node does not answer, or nothing ran there yet.
pub async fn check(
    workspace: Arc<Workspace>,
    environment: &Environment,
    containers: &[String],
    options: &Options,
) -> Result<Vec<CheckResult>> {
    let master = Master::connect(workspace, environment, Duration::from_secs(5)).await?;
    // An older agent does not know the request: replaced first.
    master.node.facts(Some(options)).await?;
    let request = Request::Check { containers: containers.to_vec() };
    let step = |text: &str| options.events.note(format!("  {text}"));
    match master.node.client.work(&request, false, |_, _| {}, step).await? {
        Response::Checked { list } => Ok(list),
        other => Err(unexpected(&other)),
    }
}
