//! Builds what is pushed to the lab's own repository: a queue of one, in which the newest commit wins. The building itself is done by
//! a child ([`crate::apply::push`]), so that it holds the node's lock like anybody else; whoever pushed is shown what it prints, and
//! need not stay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lap_base::{
    error::{Error, Kind, Result},
    state,
};
use tokio::sync::Notify;

use super::{job::BuildJob, record};
use crate::{
    agent::{docker, git},
    wire::git::{BRANCH, REPOSITORY},
};

/// The queue. Cheap to clone.
#[derive(Clone, Default)]
pub struct Queue {
    state: Arc<Mutex<State>>,
    more: Arc<Notify>,
}

#[derive(Default)]
struct State {
    next: Option<Arc<BuildJob>>,
    running: Option<Arc<BuildJob>>,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the commit built that the branch is at, which must be this one; gives the job to be watched.
    ///
    /// # Errors
    /// Nothing is built here; the branch is elsewhere.
    pub async fn submit(&self, commit: &str, who: &str) -> Result<Arc<BuildJob>> {
        if !record::is_wanted() {
            return Err(Error::new(Kind::Refused, "nothing is built here: releases come with `lap promote`"));
        }
        let at = git::at(REPOSITORY, BRANCH).await?;
        if at.as_deref() != Some(commit) {
            let is = at.map_or_else(|| "does not exist".to_owned(), |at| format!("is at {at}"));
            return Err(Error::new(Kind::Refused, format!("`{BRANCH}` {is}, so {commit} is not built")));
        }
        let mut state = self.state();
        let same = |job: &&Arc<BuildJob>| job.commit == commit && !job.is_over();
        if let Some(job) = state.next.as_ref().filter(same).or_else(|| state.running.as_ref().filter(same)) {
            return Ok(job.clone());
        }
        let job = Arc::new(BuildJob::new(commit, who));
        // Under the same guard as its end below: the newest one's word stays the last.
        record::begin(&job)?;
        if let Some(running) = state.running.as_ref().filter(|job| !job.is_over()) {
            job.say(format!("waiting until the build of {} ends", short(&running.commit)));
        }
        if let Some(old) = state.next.replace(job.clone()) {
            old.end(Err(format!("not built: {} is newer", short(commit))));
        }
        self.more.notify_one();
        Ok(job)
    }

    pub async fn work(&self) {
        loop {
            let job = {
                let mut state = self.state();
                state.running = state.next.take();
                state.running.clone()
            };
            match job {
                Some(job) => {
                    let result = job.run().await;
                    {
                        // The newest one's end is what counts.
                        let state = self.state();
                        if state.next.is_none() {
                            record::end(&job, &result);
                        }
                    }
                    job.end(result);
                }
                None => self.more.notified().await,
            }
        }
    }

    /// What the agent had not finished when it ended.
    pub async fn take_up(&self) {
        let left = match record::read() {
            state::State::Value(fact) => fact,
            state::State::Absent => return,
            state::State::Unreadable(why) => {
                return eprintln!("agent: cannot continue the build of the last push: {}", why.sentence());
            }
        };
        if left.result.is_some() {
            return;
        }
        while docker::connect().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        // The git container may take a moment; a push that comes meanwhile does the same.
        for _ in 0..600 {
            match git::at(REPOSITORY, BRANCH).await {
                Ok(Some(_)) => break,
                _ => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
            }
        }
        if let Err(error) = self.submit(&left.commit, &left.by).await {
            record::give_up(&left, &error.message);
            eprintln!("agent: push: {error}");
        }
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
