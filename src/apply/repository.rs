//! Copies of snapshots off the machine, and back: the agent works, this reaches the repository's files for it.

mod init;
mod place;
pub mod progress;

use std::time::Instant;

pub use init::{Made, change_passphrase};
use lap_base::error::{Error, Kind, Result};
use lap_repositories::{
    Position, Repository, RepositoryScope,
    policy::{News, newest_of},
};
use lap_snapshots::{Id, Meta};
pub(super) use place::storage;
pub use place::{LabRepositories, Layout};

use self::progress::{aside, silent, step, tell};
use super::{options::Options, snapshot::Snapshots};
use crate::{
    keys::recovery,
    wire::protocol::{Request, Response},
};

/// How a copy ended.
pub struct CopyResult {
    pub id: Id,
    /// Bytes that came to the repository, and those of all files; `None`: it was there already.
    pub sent: Option<(u64, u64)>,
    pub seconds: f64,
}

/// How a fetch ended.
pub struct Fetched {
    pub id: Id,
    /// `false`: the node had it already.
    pub new: bool,
    pub seconds: f64,
}

impl Snapshots {
    /// Copies a snapshot (`None`: the newest), and checks it there.
    ///
    /// # Errors
    /// There is no such snapshot, restic works on the repository, or what the agent says.
    pub async fn copy(&self, id: Option<&str>, place: &LabRepositories, options: &Options) -> Result<CopyResult> {
        let begun = Instant::now();
        // An agent of an earlier lap knows no order of snapshots: it is replaced first.
        self.facts(options).await?;
        let meta = self.named(id.unwrap_or("latest")).await?;
        let environment = self.environment().name.clone();
        let (there, env) = (place.clone(), environment.clone());
        if !recovery::has_passphrase(&place.root) {
            options.events.note(format!(
                "`{0}` has no passphrase: only the keys of this workspace open it (`lap repository init {0}` sets one)",
                place.name
            ));
        }
        let asked = id.is_some_and(|id| id != "latest");
        let wanted = meta.id.clone();
        let (repository, shared, copies, _lock) = aside(move || {
            let room = there.room_for_copies(&env)?;
            let shared = room == RepositoryScope::Shared;
            let repository = there.must_open(&room, silent())?;
            let lock = repository.lock(false)?;
            if shared {
                there.keep(&repository)?;
            } else {
                let lab = there.must_open(&RepositoryScope::Lab, silent())?;
                let _lock = lab.lock(false)?;
                there.keep(&lab)?;
            }
            let copies = repository.copies_of(&there.lab, &env)?;
            let Some(copy) = copies.iter().find(|copy| asked && copy.id == wanted && !copy.asked) else {
                return Ok((repository, shared, copies, lock));
            };
            // The policy had it copied; from now on it stays, as if it had been copied for its name.
            drop(lock);
            let alone = repository.lock(true)?;
            repository.ask_for(copy, &alone)?;
            Ok((repository, shared, copies, alone))
        })
        .await?;
        if shared {
            options.events.note(format!(
                "`{0}` is shared: the node of each environment can write copies of all environments (`lap repository init {0}` separates them)",
                place.name
            ));
        }
        self.note(place, News::Shared(shared), options).await;
        let seconds = || begun.elapsed().as_secs_f64();
        if copies.iter().any(|copy| copy.id == meta.id) {
            self.note(place, newest_of(&copies), options).await;
            return Ok(CopyResult { id: meta.id, sent: None, seconds: seconds() });
        }
        let request = Request::CopySnapshot {
            id: meta.id.to_string(),
            asked,
            lab: place.lab.clone(),
            environment,
            node: self.environment().master.clone(),
            generation: meta.order.as_ref().and_then(|order| Position::generation(order, &copies)),
            repository: repository.name.clone(),
            key: repository.key()?,
        };
        let title = format!("copy {} to `{}`", meta.id, place.name);
        match step(options, title, self.serve(&request, &repository, options)).await? {
            Response::Copied { id, added, size } => {
                let before = copies.last().filter(|_| !Position::is_newest(&meta, &copies));
                let newest = before.map_or_else(|| (id.clone(), meta.at), |copy| (copy.id.clone(), copy.at));
                self.note(place, News::Newest(Some(newest)), options).await;
                Ok(CopyResult { id, sent: Some((added, size)), seconds: seconds() })
            }
            other => Err(super::responses::unexpected(&other)),
        }
    }

    /// Makes a copy (or `latest`) a snapshot of the node, unless it has it.
    ///
    /// # Errors
    /// There is no such copy, it is damaged, or what the agent says: then there is no snapshot.
    pub async fn fetch(&self, id: &str, place: &LabRepositories, options: &Options) -> Result<Fetched> {
        let begun = Instant::now();
        let (there, env, name) = (place.clone(), self.environment().name.clone(), id.to_owned());
        let (repository, copy, _lock) = aside(move || {
            let mut opened = there.with_copies(&env)?;
            let copy = place::named(there.copies_in(&opened, &env)?, &there.name, &env, &name)?;
            opened.retain(|(room, _)| (*room == RepositoryScope::Shared) == copy.shared);
            let Some((_, repository)) = opened.pop() else {
                return Err(Error::new(Kind::Other, "a repository no longer exists"));
            };
            let lock = repository.lock_to_read()?;
            Ok((repository, copy, lock))
        })
        .await?;
        if copy.shared {
            options.events.note(format!(
                "{} comes from `{}`, which all environments share: only its tag says that it belongs to `{}`",
                copy.id,
                place.name,
                self.environment().name
            ));
        }
        if self.list(false).await?.iter().any(|listed| listed.meta.id == copy.id) {
            return Ok(Fetched { id: copy.id, new: false, seconds: 0.0 });
        }
        let request = Request::FetchSnapshot {
            id: copy.id.clone(),
            restic: copy.restic,
            generation: copy.order.map(|place| place.generation),
            repository: repository.name.clone(),
            key: repository.key()?,
        };
        let title = format!("fetch {} from `{}`", copy.id, place.name);
        match step(options, title, self.serve(&request, &repository, options)).await? {
            Response::Fetched { meta } => {
                Ok(Fetched { id: meta.id, new: true, seconds: begun.elapsed().as_secs_f64() })
            }
            other => Err(super::responses::unexpected(&other)),
        }
    }

    async fn named(&self, id: &str) -> Result<Meta> {
        let all = self.list(false).await?;
        let found = match id {
            "latest" => all.last(),
            id => all.iter().find(|listed| listed.meta.id.to_string() == id),
        };
        let name = &self.environment().name;
        found.map(|listed| listed.meta.clone()).ok_or_else(|| match id {
            "latest" => Error::new(Kind::Usage, format!("`{name}` has no snapshot yet"))
                .hint(format!("`lap snapshot {name}` takes one")),
            id => {
                Error::new(Kind::Usage, format!("there is no snapshot `{id}`")).hint("`lap snapshot list` shows them")
            }
        })
    }

    async fn serve(&self, request: &Request, repository: &Repository, options: &Options) -> Result<Response> {
        // An older agent does not know the request: replaced first.
        self.facts(options).await?;
        let (told, mut stop) = (tell(options), options.stop.clone());
        tokio::select! {
            answer = self.client().serve(request, repository.storage(), move |text| told(text)) => answer,
            _ = stop.wait_for(|stop| *stop) => {
                Err(Error::new(Kind::Interrupted, "stopped; run the same command again to continue"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
