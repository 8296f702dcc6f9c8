//! Hooks that are run when the agent asks for them: of a promotion that this process began, or of one that it only watches.

use std::time::Duration;

use lap_base::error::{Error, Kind, Result};
use tokio::time::Instant;

use super::{hook::HookPoint, run::AgreedHooks};
use crate::{
    apply::{
        master::Master,
        options::{Options, short},
        promote::consent::{self, Agreed},
    },
    release::{Hooked, LedgerEntry, SwitchOutcome, Verb},
};

/// How long those that have the last word may take, together: the agent, which waits for them, gives up after 120 s.
const LAST_WORD: Duration = Duration::from_secs(100);

/// Runs those that have a say before the release is made final; `Ok(Err(…))`: one failed, and all is to be taken back.
///
/// # Errors
/// Nobody here agreed to the commit: there is no last word from here.
pub async fn last_word(master: &Master, hooked: &Hooked, options: &Options) -> Result<Result<()>> {
    let agreed = agreed(master, &hooked.commit)?;
    let run = async {
        let hooks = AgreedHooks::of(&master.workspace, agreed, &hooked.from, &master.environment.name)?;
        let until = Instant::now() + LAST_WORD;
        hooks.run_until(HookPoint::AfterSwitch, Some(hooked.release), until, options).await?;
        hooks.run_until(HookPoint::BeforeDone, Some(hooked.release), until, options).await
    };
    Ok(run.await)
}

/// Runs the one after all, for an operator who only watched.
///
/// # Errors
/// It failed, or nobody here agreed to the commit: the release runs all the same.
pub async fn after_done(master: &Master, entry: &LedgerEntry, options: &Options) -> Result<()> {
    match &entry.from {
        Some(from) if entry.verb == Verb::Promote && entry.result == SwitchOutcome::Done => {
            let agreed = agreed(master, &entry.commit)?;
            let hooks = AgreedHooks::of(&master.workspace, agreed, from, &master.environment.name)?;
            hooks.run(HookPoint::AfterDone, Some(entry.release), options).await
        }
        _ => Ok(()),
    }
}

/// The consent that the clone or a signature gives: in the middle of a switch there is no time for a question.
fn agreed(master: &Master, commit: &str) -> Result<Agreed> {
    consent::settled(master, commit)?.ok_or_else(|| {
        let message =
            format!("the hooks of {} do not run here: this clone does not contain that commit", short(commit));
        Error::new(Kind::Refused, message)
            .hint("fetch and merge the commit, or run `lap promote --resume` where the promotion began")
    })
}
