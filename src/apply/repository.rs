//! Copies of snapshots off the machine, and back: the agent works, this reaches the repository's files for it.

use std::{path::PathBuf, sync::Arc, time::Instant};

use super::{copies::newest_of, snapshot::Snapshots, up::Options};
use crate::{
    agent::protocol::{Answer, Request},
    error::{Error, Kind, OrError, Result},
    keys::{Passphrase, Secret, recovery},
    report::Event,
    repository::{Copy, Depth, Door, Location, Repository, Tell, policy::News},
    snapshot::{Id, Meta},
    workspace::Workspace,
};

/// A repository of the lab, not yet opened.
#[derive(Clone)]
pub struct Place {
    /// As the person calls it.
    pub name: String,
    location: Location,
    lab: String,
    /// The workspace.
    root: PathBuf,
    password: Secret,
}

/// What [`Place::init`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    New,
    /// It was there without one.
    Passphrase,
    Nothing,
}

/// Makes this the passphrase of the lab and of these repositories of it.
///
/// # Errors
/// One of them cannot be reached: then nothing is changed.
pub fn change_passphrase(places: &[Place], passphrase: &Passphrase) -> Result<()> {
    let opened = places.iter().map(|place| Ok((place, place.open(silent())?))).collect::<Result<Vec<_>>>()?;
    let locks = opened.iter().map(|(_, repository)| repository.lock(false)).collect::<Result<Vec<_>>>()?;
    if let Some((first, _)) = opened.first() {
        recovery::set_passphrase(&first.root, passphrase)?;
    }
    for (place, repository) in &opened {
        repository.set_passphrase(passphrase.secret())?;
        place.keep(repository)?;
    }
    drop(locks);
    Ok(())
}

/// How a copy ended.
pub struct Copied {
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

impl Place {
    /// The repository that is meant: one of lap.toml, or where one is; without a name the only one of lap.toml.
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
                    return Err(Error::new(Kind::Usage, format!("which repository? lap.toml has {}", names())));
                }
                (None, _) => {
                    return Err(Error::new(Kind::Usage, "lap.toml names no repository").hint(
                        "write e.g. `office = \"/srv/backup/lap\"` under `[repositories]`, or name a place here",
                    ));
                }
            },
        };
        let password = Secret::new(workspace.keys()?.repository_password().expose().trim().to_owned());
        Ok(Self { name, location, lab: workspace.lab.name.clone(), root: workspace.lab.root.clone(), password })
    }

    /// All that lap.toml names.
    ///
    /// # Errors
    /// The keys are not here.
    pub fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        workspace.lab.repositories.keys().map(|name| Self::of(workspace, Some(name))).collect()
    }

    /// Opens it.
    ///
    /// # Errors
    /// It is not there, is no repository, or has another password.
    pub fn open(&self, tell: Tell) -> Result<Repository> {
        let storage = self.location.storage()?;
        if Repository::is_there(&storage, &self.name)? {
            return Repository::open(storage, &self.name, Door::Lab, &self.password, tell);
        }
        let at =
            if self.name == self.location.to_string() { String::new() } else { format!(" at `{}`", self.location) };
        Err(Error::new(Kind::Host, format!("there is no repository `{}`{at}", self.name))
            .hint(format!("`lap repository init {}` makes a new one there", self.name))
            .hint("is its disk mounted?"))
    }

    /// The copies of an environment, the oldest first.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn copies(&self, environment: &str) -> Result<Vec<Copy>> {
        self.copies_in(&self.open(silent())?, environment)
    }

    /// The same, where it is open already.
    pub(super) fn copies_in(&self, repository: &Repository, environment: &str) -> Result<Vec<Copy>> {
        repository.copies_of(&self.lab, environment)
    }

    /// One of them; `latest` is the newest.
    ///
    /// # Errors
    /// As [`Self::open`], or there is none.
    pub fn find(&self, environment: &str, id: &str) -> Result<Copy> {
        self.open(silent())?.find(&self.lab, environment, id)
    }

    /// Makes it, if it is not there yet, and its passphrase (the lab's, which this sets where there is none).
    ///
    /// # Errors
    /// It cannot be made, is another lab's, or the lab has another passphrase.
    pub fn init(&self, passphrase: &Passphrase) -> Result<Made> {
        if recovery::has_passphrase(&self.root) {
            recovery::check_passphrase(&self.root, passphrase)?;
        } else {
            recovery::set_passphrase(&self.root, passphrase)?;
        }
        let storage = self.location.storage()?;
        let is_there = Repository::is_there(&storage, &self.name)?;
        let repository = if is_there {
            Repository::open(storage, &self.name, Door::Lab, &self.password, silent())?
        } else {
            Repository::make(storage, &self.name, &self.password, silent())?
        };
        let _lock = repository.lock(false)?;
        let had_passphrase = repository.has_passphrase()?;
        if !had_passphrase {
            repository.set_passphrase(passphrase.secret())?;
        }
        self.keep(&repository)?;
        Ok(match (is_there, had_passphrase) {
            (false, _) => Made::New,
            (true, false) => Made::Passphrase,
            (true, true) => Made::Nothing,
        })
    }

    /// Puts the keys and the workspace beside the snapshots.
    fn keep(&self, repository: &Repository) -> Result<()> {
        repository.keep_workspace(&self.lab, &self.root)?;
        match recovery::seal(&self.root)? {
            Some(sealed) => repository.keep_keys(&self.lab, &sealed),
            None => Ok(()),
        }
    }

    /// All that is wrong with it, a sentence each.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn verify(&self, depth: Depth, options: &Options) -> Result<Vec<String>> {
        let (place, tell) = (self.clone(), tell(options));
        step(options, format!("verify `{}`", self.name), aside(move || place.open(tell)?.verify(depth))).await
    }
}

