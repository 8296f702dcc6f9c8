//! `lap promote` and `lap rollback`: works out what is to change, brings all of it over while everything runs, and then has the agent
//! switch. What the agent was told it does to the end, also when this process is gone.

mod back;
mod bring;
mod consent;
mod git;
pub mod hooks;
mod images;
pub mod planned;
mod prober;
mod propose;
mod recompute;
mod source;
pub mod stage;
mod watch;

use std::{cell::Cell, collections::BTreeMap, sync::Arc, time::Duration};

use lap_base::error::{Error, Kind, Result};

pub use self::hooks::run::AgreedHooks;
pub use back::plan_rollback;

pub use consent::{Agreed, Description, Standing, not_agreed};
pub use prober::expected;
pub use propose::{Proposal, propose};
pub use source::plan_promotion;
pub use watch::{Releases, abort, releases, resume};

use self::{hooks::hook::HookPoint, planned::Planned, stage::recorded};
use super::{
    install::FileList,
    master::Master,
    options::{Options, short},
    run::{RunOrder, create_body},
};
use crate::{
    plan::containers::{REGISTRY, secrets_hash},
    release::{
        LedgerEntry, Make, Staged, SwitchOrder, SwitchOutcome, Verb, desired_state::DesiredState, manifest::identity,
    },
    wire::protocol::{NodeFacts, Request},
};

/// How long a service may be away, and how long nothing may fall over.
#[derive(Clone, Copy, Debug)]
pub struct PromotionRules {
    pub settle: Duration,
    pub max_outage: Option<Duration>,
}

/// How it ended.
pub struct Switched {
    pub entry: LedgerEntry,
    /// Of the ledger's line.
    pub hash: String,
    /// Bytes of images that were sent.
    pub moved: u64,
    pub seconds: f64,
    /// The release runs, and the hook after that failed.
    pub complaint: Option<Error>,
}

/// Brings over what is needed and switches. A promotion comes with the hooks of the commit that was agreed to, be they none.
///
/// # Errors
/// Nothing was switched, and why; or it was taken back ([`Kind::Unhealthy`]): never when it was made.
pub async fn carry_out(
    mut planned: Planned,
    hooks: Option<&AgreedHooks>,
    rules: PromotionRules,
    options: &Options,
) -> Result<Switched> {
    let began = std::time::Instant::now();
    if planned.verb == Verb::Promote && hooks.map(AgreedHooks::commit) != Some(planned.target.commit.as_str()) {
        return Err(Error::new(Kind::Other, format!("no operator agreed to {}", short(&planned.target.commit))));
    }
    let number = planned.target.release;
    let hook = async |hook: HookPoint| match hooks {
        Some(hooks) => hooks.run(hook, number, options).await,
        None => Ok(()),
    };
    hook(HookPoint::BeforeBring).await?;
    // Somebody may have thought about it for long: what was connected then need not be connected now.
    let again = async |master: &Master| {
        Master::connect(master.workspace.clone(), &master.environment, Duration::from_secs(5)).await.map(Arc::new)
    };
    planned.master = again(&planned.master).await?;
    if let Some(from) = &planned.from {
        planned.from = Some(again(from).await?);
    }
    let master = planned.master.clone();
    let held = master.node.lock(options).await?;
    let brought = bring::bring(&planned, &held, options).await;
    let end = brought.as_ref().map(|_| ()).map_err(|error| error.message.lines().next().unwrap_or_default().to_owned());
    let moved = match (brought, held.end(end).await) {
        (Ok(moved), Ok(())) => moved,
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    hook(HookPoint::AfterBring).await?;
    hook(HookPoint::BeforeSwitch).await?;
    let facts = master.node.client.facts().await?;
    if planned.from.is_some() {
        images::settle(&mut planned.target.images, &facts);
    }
    let mut order = order(&planned, &facts, rules)?;
    order.hooked = hooks.is_some_and(AgreedHooks::has_last_word);
    order.attended |= order.hooked;
    let services = prober::services(&planned);
    let wait = options.wait;
    let request = Request::Switch { holder: options.holder(), wait, order: Box::new(order) };
    let (entry, hash) =
        watch::follow(&master, &request, services, rules.max_outage, &Cell::new(false), options).await?;
    let complaint = if entry.result == SwitchOutcome::Done { hook(HookPoint::AfterDone).await.err() } else { None };
    Ok(Switched { entry, hash, moved, seconds: began.elapsed().as_secs_f64(), complaint })
}

/// What the agent is told. `facts`: after everything was brought.
fn order(planned: &Planned, facts: &NodeFacts, rules: PromotionRules) -> Result<SwitchOrder> {
    let Planned { verb, master, from, target, changes, data, staged, git, .. } = planned;
    let desired = DesiredState::from(target.clone());
    let mut start = Vec::new();
    for (name, after, patience) in changes.starts(&desired) {
        let container = &desired.containers[name];
        let build = desired.images.get(name).map(|image| image.build.as_str());
        let image = facts.images.iter().find(|fact| fact.build.as_deref() == build && build.is_some());
        let image = image.ok_or_else(|| {
            Error::new(Kind::Node, format!("the image of `{name}` is not on `{}`", master.environment.master))
        })?;
        let body = create_body(&RunOrder {
            container,
            image: &image.id,
            environment: &master.environment.name,
            commit: &desired.commit,
            env: &desired.env,
            spec: &desired.spec(container),
            secrets: &secrets_hash(&after_exchange(facts, staged), name),
            node_address: master.address(),
        });
        start.push(Make { name: name.to_owned(), after, body, patience });
    }
    let registry_image = start.iter().find(|make| make.name == REGISTRY).and_then(|make| make.body.image.clone());
    Ok(SwitchOrder {
        verb: *verb,
        from: from.as_ref().map(|from| from.environment.name.clone()),
        number: planned.number(),
        commit: target.commit.clone(),
        release: serde_json::to_value(target).map_err(|error| Error::new(Kind::Other, format!("release: {error}")))?,
        expects: identity(recorded(facts)?.as_ref()),
        stop: changes.stops().map(str::to_owned).collect(),
        start,
        gate: desired.running().map(|container| container.name.clone()).collect(),
        data: data.clone(),
        staged: staged.iter().map(|(what, _)| what.clone()).collect(),
        git: git.clone(),
        registry_image,
        settle: rules.settle.as_secs(),
        max_outage: rules.max_outage.map(|most| most.as_millis() as u64),
        attended: rules.max_outage.is_some(),
        hooked: false,
    })
}

/// What is installed once the staged files are in their places.
fn after_exchange(facts: &NodeFacts, staged: &[(Staged, FileList)]) -> BTreeMap<String, String> {
    use sha2::{Digest, Sha256};
    let mut installed = facts.installed.clone();
    for (what, files) in staged {
        let Staged::Secrets(container) = what else { continue };
        let prefix = format!("secrets/{container}/");
        installed.retain(|path, _| !path.starts_with(&prefix));
        installed.extend(
            files.iter().map(|(name, _, bytes)| (format!("{prefix}{name}"), hex::encode(Sha256::digest(bytes)))),
        );
    }
    installed
}
