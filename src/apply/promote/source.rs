//! What is to be promoted: whether it may, and what it means for the environment it goes to.

use std::{sync::Arc, time::Duration};

use lap_base::{
    error::{Error, Kind, Result},
    words::plain,
};
use sha2::{Digest, Sha256};

use super::{
    consent::commit::full_id,
    git,
    planned::Planned,
    recompute::{Recomputed, recompute},
    stage::{compare, recorded, stage},
};
use crate::{
    apply::{
        admits::{self, Allowed, Doors},
        builder,
        install::Contents,
        master::Master,
        options::{Options, short},
    },
    config::{
        beyond,
        model::{Container, Environment},
    },
    observe::context::Context,
    release::{Staged, Verb, desired_state::DesiredState, manifest::ReleaseManifest},
    wire::{
        labels::LABEL_SPEC,
        protocol::{Health, InstallTarget, NodeFacts, Request, Response},
    },
    workspace::Workspace,
};

/// Works out what promoting what `from` runs to `to` would do. Changes nothing.
///
/// # Errors
/// `from` does not run a commit, or not healthily; `to` is not up.
pub async fn plan_promotion(
    workspace: Arc<Workspace>,
    from: &Environment,
    to: &Environment,
    options: &Options,
) -> Result<Planned> {
    let (source, master) = tokio::try_join!(
        Master::connect(workspace.clone(), from, Duration::from_secs(5)),
        Master::connect(workspace.clone(), to, Duration::from_secs(5))
    )?;
    let (source, master) = (Arc::new(source), Arc::new(master));
    let (tested, facts) = tokio::try_join!(source.node.facts(Some(options)), master.node.facts(Some(options)))?;
    let runs = commit_of(&from.name, &tested)?;
    let old = recorded(&facts)?.ok_or_else(|| {
        Error::new(Kind::Refused, format!("`{}` has no release yet", to.name))
            .hint(format!("run `lap up {}` to make the first one from a clean commit", to.name))
    })?;
    // From git, even where the working tree is at that commit: it may have files that git ignores.
    let (at, _as_long_as_it_is_read) = crate::apply::checkout::fresh(&workspace, &runs.commit)?;
    let builder = maker(&source).await;
    let makers: Vec<Option<&NodeFacts>> =
        std::iter::once(Some(&tested)).chain(builder.iter().map(Option::as_ref)).collect();
    let Recomputed { desired: says, unsure } = recompute(&workspace, &at, &from.name, &runs, &makers)?;
    healthy(&from.name, &runs, &tested)?;
    let files = Context::read(&at.lab.root.join("env").join(&to.name))?;
    let env = files.digest();
    // What test says is compared, and no further used: all but what its images contain is the commit's.
    let mut target = ReleaseManifest {
        commit: says.commit,
        env: env.clone(),
        checks: says.checks,
        containers: says.containers,
        images: says.images,
        release: old.release,
        by: options.who.clone(),
        at: lap_base::clock::now(),
    };
    let changes = compare(&target, &old, &facts);
    let mut ledger = Vec::new();
    if !changes.is_empty() || target.commit != old.commit {
        checked(&source, options).await?;
        let releases = super::watch::releases(&master).await?;
        target.release = Some(releases.next);
        ledger = releases.whole_ledger()?.to_vec();
    }
    let known = facts.installed.contains_key(&format!("env/{env}"));
    let environment = if known { None } else { Some(files.write_tar(Vec::new(), &[])?) };
    let known = target.checks.is_empty() || facts.installed.contains_key(&format!("checks/{}", target.checks));
    let checks = if known {
        None
    } else {
        Some(Context::checks(&at.lab.root.join("containers"), at.lab.containers.keys())?.write_tar(Vec::new(), &[])?)
    };
    let environment_there = at.lab.environments.get(&to.name).ok_or_else(|| {
        Error::new(Kind::Refused, format!("commit {} has no environment `{}`", short(&runs.commit), to.name))
    })?;
    let contents = Contents {
        workspace: &at,
        keys: master.keys.as_deref(),
        environment: environment_there,
        seen: &master.seen,
        runs: None,
    };
    let desired = DesiredState::from(target.clone());
    let mut staged = stage(&contents, &desired, &changes, &facts)?;
    let mut places = Vec::new();
    let installed = contents.wished(&desired, &facts)?;
    let differs = |prefix: &str| {
        let below = |(path, _): &(&String, &String)| path.starts_with(prefix);
        installed
            .files
            .range(prefix.to_owned()..)
            .take_while(below)
            .any(|(path, hash)| facts.installed.get(path) != Some(hash))
    };
    for (prefix, place) in [("trust/", InstallTarget::Trust), ("policy/", InstallTarget::Policy)] {
        if differs(prefix) {
            let files = contents.files(&place, None)?;
            places.push((place, files));
        }
    }
    // Who operates the lab, the working tree says: a commit from before must not let in whom it removed.
    let access = master.contents(&desired).files(&InstallTarget::Ssh, None)?;
    if access.iter().any(|(name, _, bytes)| facts.installed.get(&format!("ssh/{name}")) != Some(&sha256(bytes))) {
        places.push((InstallTarget::Ssh, access));
    }
    if differs("names/") && !changes.is_empty() {
        staged.push((Staged::Names, contents.files(&InstallTarget::Names, None)?));
    }
    let git = if target.commit == old.commit {
        None
    } else {
        git::forward(&master, &facts, &workspace.lab.root, &target.commit).await?
    };
    let mut notes = grants(&old, &target);
    let allowed = Allowed::of(&workspace, master.keys()?)?;
    for (environment, facts) in [(&from.name, &tested), (&to.name, &facts)] {
        if let Doors::Open(strangers) = allowed.compare(facts) {
            notes.push(admits::still(environment, &strangers));
        }
    }
    if !unsure.is_empty() {
        let names = unsure.into_iter().collect::<Vec<_>>().join("`, `");
        notes.push(format!(
            "the images of `{names}` cannot be recomputed: another build of lap made them, or a base image no longer exists"
        ));
    }
    if env != old.env {
        notes.push(format!("files under env/{} change; tests on `{}` do not cover them", to.name, from.name));
    }
    if source.address() != master.address() && shares_host(&workspace) {
        notes.push(format!("`{}` and `{}` are on one machine: root there is root on both", from.name, to.name));
    }
    Ok(Planned {
        verb: Verb::Promote,
        master,
        from: Some(source),
        target,
        old,
        facts,
        changes,
        data: None,
        environment,
        checks,
        places,
        staged,
        git,
        ledger,
        notes,
    })
}

