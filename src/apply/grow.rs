//! A larger `disk`: before anything else, and without the journal, because a pool that is full has room for neither.

use std::sync::Arc;

use async_trait::async_trait;
use lap_base::error::{Error, Kind, Result};

use super::{Perform, carry_out, master::Master, options::Options, outcome::Outcome, responses::unexpected};
use crate::{
    plan::{Action, pool},
    report::LineSink,
    wire::protocol::{NodeFacts, Request, Response},
};

struct Grow {
    master: Arc<Master>,
    options: Options,
}

#[async_trait]
impl Perform for Grow {
    async fn perform(&self, action: &Action, _line: &LineSink<'_>) -> Result<()> {
        let Action::GrowPool { disk, .. } = action else {
            return Err(Error::new(Kind::Other, format!("not a step for a pool: {action}")));
        };
        let Self { master, options } = self;
        let request = Request::GrowPool { holder: options.holder(), wait: options.wait, disk: *disk };
        match master.node.client.work(&request, options.wait, master.node.busy(options), |_| {}).await? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// Makes the pool of the master as large as its file says.
///
/// # Errors
/// Somebody has the lock, or the pool's file system cannot grow there.
pub async fn pool(master: &Arc<Master>, facts: &NodeFacts, options: &Options, outcome: &mut Outcome) -> Result<()> {
    let Some(node) = master.workspace.lab.nodes.get(&master.environment.master) else { return Ok(()) };
    let mut plan = pool::grow(node, &facts.data);
    outcome.notes.append(&mut plan.notes);
    if !plan.steps.is_empty() {
        if !options.dry_run {
            let performer = Arc::new(Grow { master: master.clone(), options: options.clone() });
            carry_out(&plan, performer, &options.events, &options.stop).await.1?;
        }
        outcome.plans.push(plan);
    }
    Ok(())
}
