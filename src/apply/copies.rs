//! What is done with copies by themselves (`lap snapshot copy --due`), and which of them go. The environment's node is told, so that
//! `lap status` knows without the repository.

use lap_base::{
    clock::now,
    error::{Error, Kind, Result},
};
use lap_repositories::{
    Copy, Position, Pruned, Repository, RepositoryScope,
    policy::{CopyPolicy, CopyStatus, News, Verified, decide, newest_of},
};
use lap_snapshots::{Id, Reason, keep::RetentionDecision};

use super::{
    options::Options,
    repository::{
        CopyResult, LabRepositories,
        progress::{aside, silent, step},
    },
    snapshot::Snapshots,
};
use crate::wire::protocol::Request;

/// What of the copies of an environment is to go.
pub enum Going<'a> {
    /// What lap.toml does not keep.
    Policy(&'a CopyPolicy),
    /// These.
    Named(&'a [String]),
}

/// What was decided about each copy, and what it gave back; `None`: it was only asked.
pub struct ThinnedCopies {
    pub decisions: Vec<RetentionDecision>,
    pub pruned: Option<Pruned>,
}

/// What `--due` did in one repository.
#[derive(Default)]
pub struct Due {
    pub copied: Option<CopyResult>,
    pub removed: usize,
    /// What a verification found wrong; `None`: it was not due.
    pub verified: Option<Vec<String>>,
}

impl Snapshots {
    /// Tells the node. What it does not hear of it does not show in `lap status`, and undoes nothing that was done.
    pub async fn note(&self, place: &LabRepositories, news: News, options: &Options) {
        let request = Request::NoteCopies { repository: place.name.clone(), news };
        let told = async {
            // An older agent does not know the request: replaced first.
            self.facts(options).await?;
            self.client().ask(&request, &[]).await
        };
        if let Err(error) = told.await {
            options.events.note(format!("  `lap status {}` will not show it: {error}", self.environment().name));
        }
    }

    /// What the node knows of a repository.
    async fn known(&self, place: &LabRepositories, options: &Options) -> Result<CopyStatus> {
        Ok(self.facts(options).await?.copies.remove(&place.name).unwrap_or_default())
    }

    /// Copies, removes and verifies what lap.toml says is due.
    ///
    /// # Errors
    /// The first thing that failed. Damage is none: it is in what is given back.
    pub async fn do_due(&self, place: &LabRepositories, policy: &CopyPolicy, options: &Options) -> Result<Due> {
        let mut due = Due::default();
        // An agent of an earlier lap knows no order of snapshots: it is replaced first.
        self.facts(options).await?;
        let newest = self.list(false).await?.pop().map(|listed| listed.meta);
        let (there, environment) = (place.clone(), self.environment().name.clone());
        let copies = aside(move || there.copies(&environment)).await?;
        // A shared one says what any node wrote into it: it puts no copy off once the environment has its own.
        let (there, environment) = (place.clone(), self.environment().name.clone());
        let shared = aside(move || Ok(there.room_for_copies(&environment)? == RepositoryScope::Shared)).await?;
        let there: Vec<Copy> = copies.iter().filter(|copy| copy.shared == shared).cloned().collect();
        let is_newer = newest.is_some_and(|newest| Position::is_newest(&newest, &there));
        if policy.copy_is_due(is_newer, there.last().map(|copy| copy.at), now()) {
            due.copied = Some(self.copy(None, place, options).await?);
        } else {
            self.note(place, newest_of(&copies), options).await;
        }
        let known = self.known(place, options).await?;
        if policy.keep.is_some() && due.copied.is_some() {
            let gone = self.remove_copies(&Going::Policy(policy), place, options).await?;
            due.removed = gone.decisions.iter().filter(|decision| decision.because.is_empty()).count();
        }
        if policy.verification_is_due(&known, now()) {
            let wrong = place.verify(Some(&self.environment().name), policy.depth, options).await?;
            self.note_verified(place, wrong.len(), options).await?;
            due.verified = Some(wrong);
        }
        Ok(due)
    }

    /// Tells the node how a verification ended.
    ///
    /// # Errors
    /// What the agent says.
    pub async fn note_verified(&self, place: &LabRepositories, faults: usize, options: &Options) -> Result<()> {
        let newest = self.known(place, options).await?.newest.map(|(id, _)| id);
        self.note(place, News::Verified(Verified { at: now(), newest, faults }), options).await;
        Ok(())
    }

    /// Removes copies, and gives back their room; with `dry_run` only says which.
    ///
    /// # Errors
    /// Somebody else works on the repository, or it cannot be written. Killed anywhere, all that is listed is whole.
    pub async fn remove_copies(
        &self,
        going: &Going<'_>,
        place: &LabRepositories,
        options: &Options,
    ) -> Result<ThinnedCopies> {
        let known = self.known(place, options).await?;
        let releases: Vec<Id> = self
            .list(false)
            .await?
            .into_iter()
            .filter(|listed| listed.meta.reason == Reason::Release)
            .map(|listed| listed.meta.id)
            .collect();
        let (there, environment, dry_run) = (place.clone(), self.environment().name.clone(), options.dry_run);
        let decide = match going {
            Going::Policy(policy) => {
                let keep = policy.keep.ok_or_else(|| {
                    Error::new(Kind::Config, "lap.toml has no rule for copies: all stay")
                        .hint("write `keep = …` under `[copies]` (`lap help lap.toml`)")
                })?;
                Box::new(move |copies: &[Copy]| Ok(decide(copies, &keep, &known, &releases, now())))
            }
            Going::Named(ids) => {
                let (ids, name) = (ids.to_vec(), place.name.clone());
                Box::new(move |copies: &[Copy]| named(copies, &ids, &name)) as Decide
            }
        };
        let title = format!("remove copies from `{}`", place.name);
        let work = aside(move || {
            let mut opened = there.with_copies(&environment)?;
            if !dry_run && let Some(lab) = there.open(&RepositoryScope::Lab, silent())? {
                opened.push((RepositoryScope::Lab, lab));
            }
            let lock = |repository: &Repository| match dry_run {
                // Nothing is changed by a preview, so it needs no lock where it cannot have one.
                true => repository.lock_to_read(),
                false => repository.lock(true).map(Some),
            };
            let locks = opened.iter().map(|(_, repository)| lock(repository)).collect::<Result<Vec<_>>>()?;
            let copies = there.copies_in(&opened, &environment)?;
            let decisions = decide(&copies)?;
            let stays =
                |copy: &Copy| decisions.iter().any(|decision| decision.id == copy.id && !decision.because.is_empty());
            let stay: Vec<Copy> = copies.into_iter().filter(stays).collect();
            let mut pruned = (!dry_run).then(Pruned::default);
            for ((_, repository), lock) in opened.iter().zip(locks) {
                let (Some(sum), Some(lock)) = (pruned.as_mut(), lock) else { continue };
                // The same snapshot may be in both.
                let go: Vec<Copy> = there
                    .copies_of(repository, &environment)?
                    .into_iter()
                    .filter(|copy| !stays(copy) && decisions.iter().any(|decision| decision.id == copy.id))
                    .collect();
                // Also when nothing goes now: one that was killed may have left what nothing needs.
                let one = remove(repository, &go, &lock)?;
                (sum.before, sum.after) = (sum.before + one.before, sum.after + one.after);
            }
            Ok((decisions, pruned, newest_of(&stay)))
        });
        if dry_run {
            let (decisions, pruned, _) = work.await?;
            return Ok(ThinnedCopies { decisions, pruned });
        }
        let (decisions, pruned, newest) = step(options, title, work).await?;
        self.note(place, newest, options).await;
        Ok(ThinnedCopies { decisions, pruned })
    }
}

type Decide = Box<dyn FnOnce(&[Copy]) -> Result<Vec<RetentionDecision>> + Send>;

fn remove(repository: &Repository, go: &[Copy], lock: &lap_repositories::RepositoryLock) -> Result<Pruned> {
    repository.forget(go, lock)?;
    repository.forget_old_keys_and_workspaces(lock)?;
    repository.prune(lock)
}

/// All stay but these.
fn named(copies: &[Copy], ids: &[String], repository: &str) -> Result<Vec<RetentionDecision>> {
    if let Some(unknown) = ids.iter().find(|id| !copies.iter().any(|copy| copy.id.to_string() == **id)) {
        return Err(Error::new(Kind::Usage, format!("`{repository}` has no snapshot `{unknown}`"))
            .hint(format!("`lap snapshot list --from {repository}` shows them")));
    }
    let because = |copy: &Copy| if ids.contains(&copy.id.to_string()) { Vec::new() } else { vec!["not named".into()] };
    Ok(copies.iter().map(|copy| RetentionDecision { id: copy.id.clone(), because: because(copy) }).collect())
}
