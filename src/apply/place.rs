//! Where an environment's images are made and run, what should run there, and what that takes.

use std::sync::Arc;

use lap_base::{
    error::{Error, Kind, Result},
    state::State,
};

use super::{
    bases, builder,
    connected_node::ConnectedNode,
    master::Master,
    options::{Options, Scope, short},
};
use crate::{
    observe::working_tree::{WorkingTree, tree},
    plan::{self, Plan},
    release::{desired_state::DesiredState, manifest::ReleaseManifest},
    wire::protocol::NodeFacts,
};

/// The nodes that an environment's images are made on and run on, and what was seen of them.
pub struct ImageNodes {
    pub master: Arc<Master>,
    pub facts: NodeFacts,
    /// The builder, if there is one and something may have to be made.
    pub builder: Option<(ConnectedNode, NodeFacts)>,
}

impl ImageNodes {
    /// Looks at both. `facts`: the master's.
    ///
    /// # Errors
    /// The builder does not answer.
    pub async fn of(master: &Arc<Master>, facts: NodeFacts, scope: &Scope, options: &Options) -> Result<Self> {
        let mut place = Self { master: master.clone(), facts, builder: None };
        if place.is_made(scope)
            && let Some(builder) = builder::connect(master).await?
        {
            let facts = builder.ready_facts(options).await?;
            place.builder = Some((builder, facts));
        }
        Ok(place)
    }

    /// Looks again.
    ///
    /// # Errors
    /// One of them does not answer.
    pub async fn refresh(&mut self) -> Result<()> {
        self.facts = self.master.node.client.facts().await?;
        if let Some((builder, facts)) = &mut self.builder {
            *facts = builder.client.facts().await?;
        }
        Ok(())
    }

    /// Where images are made.
    pub fn maker(&self) -> (&ConnectedNode, &NodeFacts) {
        self.builder.as_ref().map_or((&self.master.node, &self.facts), |(builder, facts)| (builder, facts))
    }

    /// What should run: from the tree, or from what is recorded.
    ///
    /// # Errors
    /// The tree cannot be read, nothing is recorded, or a first release is not made from a clean commit.
    pub fn desired(&self, scope: &Scope, notes: &mut Vec<String>) -> Result<(DesiredState, Option<WorkingTree>)> {
        let recorded = &self.facts.recorded;
        let (environment, lab) = (&self.master.environment, &self.master.workspace.lab);
        let name = &environment.name;
        if let Some(current) = &scope.instead {
            return Ok((ReleaseManifest::clone(current).into(), None));
        }
        if scope.as_recorded {
            let current = recorded.clone().value_or_refuse()?.ok_or_else(|| {
                Error::new(Kind::Refused, format!("`{name}` has not run anything yet")).hint(format!("`lap up {name}`"))
            })?;
            return Ok((current.into(), None));
        }
        let maker = self.maker().1;
        let ids = |image: &str| bases::id(maker, image);
        if environment.promote_from.is_none() {
            // All of the environment is made from the tree and recorded, by an operator: nothing of the old record decides anything.
            match recorded.unreadable() {
                Some(unreadable) if scope.is_all() && self.master.keys.is_some() => {
                    notes.push(format!("{}: writing it again", unreadable.sentence()));
                }
                Some(unreadable) if !scope.build_only => return Err(Error::from(unreadable.clone())),
                _ => {}
            }
            let tree = tree(lab, name, ids)?;
            return Ok((tree.desired.clone(), Some(tree)));
        }
        let recorded = match recorded {
            // On a node that was made anew, the releases are those of the one before it.
            State::Unreadable(unreadable) if unreadable.is_gone && scope.made_anew => None,
            recorded => recorded.clone().value_or_refuse()?,
        };
        if let Some(current) = recorded {
            let release = current.release.unwrap_or(1);
            let other = match crate::observe::commit::read_commit(&lab.root) {
                Ok(head) => head.id.as_deref() != Some(&current.commit) || head.dirty,
                // What runs does not come from the tree: this is only worth a line.
                Err(error) => {
                    notes.push(error.message);
                    true
                }
            };
            if other {
                notes.push(format!(
                    "`{name}` runs release {release} ({}); later changes need a promotion",
                    short(&current.commit)
                ));
            }
            return Ok((current.into(), None));
        }
        let mut tree = tree(lab, name, ids)?;
        if tree.dirty {
            let what = if tree.desired.commit.starts_with("none") {
                "there is no commit yet"
            } else {
                "files differ from the commit"
            };
            return Err(Error::new(
                Kind::Refused,
                format!("the first release of `{name}` is made from a clean commit: {what}"),
            )
            .hint("run `git add -A && git commit`, then run the command again"));
        }
        tree.desired.release = Some(self.facts.next_release.max(1));
        Ok((tree.desired.clone(), Some(tree)))
    }

    /// What it takes until that runs. `build`: images may be made.
    ///
    /// # Errors
    /// Something of what is installed cannot be read.
    pub fn plan(&self, scope: &Scope, desired: &DesiredState, build: bool) -> Result<Plan> {
        let Self { master, facts, builder } = self;
        let installed = master.contents(desired).wished(desired, facts)?;
        let builder =
            builder.as_ref().map(|(builder, facts)| plan::containers::BuilderFacts { node: &builder.name, facts });
        Ok(plan::containers::up(
            &master.environment.name,
            &plan::containers::PlanInputs {
                desired,
                node: facts,
                builder,
                installed: &installed,
                missing_rootfs: &master.workspace.missing_rootfs(),
                again: &scope.again,
                only: &scope.only,
                build,
                start: !scope.build_only,
            },
        ))
    }

    /// Whether what should run comes from the tree, and so may have to be made.
    fn is_made(&self, scope: &Scope) -> bool {
        let released = self.master.environment.promote_from.is_some() && !self.facts.recorded.is_absent();
        scope.instead.is_none() && !scope.as_recorded && !released
    }
}
