//! `lap up`: nodes first, then what runs on them; and the smaller verbs that are parts of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use lap_base::error::{Error, Kind, Result};

pub use super::master::Master;

use super::{
    admits::{self, Allowed, Doors},
    bases,
    builder::Builder,
    carry_out,
    connected_node::with_end,
    grow,
    host::Host,
    images::image_ids,
    making::Making,
    node::OnNode,
    options::{Options, Scope, short},
    outcome::Outcome,
    place::ImageNodes,
};
use crate::{
    config::model::Environment,
    drivers::{self, node::Machines},
    keys::Keys,
    plan::{self, Action, Plan, Step, containers::GIT},
    release::desired_state::DesiredState,
    wire::{client::Held, protocol::NodeFacts},
    workspace::Workspace,
};

impl Master {
    /// Carries a plan out under the lock.
    ///
    /// # Errors
    /// The first step that failed.
    pub async fn carry_out(
        self: &Arc<Self>,
        plan: &Plan,
        held: Held,
        facts: &NodeFacts,
        desired: DesiredState,
        making: Making,
        options: &Options,
    ) -> Result<()> {
        let docker = self.node.client.docker(Some(held.fence))?;
        let performer = Arc::new(OnNode {
            workspace: self.workspace.clone(),
            keys: self.keys.clone(),
            environment: self.environment.clone(),
            seen: self.seen.clone(),
            client: self.node.client.clone(),
            docker,
            held,
            desired,
            making,
            installed: Mutex::new(facts.installed.clone()),
            images: Mutex::new(image_ids(facts)),
            who: options.who.clone(),
        });
        let (_, result) = carry_out(plan, performer.clone(), &options.events, &options.stop).await;
        let end =
            result.as_ref().map(|_| ()).map_err(|error| error.message.lines().next().unwrap_or_default().to_owned());
        // A step that was aborted may hold the performer for a moment; the agent sees the end of the connection then.
        match Arc::try_unwrap(performer) {
            Ok(performer) => {
                let built = match performer.making.builder {
                    Some(builder) => builder.end(end.clone()).await,
                    None => Ok(()),
                };
                with_end(result, performer.held.end(end).await.and(built))
            }
            Err(_) => result,
        }
    }
}

/// Brings an environment up.
///
/// # Errors
/// The first thing that failed; what was done stays, and the same command goes on from there.
pub async fn up(
    workspace: Arc<Workspace>,
    environment: &Environment,
    scope: Scope,
    options: &Options,
) -> Result<Outcome> {
    let began = std::time::Instant::now();
    let mut outcome = Outcome::default();
    // A workspace without keys stops here; one whose new environment has none yet gets them.
    workspace.keys()?.check_zone(&workspace.lab.dns.zone)?;
    let environments: Vec<String> = workspace.lab.environments.keys().cloned().collect();
    let (root, lab) = (&workspace.lab.root, &workspace.lab);
    let keys = Arc::new(Keys::create(root, &lab.name, &lab.dns.zone, &environments)?.keys);
    let Machines { docker, facts: mut host } = drivers::node::observe(&workspace.lab).await?;
    let nodes = plan::nodes::up(
        &workspace.lab,
        &environment.name,
        &plan::nodes::NodeInputs {
            host: &host,
            rootfs_identity: &workspace.rootfs_identity(),
            missing_rootfs: workspace.missing_rootfs().into_iter().collect(),
        },
    )?;
    let mut options = options.clone();
    if !nodes.steps.is_empty() {
        if options.dry_run {
            outcome.notes.push(format!("the other steps for `{}` are known when it runs", environment.master));
            outcome.plans.push(nodes);
            return Ok(outcome);
        }
        crate::observe::hypervisors::check(&workspace.lab, &nodes, &host).await?;
        let (_, addresses) = workspace.addresses(&host)?;
        let performer = Arc::new(Host {
            workspace: workspace.clone(),
            keys: Some(keys.clone()),
            docker: docker.clone(),
            facts: host.clone(),
            addresses,
        });
        carry_out(&nodes, performer, &options.events, &options.stop).await.1?;
        host = drivers::node::observe(&workspace.lab).await?.facts;
        outcome.plans.push(nodes);
        // A node that was cut in the middle of something first brings that to its end, under its lock.
        options.wait = true;
    }
    let master = Arc::new(Master::connect_on(workspace.clone(), environment, &host, Duration::from_secs(5)).await?);
    up_master(master, scope, &options, outcome, began).await
}

