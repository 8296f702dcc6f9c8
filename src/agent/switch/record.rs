//! `state/switch.json`: a switch under way, with all it takes to bring it to an end without whoever asked for it.

use std::path::PathBuf;

use lap_base::{
    durable::{remove_file, write_file},
    error::{Kind, OrError, Result},
    state,
};
use lap_snapshots::Id;
use serde::{Deserialize, Serialize};

use crate::{
    release::{Outage, SwitchOrder},
    wire::paths,
};

/// How far it is, as far as it matters for the way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A kill here is taken back.
    Open,
    /// Being taken back; why.
    Back(String),
    /// The release is made: a kill here is finished.
    Committed,
}

/// The record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SwitchRecord {
    pub order: SwitchOrder,
    /// The lock's number.
    pub fence: u64,
    pub by: String,
    /// Unix seconds.
    pub began: i64,
    pub phase: Phase,
    /// `state/current.json` before.
    pub old: Option<serde_json::Value>,
    /// Of what is stopped, what ran: in the order in which it is started again.
    pub ran: Vec<String>,
    /// The data before, and the data of a failed release: names chosen before anything happens.
    pub before: Id,
    pub failed: Id,
    /// Inodes of what lies ready, in the order of `order.staged`: on which side of the exchange we are.
    pub staged: Vec<u64>,
    /// The longest that a service was away, as the agent saw it ([`super::measure`]), in milliseconds.
    pub away: Option<u64>,
    /// The branch may have been moved.
    #[serde(default = "yes")]
    pub moved: bool,
    pub checks: u64,
    pub outage: Vec<Outage>,
}

/// An agent of an earlier build did not say.
fn yes() -> bool {
    true
}

impl SwitchRecord {
    fn path() -> PathBuf {
        PathBuf::from(paths::STATE).join("switch.json")
    }

    /// Whether there is one.
    pub fn exists() -> bool {
        // One that cannot be read is one: what it says must be done.
        !state::is_absent(&Self::path())
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).or_error(Kind::Other, || "cannot describe a switch".into())?;
        write_file(&Self::path(), &text, 0o600)
    }

    /// Reads it, if there is one.
    ///
    /// # Errors
    /// It is damaged.
    pub fn read() -> Result<Option<Self>> {
        state::json(&Self::path()).value_or_refuse()
    }

    /// It has come to its end.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove() -> Result<()> {
        remove_file(&Self::path())
    }

    /// The containers that ran and are replaced.
    pub fn replaced(&self) -> Vec<String> {
        let is_made = |name: &&String| self.order.start.iter().any(|make| make.name == **name);
        self.ran.iter().filter(is_made).cloned().collect()
    }

    /// The containers whose data it may have changed.
    pub fn concerned(&self) -> Vec<String> {
        let mut all: Vec<String> = self.order.start.iter().map(|make| make.name.clone()).collect();
        all.extend(self.order.stop.iter().filter(|name| !all.contains(name)).cloned().collect::<Vec<_>>());
        all
    }
}
