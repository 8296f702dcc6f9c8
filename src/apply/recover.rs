//! `lap recover`: a lab out of a repository and its passphrase. The workspace gets its name when it and its keys are whole; a
//! mark in it says which environments are done, and everything else is found as it is.

pub(super) mod running;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use lap_base::{
    durable::write_file,
    error::{Error, Kind, OrError, Result},
};
use lap_repositories::{Copy, KeySlot, Location, Repository, RepositoryScope};
use lap_snapshots::{FileChange, Id, Meta, Reason};
use serde::{Deserialize, Serialize};

use super::{
    files, local,
    options::{Options, Scope},
    repository::{
        LabRepositories,
        progress::{aside, silent, step},
        storage,
    },
    responses::unexpected,
    snapshot::{Snapshots, images_are_there},
    up::up,
};
use crate::{
    config::model::Environment,
    keys::{Passphrase, recovery},
    release::manifest::ReleaseManifest,
    wire::protocol::{NodeFacts, Request, Response, RestorePart},
    workspace::Workspace,
};

/// What is to be recovered.
pub struct RecoveryOptions {
    pub location: Location,
    pub passphrase: Passphrase,
    /// Where the workspace comes to be, below `here`; `None`: called like the lab.
    pub here: PathBuf,
    pub into: Option<PathBuf>,
    /// Another name for the lab.
    pub lab: Option<String>,
    /// Only these; empty: all that have copies.
    pub environments: Vec<String>,
    /// The workspace and its keys, and no node.
    pub workspace_only: bool,
}

/// How it went.
#[derive(Debug, Serialize)]
pub struct Recovered {
    pub workspace: PathBuf,
    /// The lab's name, where lap.toml has another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lab: Option<String>,
    pub environments: Vec<RecoveredEnvironment>,
    pub seconds: f64,
}

/// One environment that is there again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecoveredEnvironment {
    pub environment: String,
    pub snapshot: Id,
    /// When it was taken.
    pub at: i64,
}

/// `.lap/recover.json`, for as long as something is left to do.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Mark {
    done: Vec<RecoveredEnvironment>,
    /// Environments that had no node with data when this recovery came to them: what their nodes have now is its own.
    #[serde(default)]
    begun: BTreeSet<String>,
    /// The name of the lab that these environments are of.
    #[serde(default)]
    lab: Option<String>,
    /// Environments whose data is back, and maybe in use again; and whether what ran then is to run.
    restored: BTreeMap<String, bool>,
}

impl Mark {
    fn path(root: &Path) -> PathBuf {
        root.join(".lap/recover.json")
    }

    /// `None`: there is none.
    fn read(root: &Path) -> Result<Option<Self>> {
        let path = Self::path(root);
        let Some(text) = local::read(&path)? else { return Ok(None) };
        let mark = serde_json::from_str(&text).or_error(Kind::Host, || format!("cannot read `{}`", path.display()));
        mark.map(Some).map_err(|error| error.hint("recover into another directory"))
    }

    /// Whether what the environment's nodes have is this recovery's.
    fn has_begun(&self, environment: &str) -> bool {
        self.begun.contains(environment)
            || self.restored.contains_key(environment)
            || self.done.iter().any(|done| done.environment == environment)
    }

    /// What was begun under one name of the lab says nothing about the nodes of another name.
    fn is_of(&mut self, lab: &str) -> Result<()> {
        let begun = self.lab.get_or_insert_with(|| lab.to_owned());
        if begun == lab {
            return Ok(());
        }
        Err(Error::new(Kind::Refused, format!("this recovery began with the lab name `{begun}`, not `{lab}`"))
            .hint(format!("run `lap --lab {begun} recover …` to continue it, or name another directory for a new one")))
    }

    fn remove(root: &Path) -> Result<()> {
        let path = Self::path(root);
        fs::remove_file(&path).or_error(Kind::Host, || format!("cannot remove `{}`", path.display()))
    }

    fn write(&self, root: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).or_error(Kind::Other, || "recover.json".into())?;
        write_file(&Self::path(root), &text, 0o600)
    }
}

