//! Where a lab's repositories are, and which of them an environment's copies are in.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use lap_base::{
    error::{Error, Kind, Result},
    secret::Secret,
};
use lap_repositories::{
    Copy, Depth, Location, OnProgress, Repository, RepositoryScope, key_slot::KeySlot, recovery_bundle::SealedKeys,
    storage::Storage,
};
use serde::Serialize;

use super::progress::{aside, silent, step, tell};
use crate::{
    apply::options::Options,
    keys::{Keys, recovery},
    workspace::Workspace,
};

/// A location with repositories of the lab, none of them opened yet.
#[derive(Clone)]
pub struct LabRepositories {
    /// As the person calls it.
    pub name: String,
    pub(super) location: Location,
    pub(super) lab: String,
    /// The workspace.
    pub(super) root: PathBuf,
    pub(super) environments: Vec<String>,
    pub(super) keys: Arc<Keys>,
}

/// What is at a location.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Layout {
    pub name: String,
    pub location: String,
    /// The lab's own is there: copies go to the environments' own.
    pub parted: bool,
    /// There is one that all environments share.
    pub shared: bool,
    /// Environments that have one of their own.
    pub environments: Vec<String>,
    /// Environments that have none.
    pub missing: Vec<String>,
}

impl LabRepositories {
    /// The place that is meant: one of lap.toml, or a location; without a name the only one of lap.toml.
    ///
    /// # Errors
    /// There is none of this name; or none, or several, and none is named; or the keys are not here.
    pub fn of(workspace: &Workspace, name: Option<&str>) -> Result<Self> {
        let known = &workspace.lab.repositories;
        let names = || known.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let (name, location) = match name {
            Some(name) => match known.get(name) {
                Some(location) => (name.to_owned(), location.clone()),
                None => {
                    let location = name.parse().map_err(|message: String| {
                        let error = Error::new(Kind::Usage, message);
                        if known.is_empty() { error } else { error.hint(format!("lap.toml has {}", names())) }
                    })?;
                    (name.to_owned(), location)
                }
            },
            None => match (known.first_key_value(), known.len()) {
                (Some((name, location)), 1) => (name.clone(), location.clone()),
                (Some(_), _) => {
                    return Err(Error::new(Kind::Usage, format!("name a repository: lap.toml has {}", names())));
                }
                (None, _) => {
                    return Err(Error::new(Kind::Usage, "lap.toml names no repository").hint(
                        "write e.g. `office = \"/srv/backup/lap\"` under `[repositories]`, or name a location in the command",
                    ));
                }
            },
        };
        Ok(Self {
            name,
            location,
            lab: workspace.lab.name.clone(),
            root: workspace.lab.root.clone(),
            environments: workspace.lab.environments.keys().cloned().collect(),
            keys: Arc::new(workspace.keys()?),
        })
    }

