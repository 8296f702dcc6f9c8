//! That an operator agreed to one commit. Whatever runs a program of a commit takes an [`Agreed`], and only this module makes one, so
//! that code without consent does not compile.

pub mod commit;
mod contained;
pub mod describe;
mod signed;

pub use describe::{Description, describe, not_agreed};
use lap_base::error::{Kind, OrError, Result};

use self::commit::{AGREED, full_id, open};
use crate::{
    apply::{master::Master, options::short},
    keys,
};

/// An operator agreed to this commit.
#[derive(Debug)]
pub struct Agreed {
    commit: String,
}

impl Agreed {
    /// The commit's full id.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    #[cfg(test)]
    pub fn in_a_test(commit: &str) -> Self {
        Self { commit: commit.to_owned() }
    }
}

/// Why nobody has to be asked about a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// `HEAD`, a branch, or an earlier consent contains it.
    Contained(String),
    /// The key of this operator signed it.
    Signed(String),
}

/// Whether the operator's clone, or an operator's signature, agrees to `commit`. `master` is any node of the lab: it says where the
/// lab's own repositories are, whose branches prove nothing.
///
/// # Errors
/// The clone or the keys cannot be read.
pub fn standing(master: &Master, commit: &str) -> Result<Option<Standing>> {
    let lab = &master.workspace.lab;
    let repository = open(&lab.root)?;
    let id = full_id(commit)?;
    if repository.find_commit(id).is_err() {
        return Ok(None);
    }
    let published = lab.nodes.values().filter_map(|node| node.publish);
    let nodes = master.seen.nodes.values().copied().chain(published).map(|address| address.to_string()).collect();
    let own = contained::Own { zone: &lab.dns.zone, nodes };
    if let Some(name) = contained::by(&repository, id, &own) {
        return Ok(Some(Standing::Contained(name)));
    }
    let keys = keys::authorized(master.keys()?.admin().public(), &lab.operators)?;
    Ok(signed::by(&repository, id, &keys)?.map(Standing::Signed))
}

/// The consent that needs no question.
///
/// # Errors
/// The clone or the keys cannot be read.
pub fn settled(master: &Master, commit: &str) -> Result<Option<Agreed>> {
    Ok(of_standing(commit, standing(master, commit)?.as_ref()))
}

/// The consent that was found.
pub fn of_standing(commit: &str, standing: Option<&Standing>) -> Option<Agreed> {
    standing.map(|_| Agreed { commit: commit.to_owned() })
}

/// The operator answered yes when lap showed this commit: it is kept from now on.
///
/// # Errors
/// The clone cannot be written.
pub fn answered(root: &std::path::Path, commit: &str) -> Result<Agreed> {
    let what = || format!("cannot keep the commit {} in this clone", short(commit));
    let (repository, id) = (open(root)?, full_id(commit)?);
    repository.find_commit(id).or_error(Kind::Refused, what)?;
    repository
        .reference(&format!("{AGREED}{commit}"), id, true, "lap promote: the operator agreed")
        .or_error(Kind::Host, what)?;
    Ok(Agreed { commit: commit.to_owned() })
}

#[cfg(test)]
mod tests;
