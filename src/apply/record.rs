//! `lap release record`: the agent writes what it records of a release anew, where that cannot be read.

use std::{sync::Arc, time::Duration};

use lap_base::error::Result;

use super::{master::Master, options::Options, responses::unexpected};
use crate::{
    config::model::Environment,
    release::manifest::ReleaseManifest,
    wire::protocol::{Request, Response},
    workspace::Workspace,
};

/// Does it; gives the release and the files that were written.
///
/// # Errors
/// Nothing says what that release is, the ledger or the containers say something else, or somebody holds the lock.
pub async fn record(
    workspace: Arc<Workspace>,
    environment: &Environment,
    number: Option<u64>,
    options: &Options,
) -> Result<(ReleaseManifest, Vec<String>)> {
    let master = Master::connect(workspace, environment, Duration::from_secs(5)).await?;
    // An agent of another build is replaced first: it may not know the question.
    master.node.facts(Some(options)).await?;
    let request = Request::RecordRelease { holder: options.holder(), wait: options.wait, number };
    let step = |text: &str| options.events.note(format!("  {text}"));
    match master.node.client.work(&request, options.wait, master.node.busy(options), step).await? {
        Response::RecordedAnew { release, wrote } => Ok((*release, wrote)),
        other => Err(unexpected(&other)),
    }
}