/// Does it, or goes on with it.
///
/// # Errors
/// The passphrase is another one, something else is where the workspace would come to be, the lab exists, or the first thing that
/// failed: the same call goes on from there.
pub async fn recover(wanted: RecoveryOptions, options: &Options) -> Result<Recovered> {
    let begun = Instant::now();
    let RecoveryOptions { location, passphrase, here, into, lab, environments, workspace_only } = wanted;
    let place = location.to_string();
    let prepare = move || {
        let repository = source(&location, &passphrase)?;
        let _lock = repository.lock_to_read()?;
        let root = here.join(into.map_or_else(|| repository.recoverable().map(PathBuf::from), Ok)?);
        let new = Mark::read(&root)?.is_none();
        prepare(&repository, &root, &passphrase)?;
        Ok((root, new))
    };
    let (root, new) = step(options, "the workspace and its keys".into(), aside(prepare)).await?;
    let workspace = Arc::new(Workspace::open(&root, lab.as_deref())?);
    let place = LabRepositories::of(&workspace, Some(&place))?;
    let mut mark = Mark::read(&root)?.unwrap_or_default();
    mark.is_of(&workspace.lab.name)?;
    let recovered = |environments| {
        let named = crate::config::load(&root, None)?.name;
        let lab = Some(workspace.lab.name.clone()).filter(|lab| *lab != named);
        Ok(Recovered { workspace: root.clone(), lab, environments, seconds: begun.elapsed().as_secs_f64() })
    };
    if workspace_only {
        // What was begun goes on another time.
        if mark.begun.is_empty() {
            Mark::remove(&root)?;
        }
        return recovered(mark.done);
    }
    let wished = wished(&workspace, &environments)?;
    let untouched: Vec<&Environment> = wished.iter().copied().filter(|env| !mark.has_begun(&env.name)).collect();
    if let Err(error) = running::refuse(&workspace, &untouched, false).await {
        if new {
            fs::remove_dir_all(&root).or_error(Kind::Host, || format!("cannot remove `{}`", root.display()))?;
        }
        return Err(error);
    }
    for environment in wished {
        if mark.done.iter().any(|done| done.environment == environment.name) {
            continue;
        }
        let (there, name) = (place.clone(), environment.name.clone());
        let Some(copy) = aside(move || Ok(there.copies(&name)?.pop())).await? else {
            options.events.note(format!("  `{}` has no copy in the repository: not recovered", environment.name));
            continue;
        };
        if !mark.has_begun(&environment.name) {
            running::refuse(&workspace, &[environment], true).await?;
            mark.begun.insert(environment.name.clone());
            mark.write(&root)?;
        }
        bring_back(&workspace, environment, &place, &copy, &mut mark, options).await?;
        mark.done.push(RecoveredEnvironment { environment: environment.name.clone(), snapshot: copy.id, at: copy.at });
        mark.write(&root)?;
    }
    if environments.is_empty() {
        Mark::remove(&root)?;
    }
    recovered(mark.done)
}

/// The repository that the workspace and the keys come out of: the lab's own, which no node can write. Only where there is none
/// it is the one that all environments share.
pub(super) fn source(location: &Location, passphrase: &Passphrase) -> Result<Repository> {
    for room in [RepositoryScope::Lab, RepositoryScope::Shared] {
        let (storage, name) = (storage(location, &room)?, room.name(&location.to_string()));
        if Repository::is_there(&storage, &name)? {
            return Repository::open(storage, &name, KeySlot::Passphrase, passphrase.secret(), silent());
        }
    }
    Err(Error::new(Kind::Host, format!("there is no repository at `{location}`"))
        .hint("check that its disk is mounted"))
}

fn wished<'a>(workspace: &'a Workspace, names: &[String]) -> Result<Vec<&'a Environment>> {
    if names.is_empty() {
        return Ok(workspace.lab.environments.values().collect());
    }
    names.iter().map(|name| workspace.environment(Some(name))).collect()
}

/// The workspace and its keys.
fn prepare(repository: &Repository, root: &Path, passphrase: &Passphrase) -> Result<()> {
    let what = |path: &Path| format!("cannot make `{}`", path.display());
    // An empty directory may be there already.
    let _ = fs::remove_dir(root);
    if root.exists() {
        if Mark::read(root)?.is_some() {
            return Ok(());
        }
        return Err(Error::new(Kind::Refused, format!("`{}` exists already", root.display()))
            .hint("name another directory for the workspace")
            .hint(
                "if the workspace and its keys still exist, use `lap up` and `lap restore latest --from REPOSITORY`",
            ));
    }
    let half = root.with_added_extension("lap-recover");
    fs::create_dir_all(&half).or_error(Kind::Host, || what(&half))?;
    repository.workspace(&half)?;
    let (identity, keys) = repository.sealed_keys()?;
    recovery::unseal(&half, &identity, &keys, passphrase)?;
    Mark::default().write(&half)?;
    fs::rename(&half, root).or_error(Kind::Host, || what(root))
}

