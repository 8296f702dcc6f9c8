//! The decision, and what is left to do after it.

use std::path::Path;

use lap_base::{
    durable::{self, write_file},
    error::{Kind, OrError, Result},
};
use lap_snapshots::volume;

use super::{
    containers,
    record::{Phase, SwitchRecord},
    staged,
    transaction::{Switch, SwitchResult, ledger},
};
use crate::{
    agent::docker::image_files,
    release::{self, SwitchOutcome, Verb},
    wire::paths,
};

impl Switch {
    /// From here on there is no way back but another switch.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.step("make it the release")?;
        self.record.away = self.measure.worst();
        // What containers and git wrote for this release is on the disk before the record that makes it the release.
        volume::sync(Path::new(paths::POOL))?;
        self.record.phase = Phase::Committed;
        self.record.write().inspect_err(|_| self.record.phase = Phase::Open)
    }

    /// All of it may have been done before.
    pub(super) async fn finish(&self) -> Result<SwitchResult> {
        let order = &self.record.order;
        let done = self.close().await;
        done.map_err(|error| {
            error.hint(format!(
                "release {} runs; the agent completes the remaining steps, and repeats them until they succeed",
                order.number
            ))
        })
    }

    async fn close(&self) -> Result<SwitchResult> {
        let order = &self.record.order;
        self.tell("record what runs");
        // They are in place since before the release was made; should one not be, the new release would run with the old ones.
        staged::put(&order.staged, &self.record.staged, false)?;
        let (state, number) = (Path::new(paths::STATE), order.number);
        let text = serde_json::to_vec_pretty(&order.release).or_error(Kind::Other, || "release".into())?;
        let releases = state.join("releases");
        durable::create_dir_all(&releases).or_error(Kind::Node, || format!("cannot make `{}`", releases.display()))?;
        if order.verb == Verb::Promote {
            write_file(&releases.join(format!("{number}.json")), &text, 0o600)?;
        }
        write_file(&state.join("current.json"), &text, 0o600)?;
        let entry = self.entry(SwitchOutcome::Done);
        let hash = release::append(&ledger(), entry.clone())?;
        self.tell("remove the old containers");
        containers::forget(&self.docker, &order.stop).await?;
        if let Some(image) = &order.registry_image {
            image_files::save(image, "registry.tar").await?;
        }
        self.tell("close");
        staged::clear();
        SwitchRecord::remove()?;
        Ok((entry, hash))
    }
}
