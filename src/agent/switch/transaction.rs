//! A switch while it runs: its record, who watches it, and the steps that it tells.

use std::path::{Path, PathBuf};

use bollard::Docker;
use lap_base::{
    clock::now,
    error::{Error, Kind, Result},
};

use super::{measure::Measure, record::SwitchRecord, watch::SwitchWatch};
use crate::{
    agent::system::failpoint,
    release::{LedgerEntry, SwitchOutcome},
    wire::paths,
};

/// A switch that is being done.
pub struct Switch {
    pub(super) docker: Docker,
    pub(super) record: SwitchRecord,
    pub(super) watch: SwitchWatch,
    pub(super) measure: Measure,
    /// Writes a step into the journal.
    pub(super) note: Box<dyn Fn(&str) + Send + Sync>,
}

/// How it ended, and the hash of the ledger's newest entry.
pub type SwitchResult = (LedgerEntry, String);

/// Where the ledger is.
pub fn ledger() -> PathBuf {
    Path::new(paths::STATE).join("ledger.jsonl")
}

impl Switch {
    /// Begins a step that a person may stop.
    ///
    /// # Errors
    /// The switch was aborted.
    pub(super) fn step(&self, text: &str) -> Result<()> {
        self.tell(text);
        match self.watch.aborted() {
            Some(why) => Err(Error::new(Kind::Interrupted, why)),
            None => Ok(()),
        }
    }

    /// A step that nobody can stop.
    pub(super) fn tell(&self, text: &str) {
        (self.note)(text);
        self.watch.step(text);
        failpoint::at(text);
    }

    /// The entry for the ledger.
    pub(super) fn entry(&self, result: SwitchOutcome) -> LedgerEntry {
        let SwitchRecord { order, fence, by, began, before, away, checks, outage, .. } = &self.record;
        let images = order.start.iter().map(|make| (make.name.clone(), make.body.image.clone().unwrap_or_default()));
        LedgerEntry {
            number: 0,
            fence: *fence,
            began: *began,
            ended: now(),
            by: by.clone(),
            verb: order.verb,
            from: order.from.clone(),
            release: order.number,
            commit: order.commit.clone(),
            images: images.collect(),
            before: Some(before.clone()),
            checks: *checks,
            away: *away,
            outage: outage.clone(),
            result,
            previous: String::new(),
        }
    }
}
