//! The way back: what ran before runs again, on the data it had, under the names it had. What the failed release left is kept as a
//! snapshot. All of it may have been done before, by somebody who was killed.

use std::{path::Path, time::Duration};

use futures_util::future::join_all;
use lap_base::error::{Error, Result};
use lap_snapshots as snapshot;
use lap_snapshots::{Meta, Nested, Reason, volume};

use super::{
    containers, git,
    record::{Phase, SwitchRecord},
    staged,
    transaction::{Switch, SwitchResult, ledger},
};
use crate::{
    agent::{docker::health, snapshots, system::blocking::run_blocking},
    release::{self, SwitchOutcome},
    wire::paths,
};

/// How long what ran before may take until it is healthy again.
const PATIENCE: Duration = Duration::from_secs(120);

impl Switch {
    /// Takes it back because of `error`, and says so in the ledger.
    ///
    /// # Errors
    /// Something in the way: the agent tries again by itself ([`crate::agent::recovery`]).
    pub(super) async fn undo(&mut self, error: Error) -> Result<SwitchResult> {
        let why = error.message;
        let number = self.record.order.number;
        self.record.phase = Phase::Back(why.clone());
        // Helps whoever looks; a full disk is no reason not to go back.
        if let Err(error) = self.record.write() {
            eprintln!("agent: {error}");
        }
        self.back(&why).await.map_err(|error| {
            let message = format!(
                "release {number} failed ({why}), and the old release does not run again yet: {}",
                error.message
            );
            Error::new(error.kind, message)
                .hint("the agent tries again until the old release runs; `lap promote --resume` watches it")
        })
    }

    async fn back(&mut self, why: &str) -> Result<SwitchResult> {
        let order = self.record.order.clone();
        self.tell("take back: remove the new containers");
        let names: Vec<String> = order.start.iter().map(|make| make.name.clone()).collect();
        containers::remove_new(&self.docker, &names, self.record.fence).await?;
        self.tell("take back: restore the data");
        let failed = self.data_back(why).await?;
        self.tell("take back: restore names and secrets");
        staged::put(&order.staged, &self.record.staged, true)?;
        self.tell("take back: start the old containers");
        self.measure.ended(&self.docker).await;
        containers::take_back(&self.docker, &order.stop).await?;
        containers::start_all(&self.docker, &self.record.ran).await?;
        let sick = self.await_all().await;
        if let Some(to) = order.git.as_ref().filter(|_| self.record.moved) {
            git::retreat(&self.docker, to).await?;
        }
        if self.record.outage.is_empty() {
            // Whoever asked for it felt the way back, too.
            self.record.outage = self.watch.ask_how_it_was().await.map(|reply| reply.outage).unwrap_or_default();
        }
        self.record.away = self.measure.worst().or(self.record.away);
        self.tell("take back: close");
        let why = [&[why.to_owned()], sick.as_slice()].concat().join("; after it was taken back ");
        let entry = self.entry(SwitchOutcome::TakenBack { why, failed });
        // What was taken back is on the disk before the record that asks for it is off it.
        volume::sync(Path::new(paths::POOL))?;
        let hash = release::append(&ledger(), entry.clone())?;
        staged::clear();
        SwitchRecord::remove()?;
        Ok((entry, hash))
    }

    /// Waits for all at the same time; gives why some that run are not healthy. That is no reason to try again: Docker goes on starting
    /// them, `lap status` says so, and the next release may be what mends them.
    async fn await_all(&self) -> Vec<String> {
        let each = self.record.ran.iter().map(|container| async move {
            let healthy = health::await_healthy(&self.docker, container, PATIENCE).await;
            self.measure.healthy(container);
            healthy.err().map(|error| error.message)
        });
        join_all(each).await.into_iter().flatten().collect()
    }

    /// Gives the snapshot of what the failed release left.
    async fn data_back(&self, why: &str) -> Result<Option<snapshot::Id>> {
        let SwitchRecord { order, by, before, failed, .. } = &self.record;
        let (by, before, failed) = (by.clone(), before.clone(), failed.clone());
        let (concerned, release) = (self.record.concerned(), Some(order.release.clone()));
        let why = why.lines().next().unwrap_or_default();
        let note = format!("the data of release {}, which was taken back: {why}", order.number);
        let kept = Meta {
            id: before.clone(),
            at: self.record.began,
            reason: Reason::Release,
            note: Some(format!("before the {} to release {}", order.verb.word(), order.number)),
            by: by.clone(),
            current: self.record.old.clone(),
            pause: None,
            order: None,
            nested: Nested::default(),
        };
        run_blocking(move || {
            let pool = Path::new(paths::POOL);
            // The snapshot has its number already if there is one. A full disk must not keep the old containers from their start.
            let kept = Meta { order: snapshot::order::again(pool, &before).ok(), ..kept };
            // Without it nothing new was ever started. One whose description cannot be read is not absent: the data is there.
            if !snapshot::complete(pool, &kept)? {
                snapshot::abandon(pool, &before)?;
                return Ok(None);
            }
            snapshots::put_back(&by, &before, &concerned, (failed.clone(), Reason::Failed, note), release)?;
            Ok(snapshot::is_whole(pool, &failed).then_some(failed))
        })
        .await
    }
}