/// Brings up what runs on a master that is there.
///
/// # Errors
/// As [`up`].
pub async fn up_on(master: Arc<Master>, scope: Scope, options: &Options) -> Result<Outcome> {
    let outcome = Outcome::default();
    up_master(master, scope, options, outcome, std::time::Instant::now()).await
}

async fn up_master(
    master: Arc<Master>,
    scope: Scope,
    options: &Options,
    mut outcome: Outcome,
    began: std::time::Instant,
) -> Result<Outcome> {
    let environment = &master.environment;
    outcome.master = Some(master.clone());
    let facts = master.node.ready_facts(options).await?;
    if scope.nodes_only {
        outcome.facts = Some(facts);
        return Ok(outcome);
    }
    if let Ok(keys) = master.keys()
        && let Doors::Open(strangers) = Allowed::of(&master.workspace, keys)?.compare(&facts)
    {
        outcome.removed = strangers;
    }
    if scope.is_all() {
        grow::pool(&master, &facts, options, &mut outcome).await?;
    }
    let mut place = ImageNodes::of(&master, facts, &scope, options).await?;
    let (desired, tree) = place.desired(&scope, &mut outcome.notes)?;
    known(&desired, &scope)?;
    let bases = bases::missing(tree.as_ref(), place.maker().1);
    let mut plan = place.plan(&scope, &desired, tree.is_some())?;
    if options.dry_run {
        if !bases.is_empty() {
            plan = Plan::new(&environment.name);
            bases.into_iter().for_each(|image| {
                plan.push(Action::PullBase { image }, "a Dockerfile uses it", []);
            });
            outcome.notes.push("the images to build are known after this".into());
        }
        outcome.plans.push(plan);
        outcome.facts = Some(place.facts);
        return Ok(outcome);
    }
    if plan.steps.is_empty() && bases.is_empty() {
        outcome.notes.push(why_nothing(&desired, &place.facts));
    } else {
        if !bases.is_empty() {
            bases::pull(place.maker().0, &environment.name, &bases, options).await?;
        }
        let held = master.node.lock(options).await?;
        // What was seen before the lock was ours may have changed.
        place.refresh().await?;
        let (desired, tree) = place.desired(&scope, &mut Vec::new())?;
        let plan = place.plan(&scope, &desired, tree.is_some())?;
        let replaces_git =
            |step: &Step| matches!(&step.action, Action::Run { container, replace: true } if container == GIT);
        // Without keys it was a push that asked for it, and git is what that is heard through.
        if master.keys.is_none() && plan.steps.iter().any(replaces_git) {
            let text = "git itself is replaced last: this connection then ends, and the build continues; `lap status` shows it";
            options.events.note(format!("  {text}"));
        }
        let brings = plan.steps.iter().any(|step| matches!(step.action, Action::Bring { .. }));
        let builder = match &place.builder {
            Some((builder, _)) if brings => Some(Builder::take(builder, options).await?),
            _ => None,
        };
        master.carry_out(&plan, held, &place.facts, desired, Making { tree, builder }, options).await?;
        outcome.plans.push(plan);
        place.facts = master.node.client.facts().await?;
    }
    if scope.is_all() {
        admits::close_others(&master, options).await?;
    }
    outcome.facts = Some(place.facts);
    outcome.seconds = began.elapsed().as_secs_f64();
    Ok(outcome)
}

fn known(desired: &DesiredState, scope: &Scope) -> Result<()> {
    for name in scope.only.iter().chain(&scope.again) {
        if !desired.containers.contains_key(name) {
            let known = desired.containers.keys().cloned().collect::<Vec<_>>().join("`, `");
            return Err(Error::new(
                Kind::Usage,
                format!("there is no container `{name}`: the containers are `{known}`"),
            ));
        }
    }
    Ok(())
}

fn why_nothing(desired: &DesiredState, facts: &NodeFacts) -> String {
    let data = format!("{} of `/data` free", lap_base::words::bytes(facts.data.free));
    format!(
        "Nothing to do: {} run and are healthy, up to date with {}; {data}.",
        lap_base::words::plural(desired.running().count(), "container"),
        match desired.release {
            Some(number) => format!("release {number} ({})", short(&desired.commit)),
            None => short(&desired.commit),
        }
    )
}
