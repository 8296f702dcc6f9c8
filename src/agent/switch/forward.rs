//! The way forward: what changes is stopped, the data is kept, the new release starts, and the gate judges it.

use std::time::Duration;

use futures_util::future::try_join_all;
use lap_base::error::{Error, Kind, Result};
use lap_snapshots::Reason;

use super::{containers, gate, git, staged, transaction::Switch};
use crate::{
    agent::{snapshots, system::blocking::run_blocking},
    release::{Hooked, Make, SwitchOrder},
};

impl Switch {
    /// Does every step up to the decision.
    ///
    /// # Errors
    /// A step failed, or the switch was aborted: the caller takes back what was done.
    pub(super) async fn forward(&mut self) -> Result<()> {
        let order = self.record.order.clone();
        self.step("stop the containers that change")?;
        containers::stop(&self.docker, &self.record.ran).await?;
        self.measure.ended(&self.docker).await;
        containers::put_aside(&self.docker, &order.stop).await?;
        self.step("take a snapshot of the data")?;
        self.keep_data(&order).await?;
        self.step("set names and secrets")?;
        staged::put(&order.staged, &self.record.staged, false)?;
        self.start(&order.start).await?;
        self.record.away = self.measure.worst();
        let judged = gate::Judged { all: &order.gate, started: &order.start };
        self.step("check that all containers are healthy")?;
        gate::all(&self.docker, judged, &self.watch).await?;
        self.step("run the checks")?;
        self.record.checks = gate::checks(&self.docker, &order.release, &self.watch).await?;
        self.step(&format!("watch the release for {} s", order.settle))?;
        gate::settle(&self.docker, judged, Duration::from_secs(order.settle), &self.watch).await?;
        if let Some(to) = &order.git {
            self.step(&format!("move `{}` of `{}`", to.branch, to.repository))?;
            self.record.moved = true;
            self.record.write()?;
            git::advance(&self.docker, to).await?;
        }
        self.last_word(&order).await
    }

    async fn keep_data(&self, order: &SwitchOrder) -> Result<()> {
        let (by, before, concerned) = (self.record.by.clone(), self.record.before.clone(), self.record.concerned());
        let note = format!("before the {} to release {}", order.verb.word(), order.number);
        let (data, old) = (order.data.clone(), self.record.old.clone());
        run_blocking(move || {
            if let Some(id) = data {
                let kept = (before.clone(), Reason::Release, note.clone());
                snapshots::put_back(&by, &id, &concerned, kept, old)?;
            }
            snapshots::keep_as(&by, &before, Reason::Release, note)
        })
        .await
    }

    /// Those that wait for nothing at the same time, then those that waited for them.
    async fn start(&self, all: &[Make]) -> Result<()> {
        let mut left: Vec<&Make> = all.iter().collect();
        while !left.is_empty() {
            let waits = |make: &&Make| make.after.iter().any(|on| left.iter().any(|other| other.name == *on));
            let (later, now): (Vec<&Make>, Vec<&Make>) = left.iter().partition(|make| waits(make));
            // A circle cannot come here; if one did, it would be started in the order it has.
            let (later, now) = if now.is_empty() { (now, later) } else { (later, now) };
            let each = now.iter().map(|make| async move {
                self.step(&format!("start `{}`", make.name))?;
                containers::start(&self.docker, make, self.record.fence).await?;
                self.step(&format!("wait until `{}` is healthy", make.name))?;
                gate::healthy(&self.docker, &make.name, Duration::from_secs(make.patience), &self.watch).await?;
                self.measure.healthy(&make.name);
                Ok::<(), Error>(())
            });
            try_join_all(each).await?;
            left = later;
        }
        Ok(())
    }

    /// What whoever asked for it felt, if they are there.
    async fn last_word(&mut self, order: &SwitchOrder) -> Result<()> {
        self.step("ask the client to confirm the release")?;
        let hooked = order.from.clone().filter(|_| order.hooked);
        let hooked = hooked.map(|from| Hooked { from, commit: order.commit.clone(), release: order.number });
        match self.watch.ask(order.attended, hooked).await {
            Some(reply) => {
                self.record.outage = reply.outage;
                reply.no.map_or(Ok(()), |no| Err(Error::new(Kind::Unhealthy, no)))
            }
            None if self.watch.aborted().is_some() => self.step("stop"),
            None if order.attended => {
                Err(Error::new(Kind::Interrupted, "the client disconnected before it confirmed the release"))
            }
            None => match (order.max_outage, self.measure.worst()) {
                (Some(most), Some(away)) if away > most => Err(Error::new(
                    Kind::Unhealthy,
                    format!("the outage lasted {away} ms, longer than the limit of {most} ms"),
                )),
                _ => Ok(()),
            },
        }
    }
}