impl Snapshots {
    /// Copies a snapshot (`None`: the newest), and checks it there.
    ///
    /// # Errors
    /// There is no such snapshot, restic works on the repository, or what the agent says.
    pub async fn copy(&self, id: Option<&str>, place: &Place, options: &Options) -> Result<Copied> {
        let begun = Instant::now();
        let meta = self.named(id.unwrap_or("latest")).await?;
        let environment = self.environment().name.clone();
        let (there, env) = (place.clone(), environment.clone());
        if !recovery::has_passphrase(&place.root) {
            options.events.note(format!(
                "`{0}` has no passphrase: without the keys of this workspace nothing opens it (`lap repository init {0}`)",
                place.name
            ));
        }
        let asked = id.is_some_and(|id| id != "latest");
        let wanted = meta.id.clone();
        let (repository, copies, _lock) = aside(move || {
            let repository = there.open(silent())?;
            let lock = repository.lock(false)?;
            there.keep(&repository)?;
            let copies = repository.copies_of(&there.lab, &env)?;
            let Some(copy) = copies.iter().find(|copy| asked && copy.id == wanted && !copy.asked) else {
                return Ok((repository, copies, lock));
            };
            // The policy had it copied; from now on it stays, as if it had been copied for its name.
            drop(lock);
            let alone = repository.lock(true)?;
            repository.ask_for(copy, &alone)?;
            Ok((repository, copies, alone))
        })
        .await?;
        let seconds = || begun.elapsed().as_secs_f64();
        if copies.iter().any(|copy| copy.id == meta.id) {
            self.note(place, newest_of(&copies), options).await;
            return Ok(Copied { id: meta.id, sent: None, seconds: seconds() });
        }
        let request = Request::CopySnapshot {
            id: meta.id.to_string(),
            asked,
            lab: place.lab.clone(),
            environment,
            node: self.environment().master.clone(),
            repository: place.name.clone(),
            key: repository.key()?,
        };
        let title = format!("copy {} to `{}`", meta.id, place.name);
        match step(options, title, self.serve(&request, &repository, options)).await? {
            Answer::Copied { id, added, size } => {
                let before = copies.last().filter(|copy| copy.at > meta.at);
                let newest = before.map_or_else(|| (id.clone(), meta.at), |copy| (copy.id.clone(), copy.at));
                self.note(place, News::Newest(Some(newest)), options).await;
                Ok(Copied { id, sent: Some((added, size)), seconds: seconds() })
            }
            other => Err(super::snapshot::unexpected(&other)),
        }
    }

    /// Makes a copy (or `latest`) a snapshot of the node, unless it has it.
    ///
    /// # Errors
    /// There is no such copy, it is damaged, or what the agent says: then there is no snapshot.
    pub async fn fetch(&self, id: &str, place: &Place, options: &Options) -> Result<Fetched> {
        let begun = Instant::now();
        let (there, env, name) = (place.clone(), self.environment().name.clone(), id.to_owned());
        let (repository, copy, _lock) = aside(move || {
            let repository = there.open(silent())?;
            let lock = repository.lock_to_read()?;
            let copy = repository.find(&there.lab, &env, &name)?;
            Ok((repository, copy, lock))
        })
        .await?;
        if self.list(false).await?.iter().any(|listed| listed.meta.id == copy.id) {
            return Ok(Fetched { id: copy.id, new: false, seconds: 0.0 });
        }
        let request = Request::FetchSnapshot {
            id: copy.id.clone(),
            restic: copy.restic,
            repository: place.name.clone(),
            key: repository.key()?,
        };
        let title = format!("fetch {} from `{}`", copy.id, place.name);
        match step(options, title, self.serve(&request, &repository, options)).await? {
            Answer::Fetched { meta } => Ok(Fetched { id: meta.id, new: true, seconds: begun.elapsed().as_secs_f64() }),
            other => Err(super::snapshot::unexpected(&other)),
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

    async fn serve(&self, request: &Request, repository: &Repository, options: &Options) -> Result<Answer> {
        // An older agent does not know the request: replaced first.
        self.facts(options).await?;
        let (told, mut stop) = (tell(options), options.stop.clone());
        tokio::select! {
            answer = self.client().serve(request, repository.storage(), move |text| told(text)) => answer,
            _ = stop.wait_for(|stop| *stop) => {
                Err(Error::new(Kind::Interrupted, "stopped; the same command goes on from here"))
            }
        }
    }
}

/// A step of its own, with what is told while it runs.
pub(super) async fn step<T>(options: &Options, title: String, work: impl Future<Output = Result<T>>) -> Result<T> {
    let begun = Instant::now();
    options.events.tell(Event::Started { step: 0, title: title.clone() });
    let result = work.await;
    let seconds = begun.elapsed().as_secs_f64();
    options.events.tell(match &result {
        Ok(_) => Event::Done { step: 0, title, seconds },
        Err(error) => Event::Failed { step: 0, title, seconds, message: error.message.clone() },
    });
    result
}

fn tell(options: &Options) -> Tell {
    let events = options.events.clone();
    Arc::new(move |text: &str| events.output(0, text))
}

pub(super) fn silent() -> Tell {
    Arc::new(|_: &str| {})
}

/// The library blocks.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.or_error(Kind::Other, || "the repository".into())?
}