/// Has the source's checks run: what is promoted passes them now.
async fn checked(source: &Master, options: &Options) -> Result<()> {
    let step = |text: &str| options.events.note(format!("  {text}"));
    let request = Request::Check { containers: Vec::new() };
    let Response::Checked { list } = source.node.client.work(&request, false, |_, _| {}, step).await? else {
        return Err(Error::new(
            Kind::Node,
            format!("`{}` does not report the results of its checks", source.environment.name),
        ));
    };
    let failed: Vec<String> = list
        .iter()
        .filter(|checked| !checked.ok)
        .map(|checked| format!("{}/{}", checked.container, checked.check))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let name = &source.environment.name;
    Err(Error::new(Kind::Refused, format!("checks fail on `{name}`: `{}`", failed.join("`, `")))
        .hint(format!("`lap check {name}` shows their output")))
}

/// `docker` nodes are containers of this machine.
fn shares_host(workspace: &Workspace) -> bool {
    let docker = |node: &&crate::config::model::Node| node.provider == crate::config::model::Provider::Docker;
    workspace.lab.nodes.values().filter(docker).count() > 1
}

/// What runs there, if it is a commit.
///
/// # Errors
/// Nothing runs, or a working tree does.
pub fn commit_of(environment: &str, facts: &NodeFacts) -> Result<ReleaseManifest> {
    let Some(runs) = recorded(facts)? else {
        return Err(Error::new(Kind::Refused, format!("`{environment}` has not run anything yet"))
            .hint(format!("run `lap up {environment}`, or push to its git")));
    };
    if full_id(&runs.commit).is_err() {
        let message = format!("`{environment}` runs {}, and not a commit", plain(&short(&runs.commit)));
        return Err(Error::new(Kind::Refused, message)
            .hint(format!("commit the changes, run `lap up {environment}` (or push to its git), and promote again")));
    }
    Ok(runs)
}

/// What the builder of an environment knows; `None`: there is none, `Some(None)`: it does not answer.
async fn maker(source: &Master) -> Option<Option<NodeFacts>> {
    source.environment.builder.as_ref()?;
    let Ok(Some(builder)) = builder::connect(source).await else { return Some(None) };
    Some(builder.client.facts().await.ok())
}

/// What containers have beyond their own data and did not have in the release that runs: a line each.
fn grants(old: &ReleaseManifest, target: &ReleaseManifest) -> Vec<String> {
    let before = |name: &String| old.containers.get(name).map(beyond).unwrap_or_default();
    let new = |(name, container): (&String, &Container)| {
        let new: Vec<String> = beyond(container).difference(&before(name)).map(|grant| plain(grant)).collect();
        (!new.is_empty()).then(|| format!("new grants of lap.toml: `{name}` gets `{}`", new.join("`, `")))
    };
    target.containers.iter().filter_map(new).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether all of it runs as recorded, and is healthy.
fn healthy(environment: &str, runs: &ReleaseManifest, facts: &NodeFacts) -> Result<()> {
    let desired = DesiredState::from(runs.clone());
    let sick: Vec<&str> = desired
        .running()
        .filter(|container| {
            let fact = facts.containers.iter().find(|fact| fact.name == container.name);
            !fact.is_some_and(|fact| {
                fact.state == "running"
                    && matches!(fact.health, Health::Healthy | Health::None)
                    && fact.labels.get(LABEL_SPEC).is_some_and(|label| desired.is_label_of(label, container))
            })
        })
        .map(|container| container.name.as_str())
        .collect();
    if sick.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("`{environment}` is not healthy: `{}`", sick.join("`, `")))
        .hint(format!("`lap status {environment}` shows details, `lap up {environment}` repairs it")))
}
