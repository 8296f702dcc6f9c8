//! What `lap up` came to.

use std::{net::Ipv4Addr, sync::Arc};

use super::{admits::Stranger, master::Master};
use crate::{plan::Plan, wire::protocol::facts::NodeFacts};

/// What was done, or would be.
#[derive(Default)]
pub struct Outcome {
    /// Plans that were carried out, or only printed (`--dry-run`).
    pub plans: Vec<Plan>,
    pub facts: Option<NodeFacts>,
    /// `None`: its node does not run.
    pub master: Option<Arc<Master>>,
    /// Worth a line: why there was nothing to do, what runs instead.
    pub notes: Vec<String>,
    /// Keys that the environment admitted before, and lap.toml does not have.
    pub removed: Vec<Stranger>,
    pub seconds: f64,
}

impl Outcome {
    /// The master's address.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.master.as_ref().map(|master| master.address())
    }

    /// Whether there was nothing to do.
    pub fn idle(&self) -> bool {
        self.plans.iter().all(|plan| plan.steps.is_empty())
    }
}
