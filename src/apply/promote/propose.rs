//! The commit that a promotion is about, before anything of it runs: fetched, described, and whether somebody has to be asked.

use std::{sync::Arc, time::Duration};

use lap_base::error::{Error, Kind, Result};

use super::{
    consent::{self, Agreed, Description, Standing},
    git,
    hooks::{FoundHooks, hook::HookPoint, run::AgreedHooks},
    planned::Planned,
    source::{self, plan_promotion},
    stage::recorded,
};
use crate::{
    apply::{master::Master, options::Options},
    config::model::Environment,
    observe::commit as in_git,
    workspace::Workspace,
};

/// What would be promoted, and what is known of it.
pub struct Proposal {
    workspace: Arc<Workspace>,
    from: Environment,
    to: Environment,
    /// The commit's full id.
    pub commit: String,
    /// Why no question is needed; `None`: one is.
    pub standing: Option<Standing>,
    pub description: Description,
    /// The names of its hooks.
    pub hooks: Vec<&'static str>,
    /// Some of them run before there is a plan to show.
    pub hooks_beside_the_plan: bool,
    /// The environment it goes to runs it already.
    pub runs_already: bool,
}

/// Finds out what `from` runs, and fetches that commit. Nothing of it runs.
///
/// # Errors
/// It runs no commit, the commit is nowhere, or one of the environments does not answer.
pub async fn propose(
    workspace: Arc<Workspace>,
    from: &Environment,
    to: &Environment,
    options: &Options,
) -> Result<Proposal> {
    let (source, master) = tokio::try_join!(
        Master::connect(workspace.clone(), from, Duration::from_secs(5)),
        Master::connect(workspace.clone(), to, Duration::from_secs(5))
    )?;
    let (tested, facts) = tokio::try_join!(source.node.facts(Some(options)), master.node.facts(Some(options)))?;
    let commit = source::commit_of(&from.name, &tested)?.commit;
    let root = workspace.lab.root.clone();
    git::fetch(&source, &tested, &root, &commit, options).await?;
    let runs = recorded(&facts)?.map(|runs| runs.commit);
    let found = FoundHooks::of(&workspace, &commit)?;
    Ok(Proposal {
        standing: consent::standing(&source, &commit)?,
        description: consent::describe(&root, &commit, &to.name, runs.as_deref(), &in_git::inside(&root)?)?,
        hooks: found.names(),
        hooks_beside_the_plan: found.run_beside_the_plan(),
        runs_already: runs.as_ref() == Some(&commit),
        commit,
        workspace,
        from: from.clone(),
        to: to.clone(),
    })
}

impl Proposal {
    /// The environment it was tested in.
    pub fn from(&self) -> &str {
        &self.from.name
    }

    /// The consent that needs no question.
    ///
    /// # Errors
    /// There is none: neither the clone nor a signature agrees.
    pub fn settled(&self) -> Result<Agreed> {
        consent::of_standing(&self.commit, self.standing.as_ref())
            .ok_or_else(|| consent::not_agreed(&self.commit, &self.from.name))
    }

    /// The consent of an operator who saw the commit and answered yes.
    ///
    /// # Errors
    /// The clone cannot be written.
    pub fn answered(&self) -> Result<Agreed> {
        consent::answered(&self.workspace.lab.root, &self.commit)
    }

    /// Plans without running anything of the commit, for `--dry-run`.
    ///
    /// # Errors
    /// As [`plan_promotion`].
    pub async fn plan_only(&self, options: &Options) -> Result<Planned> {
        let planned = plan_promotion(self.workspace.clone(), &self.from, &self.to, options).await?;
        self.same(planned)
    }

    /// Plans between the hooks that belong to it.
    ///
    /// # Errors
    /// As [`plan_promotion`], or a hook failed: nothing has changed.
    pub async fn plan(&self, agreed: Agreed, options: &Options) -> Result<(Planned, AgreedHooks)> {
        let hooks = AgreedHooks::of(&self.workspace, agreed, &self.from.name, &self.to.name)?;
        hooks.run(HookPoint::BeforePlan, None, options).await?;
        let planned = self.plan_only(options).await?;
        hooks.run(HookPoint::AfterPlan, planned.target.release, options).await?;
        Ok((planned, hooks))
    }

    /// Between the look and the plan, the environment may have begun to run something else.
    fn same(&self, planned: Planned) -> Result<Planned> {
        if planned.target.commit == self.commit {
            return Ok(planned);
        }
        Err(Error::new(Kind::Refused, format!("`{}` changed after the plan was made", self.from.name))
            .hint("run the command again: it makes a new plan"))
    }
}
