//! The question of `lap promote` about a commit: asked before anything of it runs.

use std::io::IsTerminal;

use lap_base::error::Result;

use super::confirm;
use crate::{
    apply::{
        options::short,
        promote::{Agreed, Proposal, Standing, not_agreed},
    },
    report::print::outln,
};

/// Shows what there is to agree to, and gives the consent. Without a question, where the operator's clone or a signature agrees and
/// either `--yes` was given or the question about the plan comes before any program of the commit.
pub fn agreed(proposal: &Proposal, said_yes: bool) -> Result<Agreed> {
    show(proposal);
    if said_yes {
        return proposal.settled();
    }
    if proposal.standing.is_some() && !proposal.hooks_beside_the_plan {
        return proposal.settled();
    }
    if proposal.standing.is_some() {
        let (from, commit) = (proposal.from(), short(&proposal.commit));
        outln!("`{from}` runs {commit}, which has hooks that run on this machine before the plan is made.");
    }
    // `--yes` would not help: it agrees to no commit that the clone does not contain.
    if proposal.standing.is_none() && !std::io::stdin().is_terminal() {
        return Err(not_agreed(&proposal.commit, proposal.from()));
    }
    if !confirm::yes("Agree to this commit?", "--yes")? {
        return Err(confirm::cancelled());
    }
    match proposal.standing {
        Some(_) => proposal.settled(),
        None => proposal.answered(),
    }
}

/// Shows the commit where the clone does not have it, and in any case what is new among the programs that lap runs.
pub fn show(proposal: &Proposal) {
    match &proposal.standing {
        None => {
            outln!("`{}` runs a commit that this clone does not contain:", proposal.from());
            proposal.description.commit.iter().for_each(|line| outln!("  {line}"));
            outln!("");
        }
        Some(Standing::Signed(name)) => {
            outln!("`{}` runs a commit that `{name}` signed:", proposal.from());
            proposal.description.commit.iter().for_each(|line| outln!("  {line}"));
            outln!("");
        }
        Some(Standing::Contained(_)) => {}
    }
    if !proposal.description.hooks.is_empty() {
        outln!("New lines in `scripts/promote/`, whose programs run on this machine:");
        proposal.description.hooks.iter().for_each(|line| outln!("  {line}"));
        outln!("");
    }
}