/// The node, its data and what it knew, and its containers.
async fn bring_back(
    workspace: &Arc<Workspace>,
    environment: &Environment,
    place: &LabRepositories,
    copy: &Copy,
    mark: &mut Mark,
    options: &Options,
) -> Result<()> {
    let scope = Scope { nodes_only: true, ..Scope::default() };
    up(workspace.clone(), environment, scope, options).await?;
    let snapshots = Snapshots::of(workspace.clone(), environment).await?;
    let id = copy.id.to_string();
    snapshots.fetch(&id, place, options).await?;
    let facts = snapshots.facts(options).await?;
    let listed = snapshots.list(false).await?.into_iter().find(|listed| listed.meta.id == copy.id);
    let meta = listed.ok_or_else(|| Error::new(Kind::Node, format!("the snapshot {id} was removed")))?.meta;
    // Without their images (there was no registry) or files (the commit is not in the workspace) the containers are built from the workspace.
    let as_recorded = match mark.restored.get(&environment.name) {
        Some(as_recorded) => *as_recorded,
        None => {
            let as_recorded = can_start(workspace, environment, &meta, &facts)?;
            restore(&snapshots, &id, as_recorded, options).await?;
            mark.restored.insert(environment.name.clone(), as_recorded);
            mark.write(&workspace.lab.root)?;
            as_recorded
        }
    };
    let outcome =
        up(workspace.clone(), environment, Scope { as_recorded, made_anew: true, ..Scope::default() }, options).await?;
    if let Some(master) = &outcome.master {
        local::write(master).await?;
    }
    for listed in snapshots.list(false).await? {
        let replaced = listed.meta.id.to_string();
        if listed.meta.reason == Reason::Replaced && holds_nothing_else(&snapshots, &id, &replaced).await? {
            snapshots.remove(&replaced, options).await?;
        }
    }
    Ok(())
}

/// Whether what ran then can run again on a new node: its images and its files are there.
pub(super) fn can_start(
    workspace: &Arc<Workspace>,
    environment: &Environment,
    meta: &Meta,
    facts: &NodeFacts,
) -> Result<bool> {
    // A copy of a node whose record could not be read comes back as one whose images are gone: from the workspace.
    if meta.current.as_ref().is_some_and(|current| current.get("unreadable").is_some()) {
        return Ok(false);
    }
    let current = meta.current.clone().map(serde_json::from_value::<ReleaseManifest>).transpose();
    let what = || format!("cannot read what ran when {} was taken", meta.id);
    let current = current.or_error(Kind::Node, what).map_err(|error| error.hint("a newer lap may have taken it"))?;
    match current {
        Some(current) if images_are_there(meta, facts).is_ok() => {
            files::are_there(workspace, &environment.name, &current)
        }
        _ => Ok(false),
    }
}

/// The data, and what the node knew.
pub(super) async fn restore(snapshots: &Snapshots, id: &str, release: bool, options: &Options) -> Result<()> {
    let (holder, wait) = (options.holder(), options.wait);
    let part = if release { RestorePart::AllAndRelease } else { RestorePart::All };
    step(options, format!("restore {id}"), async {
        let adopt = Request::AdoptState { holder: holder.clone(), wait, id: id.to_owned() };
        snapshots.ask(&adopt, options).await?;
        match snapshots.ask(&Request::RestoreSnapshot { holder, wait, id: id.to_owned(), part }, options).await? {
            Response::Restored { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    })
    .await
}

/// Whether what a restore replaced (an empty node's data, or what this very command had put there before it was killed) has
/// nothing that the copy does not have.
async fn holds_nothing_else(snapshots: &Snapshots, copy: &str, replaced: &str) -> Result<bool> {
    let differs = snapshots.diff(copy, Some(replaced)).await?;
    Ok(differs.files.iter().all(|(_, change)| *change == FileChange::Removed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_goes_on_only_as_the_lab_it_began_as() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".lap")).unwrap();
        assert!(Mark::read(dir.path()).unwrap().is_none());
        let mut mark = Mark::default();
        mark.is_of("office").unwrap();
        mark.begun.insert("test".into());
        mark.write(dir.path()).unwrap();
        let mut mark = Mark::read(dir.path()).unwrap().unwrap();
        assert!(mark.has_begun("test") && !mark.has_begun("prod"));
        mark.is_of("office").unwrap();
        assert_eq!(mark.is_of("other").unwrap_err().kind, Kind::Refused);
        // As a version before wrote it.
        let older = r#"{ "done": [], "restored": { "test": true } }"#;
        fs::write(Mark::path(dir.path()), older).unwrap();
        assert!(Mark::read(dir.path()).unwrap().unwrap().has_begun("test"));
        fs::write(Mark::path(dir.path()), &older[..20]).unwrap();
        assert!(Mark::read(dir.path()).unwrap_err().message.contains("recover.json"));
    }
}