    /// All that lap.toml names.
    ///
    /// # Errors
    /// The keys are not here.
    pub fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        workspace.lab.repositories.keys().map(|name| Self::of(workspace, Some(name))).collect()
    }

    /// All rooms that there may be.
    pub(super) fn rooms(&self) -> impl Iterator<Item = RepositoryScope> {
        let environments = self.environments.iter().cloned().map(RepositoryScope::Environment);
        environments.chain([RepositoryScope::Lab, RepositoryScope::Shared])
    }

    pub(super) fn storage(&self, room: &RepositoryScope) -> Result<Arc<dyn Storage>> {
        storage(&self.location, room)
    }

    pub(super) fn password(&self, room: &RepositoryScope) -> Result<Secret> {
        let password = match room {
            RepositoryScope::Environment(name) => self.keys.repository_password_of(name)?,
            RepositoryScope::Lab | RepositoryScope::Shared => self.keys.repository_password(),
        };
        Ok(Secret::new(password.expose().trim().to_owned()))
    }

    pub(super) fn has(&self, room: &RepositoryScope) -> Result<bool> {
        Repository::is_there(&self.storage(room)?, &room.name(&self.name))
    }

    /// Opens one; `None`: it is not there.
    ///
    /// # Errors
    /// It is no repository, has another password, or its machine is not reached.
    pub(in crate::apply) fn open(&self, room: &RepositoryScope, tell: OnProgress) -> Result<Option<Repository>> {
        let (storage, name) = (self.storage(room)?, room.name(&self.name));
        if !Repository::is_there(&storage, &name)? {
            return Ok(None);
        }
        Repository::open(storage, &name, KeySlot::Lab, &self.password(room)?, tell).map(Some)
    }

    /// What is there.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn layout(&self) -> Result<Layout> {
        let has = |room: RepositoryScope| self.has(&room);
        let mut environments = BTreeSet::new();
        for name in &self.environments {
            if has(RepositoryScope::Environment(name.clone()))? {
                environments.insert(name.clone());
            }
        }
        let missing = self.environments.iter().filter(|name| !environments.contains(*name)).cloned().collect();
        Ok(Layout {
            name: self.name.clone(),
            location: self.location.to_string(),
            parted: has(RepositoryScope::Lab)?,
            shared: has(RepositoryScope::Shared)?,
            environments: environments.into_iter().collect(),
            missing,
        })
    }

    /// Where an environment's new copies go. As long as the lab's own repository is not there, all go to the shared one.
    pub(in crate::apply) fn room_for_copies(&self, environment: &str) -> Result<RepositoryScope> {
        Ok(if self.has(&RepositoryScope::Lab)? {
            RepositoryScope::Environment(environment.to_owned())
        } else {
            RepositoryScope::Shared
        })
    }

    /// Opens one that has to be there.
    pub(super) fn must_open(&self, room: &RepositoryScope, tell: OnProgress) -> Result<Repository> {
        self.open(room, tell)?.ok_or_else(|| self.nothing(room))
    }

    fn nothing(&self, room: &RepositoryScope) -> Error {
        let (name, init) = (&self.name, format!("`lap repository init {}` makes it", self.name));
        match room {
            RepositoryScope::Environment(environment) => {
                Error::new(Kind::Host, format!("`{name}` has no repository of `{environment}` yet")).hint(init)
            }
            RepositoryScope::Lab | RepositoryScope::Shared => {
                let location = self.location.to_string();
                let at = if *name == location { String::new() } else { format!(" at `{location}`") };
                Error::new(Kind::Host, format!("there is no repository `{name}`{at}"))
                    .hint(init)
                    .hint("check that its disk is mounted")
            }
        }
    }

    /// An environment's own repository and the shared one, as far as they are there.
    ///
    /// # Errors
    /// Neither is, nor the lab's own; or one cannot be opened.
    pub(in crate::apply) fn with_copies(&self, environment: &str) -> Result<Vec<(RepositoryScope, Repository)>> {
        let mut opened = Vec::new();
        for room in [RepositoryScope::Shared, RepositoryScope::Environment(environment.to_owned())] {
            if let Some(repository) = self.open(&room, silent())? {
                opened.push((room, repository));
            }
        }
        if opened.is_empty() && !self.has(&RepositoryScope::Lab)? {
            return Err(self.nothing(&RepositoryScope::Shared));
        }
        Ok(opened)
    }

    /// The copies of an environment that these have. First those of the shared one, whatever time they claim, then the
    /// environment's own: the last is the newest that only this environment's node and people can have written.
    pub(in crate::apply) fn copies_in(
        &self,
        opened: &[(RepositoryScope, Repository)],
        environment: &str,
    ) -> Result<Vec<Copy>> {
        let mut all: Vec<Copy> = Vec::new();
        for (room, repository) in opened.iter().filter(|(room, _)| *room != RepositoryScope::Lab) {
            let shared = *room == RepositoryScope::Shared;
            let copies = self.copies_of(repository, environment)?;
            all.retain(|before| !copies.iter().any(|copy| copy.id == before.id));
            all.extend(copies.into_iter().map(|copy| Copy { shared, ..copy }));
        }
        Ok(all)
    }

    /// The copies of an environment in one repository, whichever that is.
    pub(in crate::apply) fn copies_of(&self, repository: &Repository, environment: &str) -> Result<Vec<Copy>> {
        repository.copies_of(&self.lab, environment)
    }

    /// The copies of an environment, the newest last.
    ///
    /// # Errors
    /// There is no repository, or one cannot be read.
    pub fn copies(&self, environment: &str) -> Result<Vec<Copy>> {
        self.copies_in(&self.with_copies(environment)?, environment)
    }

    /// One of them; `latest` is the newest.
    ///
    /// # Errors
    /// As [`Self::copies`], or there is none.
    pub fn find(&self, environment: &str, id: &str) -> Result<Copy> {
        named(self.copies(environment)?, &self.name, environment, id)
    }

    /// Puts the keys and the workspace into one: the lab's own, or the shared one.
    pub(super) fn keep(&self, repository: &Repository) -> Result<()> {
        repository.keep_workspace(&self.lab, &self.root)?;
        match recovery::seal(&self.root)? {
            Some(sealed) => {
                let recovery::Sealed { identity, keys, digest } = &sealed;
                repository.keep_keys(&self.lab, &SealedKeys { identity, keys, digest })
            }
            None => Ok(()),
        }
    }

    /// All that is wrong, a sentence each: with all repositories, or with those that matter to one environment.
    ///
    /// # Errors
    /// There is none, or one cannot be opened.
    pub async fn verify(&self, environment: Option<&str>, depth: Depth, options: &Options) -> Result<Vec<String>> {
        let only = environment.map(|name| RepositoryScope::Environment(name.to_owned()));
        let matters = |room: &RepositoryScope| {
            only.is_none() || !matches!(room, RepositoryScope::Environment(_)) || Some(room) == only.as_ref()
        };
        let rooms: Vec<RepositoryScope> = self.rooms().filter(matters).collect();
        let (place, tell) = (self.clone(), tell(options));
        let work = aside(move || {
            let (mut wrong, mut any) = (Vec::new(), false);
            for room in rooms {
                let Some(repository) = place.open(&room, tell.clone())? else { continue };
                any = true;
                let name = room.name(&place.name);
                wrong.extend(repository.verify(depth)?.into_iter().map(|fault| format!("{name}: {fault}")));
            }
            if any { Ok(wrong) } else { Err(place.nothing(&RepositoryScope::Shared)) }
        });
        step(options, format!("verify `{}`", self.name), work).await
    }
}

/// The storage of a room at a location.
pub(in crate::apply) fn storage(location: &Location, room: &RepositoryScope) -> Result<Arc<dyn Storage>> {
    match room.directory() {
        Some(directory) => location.below(&directory).storage(),
        None => location.storage(),
    }
}

/// One of an environment's copies, given the newest last.
pub(super) fn named(copies: Vec<Copy>, place: &str, environment: &str, id: &str) -> Result<Copy> {
    let found = match id {
        "latest" => copies.into_iter().next_back(),
        id => copies.into_iter().find(|copy| copy.id.to_string() == id),
    };
    found.ok_or_else(|| {
        let what = if id == "latest" { "no snapshot".to_owned() } else { format!("no snapshot `{id}`") };
        Error::new(Kind::Usage, format!("`{place}` has {what} of `{environment}`"))
            .hint("`lap snapshot list --from REPOSITORY` shows them")
    })
}
